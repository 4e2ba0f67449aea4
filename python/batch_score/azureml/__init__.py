"""The names that existing scripts and pipelines import; nothing below this package needs it."""

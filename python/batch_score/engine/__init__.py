"""Engines start workers and carry messages; they decide nothing."""

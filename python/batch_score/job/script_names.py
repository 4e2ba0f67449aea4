"""The names that existing scripts import, and the modules behind them, which lie above: nothing here imports them."""

from __future__ import annotations

from batch_score.worker.names import ScriptNames

AZUREML = "batch_score.azureml"
SCRIPT_NAMES = ScriptNames(
    homes={f"azureml.{part}": f"{AZUREML}.{part}" for part in ("core", "data", "pipeline")},
    advice=f"{AZUREML}.core.missing",
)

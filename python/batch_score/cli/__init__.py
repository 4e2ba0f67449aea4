"""The `batch-score` command."""

from __future__ import annotations


def main() -> None:
    """Where the command begins; the rest is loaded when it is known to be wanted."""
    from batch_score.importing import importing  # noqa: PLC0415 - importing this package stays free

    with importing():
        from batch_score.cli.app import run_app  # noqa: PLC0415 - as above

    run_app()

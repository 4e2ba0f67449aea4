"""`python -m batch_score`, which is the command `batch-score`."""

from __future__ import annotations

from batch_score.cli import main

if __name__ == "__main__":
    main()

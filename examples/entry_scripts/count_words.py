"""Score files: `run()` gets a list of paths and returns one element for each file.

Run it as a program, `python count_words.py`, and it makes 50 text files in a temporary folder, has batch-score count
their words with this very file as the entry script, and prints what came out.

The output is called `word-counts.txt`: with that ending every returned element becomes one line of plain text, so the
script puts the file's name into it. With `.csv`, `.tsv`, `.jsonl` or `.parquet` batch-score adds the key by itself.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

FILES = 50
OUTPUT = "word-counts.txt"


def run(mini_batch: list[str]) -> list[str]:
    """Count the words of each file of one mini-batch.

    Args:
        mini_batch: Paths of N text files.

    Returns:
        N lines, file name and count with a space between.
    """
    return [f"{Path(path).name} {len(Path(path).read_text(encoding='utf-8').split())}" for path in mini_batch]


def main() -> None:
    """Count from the command line, eight files at a time, and check that each file came back once."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        texts = folder / "texts"
        texts.mkdir()
        for number in range(FILES):
            (texts / f"text-{number:02d}.txt").write_text("word " * number, encoding="utf-8")
        options = ["--mini-batch-size", "8", "--append-row-file-name", OUTPUT, "--run-dir", str(folder / "run")]
        command = ["batch-score", "run", __file__, str(texts), *options]
        subprocess.run(command, check=True)
        lines = (folder / "run" / "outputs" / OUTPUT).read_text(encoding="utf-8").splitlines()
        if sorted(lines) != [f"text-{number:02d}.txt {number}" for number in range(FILES)]:
            raise SystemExit("some file is missing or there twice")
        print(f"{len(lines)} files counted, each exactly once; the first lines of the output are")
        print("\n".join(lines[:3]))


if __name__ == "__main__":
    main()

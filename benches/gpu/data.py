"""Images to score, and the size of everything."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Size:
    """How much is scored, with which models.

    Attributes:
        megabytes: Of the CSV files, whose rows are 20 floats.
        passes: How often they are scored in one job.
        hidden: Units of each hidden layer of the network for tables.
        images: How many images.
        side: Their height and width.
        width: Channels of the first block of the network for images; 64 in ResNet-50.
        blocks: Blocks of each of its stages.
        batch: Images that the model gets at once.
    """

    megabytes: int = 1250
    passes: int = 4
    hidden: tuple[int, ...] = (4096, 4096, 4096)
    images: int = 20_000
    side: int = 224
    width: int = 64
    blocks: tuple[int, ...] = (3, 4, 6, 3)
    batch: int = 128


SMALL = Size(1, 2, (64, 32), images=48, side=32, width=8, blocks=(1, 1, 1, 1), batch=8)


def images(folder, count, side):
    """A folder of `count` images as .npy files `[3, side, side]` uint8, made if they are not there."""
    folder = Path(folder, f"images-{side}")
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(11)
    for number in range(count):
        path = folder / f"{number:06d}.npy"
        if not path.exists():
            np.save(path, random.integers(0, 256, (3, side, side), dtype=np.uint8))
    return sorted(folder.glob("*.npy"))[:count]

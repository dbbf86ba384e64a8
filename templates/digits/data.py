"""The digits, and how they are split. Frozen: edits are undone.

The 1,797 images of 8 x 8 pixels are the test set of the UCI handwritten digits (Alpaydin and
Kaynak, 1998), as scikit-learn ships it. A fixed shuffle gives 1,197 images to train on and 600 to
test on, whatever the seed of a run.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import NamedTuple

import numpy as np

CLASSES = 10
PIXELS = 64
TEST_IMAGES = 600


class Digits(NamedTuple):
    """Images and the digit each shows."""

    images: np.ndarray
    """(n, 64), from 0 to 1."""
    labels: np.ndarray
    """(n,), from 0 to 9."""


def load_digits() -> tuple[Digits, Digits]:
    """Return the images to train on and the images to test on, which no training may see."""
    # Read in place, since importing scikit-learn takes longer than a whole run.
    package = importlib.util.find_spec("sklearn")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("scikit-learn is missing: install requirements.lock")
    table = np.loadtxt(Path(package.origin).parent / "datasets/data/digits.csv.gz", delimiter=",")
    table = np.random.default_rng(1998).permutation(table)
    images, labels = table[:, :PIXELS] / 16.0, table[:, PIXELS].astype(np.int64)
    test, train = slice(0, TEST_IMAGES), slice(TEST_IMAGES, None)
    return Digits(images[train], labels[train]), Digits(images[test], labels[test])

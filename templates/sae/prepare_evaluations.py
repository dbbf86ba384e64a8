"""Add to a profile's shared data what its evaluations need of them. Frozen: edits are undone.

    python prepare_evaluations.py --profile=small --out_dir=DIR

    AI_SCIENTIST_DATA          the folder that prepare.py made for the profile
    AI_SCIENTIST_EVALUATIONS   for which evaluations

writes into DIR what lies beside the data afterwards: see benchmarks.py.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch

from benchmarks import keep_set_ups
from data import load_data


def main() -> None:
    """Make each evaluation's set-up in the new folder."""
    parser = argparse.ArgumentParser(description="Add what evaluations share to a profile's data.")
    parser.add_argument("--profile", required=True)
    parser.add_argument("--out_dir", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.out_dir.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    data = load_data(Path(os.environ["AI_SCIENTIST_DATA"]).absolute())
    keep_set_ups(data, arguments.out_dir.absolute())


if __name__ == "__main__":
    main()

"""The part of tensorboardX that is used; scalars go to a readable file."""

from __future__ import annotations

import json
from pathlib import Path


class SummaryWriter:
    def __init__(self, logdir: str) -> None:
        Path(logdir).mkdir(parents=True)
        self._file = Path(logdir, "scalars.jsonl").open("w")

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        self._file.write(json.dumps([tag, scalar_value, global_step]) + "\n")

    def close(self) -> None:
        self._file.close()

"""The part of wandb that is used: one run open at a time, steps that never go back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_open: list[Run] = []


class Run:
    def __init__(self, **settings: Any) -> None:
        assert not _open, "a run is open already"
        _open.append(self)
        self._step = -1
        path = Path(settings["dir"], f"{settings['mode']}-{settings['id']}.jsonl")
        self._file = path.open("w")
        self._file.write(json.dumps({k: v for k, v in settings.items() if k != "dir"}) + "\n")

    def log(self, data: dict[str, float], step: int) -> None:
        assert step >= self._step, "steps must not go back"
        self._step = step
        self._file.write(json.dumps([step, data]) + "\n")

    def finish(self) -> None:
        self._file.close()
        _open.clear()


def init(**settings: Any) -> Run:
    """Open a run."""
    assert settings["mode"] in {"online", "offline"}
    return Run(**settings)

"""The part of mlflow that is used, as strict on names as the real one."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

_place: list[Path] = []


def is_tracking_uri_set() -> bool:
    return bool(_place)


def set_tracking_uri(uri: str) -> None:
    assert uri.startswith("sqlite:///")  # the real one refuses plain files since version 3
    _place.append(Path(uri.removeprefix("sqlite:///")).parent)


class MlflowClient:
    def get_experiment_by_name(self, name: str) -> None:
        return None

    def create_experiment(self, name: str) -> str:
        (_place[0] / name).mkdir()
        return name

    def create_run(self, experiment_id: str, run_name: str) -> SimpleNamespace:
        return SimpleNamespace(info=SimpleNamespace(run_id=f"{experiment_id}/{run_name}"))

    def log_metric(self, run_id: str, key: str, value: float, step: int) -> None:
        assert re.fullmatch(r"[\w\-. /]+", key), key
        with (_place[0] / f"{run_id}.jsonl").open("a") as file:
            file.write(json.dumps([key, value, step]) + "\n")

    def set_terminated(self, run_id: str) -> None:
        (_place[0] / f"{run_id}.finished").touch()

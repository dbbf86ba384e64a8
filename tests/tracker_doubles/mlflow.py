"""The part of mlflow that is used, as strict on names as the real one."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

_place: list[Path] = []


class Metric(NamedTuple):
    key: str
    value: float
    timestamp: int
    step: int


entities = SimpleNamespace(Metric=Metric)


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

    def log_batch(self, run_id: str, metrics: list[Metric]) -> None:
        assert len(metrics) <= 1000
        with (_place[0] / f"{run_id}.jsonl").open("a") as file:
            for metric in metrics:
                assert re.fullmatch(r"[\w\-. /]+", metric.key), metric.key
                file.write(json.dumps(metric) + "\n")

    def set_terminated(self, run_id: str) -> None:
        (_place[0] / f"{run_id}.finished").touch()

"""What all of sae_bench's evaluations need here, and what must be kept from them. Frozen.

sae_bench is written for models, data sets and judges on the network (see bench_inputs.py), for a
folder of its own below the current one, and for one evaluation per process. `staged` gives it a
private folder and a seed, and afterwards puts back every generator, name and mode it has touched.
Its own code runs as it is.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gc
import hashlib
import importlib.metadata
import io
import json
import os
import random
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench_inputs import NotRunError, Replacement, find_commit, is_generated
from data import Data, hash_files
from dictionary import Dictionary, hash_weights
from workers import granted_processes, in_processes

Row = dict[str, float]
"""One SAE's metrics."""
Measure = Callable[[Path, Dictionary], Row]
"""Measures one SAE, with a folder of what does not depend on it; fills the folder if empty."""
Prepare = Callable[[Data, Any], Measure]
"""Of data and settings; imports what is needed. Raises NotRunError where it cannot be measured."""


class BenchError(RuntimeError):
    """What went wrong within sae_bench, with what it said."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One evaluation of sae_bench."""

    name: str
    section: str
    """Where its metrics stand in final_info.json."""
    prepare: Prepare
    inputs: tuple[tuple[str, str], ...] = ()
    """What it reads of HF_HOME for a pretrained model, beside that model: kind and name."""
    has_set_up: bool = True
    """Whether there is something that all SAEs share: activations, probes, questions."""
    kept_at_scale: bool = False
    """Whether that stays at a few GB with a pretrained model: no activations of data sets."""

    def commits(self, data: Data) -> dict[str, str | None]:
        """Return the commits of what it reads of HF_HOME, by name."""
        inputs = () if is_generated(data) else self.inputs
        return {name: find_commit(kind, name) for kind, name in inputs}

    def shares(self, data: Data) -> bool:
        """Whether it is made once for all SAEs."""
        return self.has_set_up and (self.kept_at_scale or is_generated(data))


@contextlib.contextmanager
def staged(seed: int, *replacements: Replacement) -> Iterator[Path]:
    """Let sae_bench run inside: yields a private folder, the current one meanwhile.

    All generators start from `seed`. What fails inside is a BenchError with what was printed.
    """
    python, numpy = random.getstate(), np.random.get_state()
    with_gradients = torch.is_grad_enabled()
    said = io.StringIO()
    try:
        random.seed(seed)
        np.random.seed(seed)
        with (
            torch.random.fork_rng(),  # of the GPUs' generators too
            tempfile.TemporaryDirectory() as folder,
            contextlib.chdir(folder),
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(said),
            _replaced(replacements),
        ):
            torch.manual_seed(seed)
            yield Path(folder)
    except NotRunError:
        raise
    except Exception as error:
        raise BenchError(f"{error!r}; sae_bench said:\n{said.getvalue()[-2000:]}") from error
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_grad_enabled(with_gradients)


@contextlib.contextmanager
def _replaced(replacements: Sequence[Replacement]) -> Iterator[None]:
    before = [
        Replacement(one.owner, one.name, getattr(one.owner, one.name)) for one in replacements
    ]
    for one in replacements:
        setattr(one.owner, one.name, one.value)
    try:
        yield
    finally:
        for one in before:
            setattr(one.owner, one.name, one.value)


def measure_all(
    evaluation: Evaluation, saes: Sequence[Dictionary], data: Data, settings: Any
) -> list[Row]:
    """Return each SAE's metrics, measured in as many processes as the run was granted.

    The set-up that lies beside the data is used; where there is none it is made for this call. Of
    data sets' activations a pretrained model makes up to 71 GB: there each SAE makes its own.
    Raises NotRunError.
    """
    with importing():
        attempt = _attempts(evaluation, data, settings)  # imports before the processes part
    kept = data.folder.absolute() / set_up_name(evaluation, data, settings)
    with tempfile.TemporaryDirectory() as folder:
        shared = Path(folder)
        if kept.is_dir():
            _link(kept, shared)
        elif evaluation.shares(data):
            _measured(attempt(shared, Blank(data)))
        rows = in_processes(functools.partial(attempt, shared), saes, granted_processes())
        return [_measured(row) for row in rows]


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Let an evaluation import what it needs, for little more than half of the time.

    SAELens's list of published SAEs, which takes longer to parse than most evaluations take, is
    left unread: sae_bench makes a table of it to print. What was imported stays, so the collector
    need not look through it, neither now nor in the dozens of times that sae_bench calls it.
    """
    name = "get_pretrained_saes_directory"
    gc.disable()
    try:
        from sae_lens.loading import pretrained_saes_directory as lists

        with _replaced([Replacement(lists, name, dict)]):
            yield
        selection = sys.modules.get("sae_bench.sae_bench_utils.sae_selection_utils")
        if selection is not None:  # it has taken the name over
            setattr(selection, name, getattr(lists, name))
    finally:
        gc.freeze()
        gc.enable()


def _attempts(
    evaluation: Evaluation, data: Data, settings: Any
) -> Callable[[Path, Dictionary], Row | NotRunError]:
    """Return what measures an SAE, or says why it could not: no process ends for it.

    On data sets of the person's sae_bench may fail in more ways than were foreseen: hours of
    training are not lost for it. On the generated ones it must not.
    """
    try:
        measure = evaluation.prepare(data, settings)
    except NotRunError:
        raise
    except Exception as error:
        if is_generated(data):
            raise
        raise NotRunError(f"sae_bench failed: {error!r}") from error

    def attempt(shared: Path, sae: Dictionary) -> Row | NotRunError:
        try:
            return measure(shared, sae)
        except NotRunError as error:
            return error
        except BenchError as error:
            if is_generated(data):
                raise
            return NotRunError(f"sae_bench failed: {str(error).splitlines()[0]}")

    return attempt


def _measured(row: Row | NotRunError) -> Row:
    if isinstance(row, NotRunError):
        raise row
    return row


def keep_set_up(evaluation: Evaluation, data: Data, settings: Any, folder: Path) -> None:
    """Make what all SAEs share and keep it in `folder`, whole or not at all.

    sae_bench finds such things by name alone, whatever they were made with, and draws other random
    numbers after making them than after finding them. So a folder serves one configuration, and is
    filled by a dictionary that nobody measures. Raises NotRunError.
    """
    kept = folder / set_up_name(evaluation, data, settings)
    making = kept.with_name(f".{kept.name}.making")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    try:
        _measured(_attempts(evaluation, data, settings)(making, Blank(data)))
        making.rename(kept)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def set_up_name(evaluation: Evaluation, data: Data, settings: Any) -> str:
    """Return where beside the data an evaluation's set-up lies: a name of all that sets it."""
    version = importlib.metadata.version("sae-bench")
    determined_by = [
        dataclasses.asdict(settings),
        evaluation.commits(data),
        data.content_sha256,
        data.hook,
        version,
        _hash_frozen_code(),
    ]
    digest = hashlib.sha256(json.dumps(determined_by, sort_keys=True).encode()).hexdigest()
    return f"evaluations/{evaluation.name}_{digest[:16]}"


@functools.cache
def _hash_frozen_code() -> str:
    """Return a hash of all that may measure; what an SAE is and is trained for is not in it."""
    described = Path(__file__).with_name("template.toml")
    names = tomllib.loads(described.read_text())["template"]["frozen"]
    return hash_files(*(described.with_name(name) for name in sorted(names)))


def _link(source: Path, target: Path) -> None:
    """Make a folder of links to all files below `source`, which may be read only."""
    shutil.copytree(source, target, copy_function=os.symlink, dirs_exist_ok=True)


def unique_name(sae: Dictionary) -> str:
    """Return a name that no other weights have: sae_bench keeps results by name alone."""
    return f"sae_{hash_weights([sae])[:16]}"


class Blank:
    """A dictionary with nothing trained in it, to fill a shared folder with."""

    def __init__(self, data: Data) -> None:
        self.W_enc = torch.eye(data.d_model, device=data.device)
        self.W_dec = torch.eye(data.d_model, device=data.device)
        self.b_enc = self.b_dec = torch.zeros(data.d_model, device=data.device)

    def encode(self, x: Tensor) -> Tensor:
        """Keep what is positive."""
        return x.relu()

    def decode(self, latents: Tensor) -> Tensor:
        """Return it as it is."""
        return latents


def only_result(results: Mapping[str, Any]) -> Any:
    """Return the one SAE's result; fail when sae_bench has skipped it."""
    if len(results) != 1:
        raise BenchError(f"sae_bench returned {len(results)} results for one SAE")
    return next(iter(results.values()))


def numbers(groups: Mapping[str, Any], prefixes: Sequence[str] = ("",)) -> dict[str, float]:
    """Return the numbers of sae_bench's metric groups whose names begin with one of `prefixes`.

    It writes -1 for an accuracy that it did not measure; any other -1 is a value.
    """
    return {
        name: float(value)
        for group in groups.values()
        for name, value in group.items()
        if isinstance(value, int | float)
        and name.startswith(tuple(prefixes))
        and not (value == -1 and name.endswith("_accuracy"))
    }

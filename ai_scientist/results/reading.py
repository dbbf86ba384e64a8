"""final_info.json: read in every shape seen in the field, flattened, and never trusted.

The file is written by code that a model wrote. Whatever is in it, the outcome is a `Results` of
finite numbers or a `ResultError` that tells the coder what to change.

    {"digits": {"means": {"loss": 0.4}, "stderrs": …, "final_info_dict": {"loss": [0.4, 0.5]}}}
    {"training results for layer 12": {"config": {…}, "final_info": {"final_loss": 701.0}, …}}

    digits/loss                                  training results for layer 12/final_loss
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ai_scientist.errors import ReplyError, ResultError
from ai_scientist.records import MetricSpec, Results, Scalar
from ai_scientist.results.naming import ends_with, metric_names, resolve, short_name

__all__ = [
    "combine",
    "config_diff",
    "flatten_results",
    "read_results",
    "resolve",
    "short_name",
    "standard_error",
]

MAX_BYTES = 16_000_000
MAX_DEPTH = 40
MAX_LEAVES = 50_000
MAX_KEY = 200
MAX_TEXT = 2000
LARGEST = 1e75
"""Beyond it a difference squared twice, as in Welch's test, is no number any more."""

VALUE_KEYS = frozenset({"means", "final_info"})
STDERR_KEYS = frozenset({"stderr", "stderrs"})
SEED_KEYS = frozenset({"per_seed", "final_info_dict"})
CONFIG_KEYS = frozenset({"config", "eval_config", "eval_cfg"})
MEASURED_KEYS = frozenset({"measured", "sae_cfg_dict"})
NOT_RUN_KEYS = frozenset({"not run", "not_run"})
CLOCK_KEYS = frozenset({"datetime_epoch_millis", "timestamp"})
LABEL_KEYS = frozenset({"wandb_name", "out_dir", "output_dir", "run_name"})
"""Configuration entries that only label a run: a change of one is no drift."""


def read_results(path: Path, metrics: Mapping[str, MetricSpec]) -> Results:
    """Read and flatten one final_info.json; `metrics` is what the template says of its metrics.

    A value of an optional metric that is null, not finite or beyond LARGEST goes to `not_run`.
    Raises ResultError, worded for the coder, for a missing, unreadable or ill-shaped file and for a
    required metric that is missing or not a finite number.
    """
    return flatten_results(_load(path), metrics, file=path.name)


def flatten_results(
    content: Mapping[str, Any], metrics: Mapping[str, MetricSpec], *, file: str
) -> Results:
    """Flatten the content of one final_info.json; `file` names it in what is raised."""
    leaves = _Leaves(file=file)
    _walk(dict(content), (), leaves, 0)
    results = leaves.results()
    required = [spec.name for spec in metrics.values() if spec.required]
    named = any(ends_with(path, name) for path in leaves.other for name in required)
    if not (results.metrics or results.not_run or named):
        raise ResultError(
            f"{file} holds no number: expected "
            '{"<dataset>": {"means": {"<metric>": number}}} or nested dictionaries of numbers.'
        )
    for name in required:
        _require(name, results, leaves, file)
    return results


def _load(path: Path) -> dict[str, Any]:
    name = path.name
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ResultError(
                f"{name} is {size / 1e6:.0f} MB; at most {MAX_BYTES / 1e6:.0f} MB are read. "
                "Write series and arrays to files of their own and only numbers here."
            )
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise ResultError(
            f"The script ended without writing {name} in its --out_dir; it must write that file "
            "as its last act."
        ) from None
    except UnicodeDecodeError:
        raise ResultError(f"{name} is not UTF-8 text; write it with json.dump.") from None
    except OSError as error:
        raise ResultError(f"{name} cannot be read: {error.strerror}.") from None
    try:
        content = json.loads(text, object_pairs_hook=_unique(name))
    except RecursionError:
        raise ResultError(f"{name} is nested too deeply (over {MAX_DEPTH} levels).") from None
    except json.JSONDecodeError as error:
        raise ResultError(
            f"{name} is not valid JSON (line {error.lineno}, column {error.colno}: {error.msg}); "
            "it may be cut off. Write it once, at the end, with json.dump."
        ) from None
    except ValueError as error:
        raise ResultError(f"{name} holds an integer that is too long to read ({error}).") from None
    if not isinstance(content, dict):
        raise ResultError(
            f"{name} must hold a JSON object at its top, not {_kind(content)}: "
            '{"<dataset>": {"means": {"<metric>": number}}}.'
        )
    return content


def _unique(name: str) -> Callable[[list[tuple[str, Any]]], dict[str, Any]]:
    def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = dict(pairs)
        if len(keys) < len(pairs):
            twice = next(k for k, n in Counter(k for k, _ in pairs).items() if n > 1)
            raise ResultError(f"{name} holds the key {twice[:80]!r} twice in one object.")
        return keys

    return collect


@dataclass
class _Leaves:
    """What a walk through the file has met so far."""

    file: str
    metrics: dict[str, float] = field(default_factory=dict)
    stderr: dict[str, float] = field(default_factory=dict)
    seeds: dict[str, tuple[float, ...]] = field(default_factory=dict)
    config: dict[str, Scalar] = field(default_factory=dict)
    measured: dict[str, dict[str, Scalar]] = field(default_factory=dict)
    not_run: dict[str, str] = field(default_factory=dict)
    other: dict[str, str] = field(default_factory=dict)
    """Leaves that are no numbers: what they are, for the message about a required metric."""

    def add(self, where: dict[str, float], path: str, value: object) -> None:
        number = _number(value)
        if number is None:
            self.other[path] = _kind(value)
        elif not abs(number) <= LARGEST:
            if where is self.metrics:
                what = "too large to compare" if math.isfinite(number) else "not a finite number"
                self.not_run.setdefault(path, f"{what} ({number:g})")
        elif path in where:
            raise ResultError(f"{self.file} gives two numbers for {path!r}; keep one.")
        else:
            where[path] = number
        if len(where) > MAX_LEAVES:
            raise ResultError(f"{self.file} holds over {MAX_LEAVES} numbers; keep summaries only.")

    def results(self) -> Results:
        def align(path: str) -> str:
            # nanoGPT and grokking write means as X_mean, errors as X_stderr and values as X.
            stem = path.removesuffix("_stderr")
            return next((p for p in (path, stem, f"{stem}_mean") if p in self.metrics), path)

        return Results(
            metrics=self.metrics,
            stderr={align(path): value for path, value in self.stderr.items()},
            seeds={align(path): values for path, values in self.seeds.items()},
            config=self.config,
            measured=self.measured,
            not_run=self.not_run,
        )


def _walk(value: object, path: tuple[str, ...], leaves: _Leaves, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ResultError(f"{leaves.file} is nested too deeply (over {MAX_DEPTH} levels).")
    if isinstance(value, dict):
        for key, below in value.items():
            _walk_key(key, below, path, leaves, depth)
    elif not path:
        leaves.other["/"] = _kind(value)  # `{"means": 3}`: no key above it names the number
    elif isinstance(value, list):
        _walk_list(value, path, leaves, depth)
    elif value is None:
        leaves.not_run.setdefault("/".join(path), "no value (null)")
    else:
        leaves.add(leaves.metrics, "/".join(path), value)


def _walk_key(key: str, below: object, path: tuple[str, ...], leaves: _Leaves, depth: int) -> None:
    if key in VALUE_KEYS:
        _walk(below, path, leaves, depth + 1)
    elif key in SEED_KEYS or key in STDERR_KEYS:
        _spread(key, below, path, leaves, depth)
    elif key in CONFIG_KEYS:
        for name, leaf in _flat(below, (*path, key), leaves.file, depth):
            leaves.config[name] = _scalar(leaf)
    elif key in MEASURED_KEYS and isinstance(below, dict):
        facts = {name: _scalar(leaf) for name, leaf in _flat(below, (), leaves.file, depth)}
        leaves.measured.setdefault("/".join(path), {}).update(facts)
    elif key in NOT_RUN_KEYS:
        reasons = below if isinstance(below, dict) else {"": below}
        for name, reason in reasons.items():
            place = "/".join((*path, _clean(name)) if name else path)
            leaves.not_run[place or "all"] = _plain(str(reason))[:500]
    elif key not in CLOCK_KEYS:
        _walk(below, (*path, _segment(key, leaves.file)), leaves, depth + 1)


def _spread(key: str, below: object, path: tuple[str, ...], leaves: _Leaves, depth: int) -> None:
    """Read a block of standard errors, or of lists with a value per seed."""
    for name, leaf in _flat(below, path, leaves.file, depth):
        if not name:
            continue
        if key in STDERR_KEYS:
            if _number(leaf) is not None:
                leaves.add(leaves.stderr, name, leaf)
            continue
        numbers = [_number(item) for item in leaf] if isinstance(leaf, list) else []
        finite = tuple(n for n in numbers if n is not None and abs(n) <= LARGEST)
        if numbers and len(finite) == len(numbers):
            leaves.seeds[name] = finite


def _walk_list(value: list[Any], path: tuple[str, ...], leaves: _Leaves, depth: int) -> None:
    """Read a list of records, each named by its first text; a bare series is no metric."""
    records = [item for item in value if isinstance(item, dict)]
    if len(records) < len(value) or not records:
        leaves.other["/".join(path)] = "a list"
        return
    labels = [next((v for v in item.values() if isinstance(v, str)), "") for item in records]
    distinct = all(labels) and len(set(labels)) == len(labels)
    for index, item in enumerate(records):
        label = _clean(labels[index])[:80] if distinct else str(index)
        _walk(item, (*path[:-1], f"{path[-1]}[{label}]"), leaves, depth + 1)


def _flat(
    value: object, path: tuple[str, ...], file: str, depth: int
) -> Iterable[tuple[str, object]]:
    if depth > MAX_DEPTH:
        raise ResultError(f"{file} is nested too deeply (over {MAX_DEPTH} levels).")
    if isinstance(value, dict):
        for key, below in value.items():
            inner = path if key in VALUE_KEYS else (*path, _segment(key, file))
            yield from _flat(below, inner, file, depth + 1)
    else:
        yield "/".join(path), value


def _require(name: str, results: Results, leaves: _Leaves, file: str) -> None:
    where = f"The required metric {name!r} in {file}"
    try:
        if resolve(name, results.metrics):
            return
    except ReplyError as error:
        if any(ends_with(path, name) for path in results.metrics):
            raise ResultError(f"{where} is not clear. {error.message}") from None
    for path, reason in (*results.not_run.items(), *leaves.other.items()):
        if ends_with(path, name):
            raise ResultError(f"{where} must be a finite number; it is: {reason}.")
    near = ", ".join(sorted(metric_names(results.metrics).values())[:12]) or "none"
    raise ResultError(f"{where} is missing. The numbers found there are: {near}.")


def _segment(key: str, file: str) -> str:
    if len(key) > MAX_KEY:
        raise ResultError(f"{file} holds a key of {len(key)} characters ({key[:40]!r}…).")
    return _clean(key)


def _clean(key: str) -> str:
    """Return a key as it stands in a path; a slash in it parts it, with or without spaces."""
    plain = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+", "-", key)
    return "/".join(part.strip() or "-" for part in plain.split("/"))


# --- several seeds, and configurations -----------------------------------------------------------


def combine(parts: Sequence[Results]) -> Results:
    """Combine one run's executions, one per seed in order, into means and standard errors.

    Where the executions already hold values of seeds of their own, those are concatenated. A metric
    that some executions lack has no mean: it is `not_run`. What an evaluation says it measured, as
    weight hashes, is joined in that order where it differs.
    """
    seeds: dict[str, tuple[float, ...]] = {}
    not_run = {place: reason for part in parts for place, reason in part.not_run.items()}
    for path in dict.fromkeys(path for part in parts for path in part.metrics):
        having = [part for part in parts if path in part.metrics]
        if len(having) < len(parts):
            not_run[path] = f"measured with {len(having)} of {len(parts)} seeds only"
        else:
            seeds[path] = tuple(
                v for part in parts for v in part.seeds.get(path, (part.metrics[path],))
            )
    return Results(
        metrics={path: statistics.fmean(values) for path, values in seeds.items()},
        stderr={path: e for path, v in seeds.items() if (e := standard_error(v)) is not None},
        seeds={path: values for path, values in seeds.items() if len(values) > 1},
        config=parts[0].config,
        measured=_combine_measured([part.measured for part in parts]),
        not_run={place: why for place, why in not_run.items() if place not in seeds},
    )


def _combine_measured(
    parts: Sequence[Mapping[str, Mapping[str, Scalar]]],
) -> dict[str, dict[str, Scalar]]:
    """Return the facts of each evaluation that all executions have: of others nothing is kept."""

    def join(values: Sequence[Scalar]) -> Scalar:
        alike = all(value == values[0] for value in values)
        return values[0] if alike else ", ".join(map(str, values))

    return {
        block: {key: join([part[block].get(key) for part in parts]) for key in facts}
        for block, facts in parts[0].items()
        if all(block in part for part in parts)
    }


def standard_error(values: Sequence[float]) -> float | None:
    """Return the standard error of the mean, sd / sqrt(n); None for fewer than two values."""
    if len(values) < 2:
        return None
    return statistics.stdev(values) / math.sqrt(len(values))


def config_diff(a: Results, b: Results) -> dict[str, tuple[Scalar, Scalar]]:
    """Return configuration path -> (value in `a`, value in `b`) where they differ.

    Only blocks that both hold are compared, since an evaluation that was not run is no drift;
    within such a block a key that one side lacks counts as None. Keys that only label are left out.
    """
    shared = {_block(path) for path in a.config} & {_block(path) for path in b.config}
    moved: dict[str, tuple[Scalar, Scalar]] = {}
    for path in dict.fromkeys((*a.config, *b.config)):
        before, after = a.config.get(path), b.config.get(path)
        if _block(path) in shared and path.rsplit("/", 1)[-1] not in LABEL_KEYS and before != after:
            moved[path] = (before, after)
    return moved


def _block(path: str) -> str:
    parts = path.split("/")
    ends = [index for index, part in enumerate(parts) if part in CONFIG_KEYS]
    return "/".join(parts[: ends[0] + 1]) if ends else ""


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _scalar(value: object) -> Scalar:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    text = _plain(value) if isinstance(value, str) else json.dumps(value, sort_keys=True)
    if len(text) <= MAX_TEXT:
        return text
    # With its hash, so that a change beyond the cut still shows.
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"{text[:MAX_TEXT]} … {len(text)} characters, sha256 {digest[:16]}"


def _plain(text: str) -> str:
    """Return a text that UTF-8 can hold: JSON may give half of a surrogate pair."""
    return text.encode("utf-8", errors="replace").decode("utf-8")


def _kind(value: object) -> str:
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    kinds = {dict: "an object", list: "a list", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")

"""Findings that the runs' own records show: code, results, configuration, what was measured."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ai_scientist.audit.code import Source, run_sources
from ai_scientist.audit.edits import code_findings
from ai_scientist.audit.rebuilt import TOLD
from ai_scientist.records import Finding, Results, Run, Scalar, Study
from ai_scientist.results.naming import metric_names
from ai_scientist.results.reading import config_diff

INACTIVE = 1e-4
CLOCKS = re.compile(r"second|time|duration|memory|epoch_millis|speed|throughput", re.I)
GRADIENT_SHARE = re.compile(r"grad\w*[_ ]share", re.I)
RECONSTRUCTION = re.compile(r"recon|mse|l2|cross_entropy|^ce$|task", re.I)
EVALUATION = frozenset({"eval_config", "eval_cfg"})
SAME_THING = (
    ("d_sae", "dict_size"),
    ("d_in", "activation_dim"),
    ("hook_layer", "layer"),
    ("model_name", "lm_name"),
)
SAE_FAMILY = re.compile(r"batch_?topk|topk|jump_?relu|gated|matryoshka", re.I)
IDENTITY = ("weights", "sha256", "hash", "architecture", "d_sae", "d_in", "hook_layer", "hook_name")


def run_findings(study: Study, sources: Mapping[str, Source] | None = None) -> Iterator[Finding]:
    """Yield every finding that needs no prose; `sources` is the runs' code, if read before."""
    sources = run_sources(study) if sources is None else sources
    yield from _missing(study, sources)
    yield from code_findings(study, sources)
    yield from _identical(study)
    yield from _drift(study)
    for run in study.runs.values():
        yield from _foreign(run)
        yield from _inactive(run)
        yield from _checks(run)
    yield from _noise(study)


def _missing(study: Study, sources: Mapping[str, Source]) -> Iterator[Finding]:
    known = {*study.runs, *(f.run for f in study.findings)}
    for name, source in sources.items():
        if name not in known and source.where == f"{name}.py":
            yield Finding(
                kind="missing_result",
                run=name,
                where=source.where,
                detail=f"{name}.py was kept, but there is no folder {name} with a result",
            )


def _identical(study: Study) -> Iterator[Finding]:
    runs = list(study.runs.values())
    for position, run in enumerate(runs):
        for earlier in runs[:position]:
            same = _same_blocks(earlier.results, run.results, study)
            if same:
                everything = same == _blocks(run.results, study).keys()
                what = (
                    "every number"
                    if everything
                    else "every number of " + ", ".join(f"`{block}`" for block in sorted(same))
                )
                example = _example(run.results, sorted(same)[0], study)
                yield Finding(
                    kind="identical_metrics",
                    run=run.name,
                    where=_where(run),
                    detail=f"{what} equals {earlier.name} to the last digit ({example}): what was "
                    "changed did not reach it",
                )
                break


def _blocks(results: Results, study: Study) -> dict[str, dict[str, float]]:
    """Return block -> its numbers that could tell two runs apart."""
    settings = {v for v in results.config.values() if isinstance(v, int | float)}
    volatile = {name for name, spec in study.metrics.items() if spec.volatile}
    found: dict[str, dict[str, float]] = {}
    for path, value in results.metrics.items():
        last = path.rsplit("/", 1)[-1]
        if CLOCKS.search(last) or last in volatile or value in settings or value.is_integer():
            continue
        found.setdefault(path.split("/", 1)[0], {})[path] = value
    return found


def _same_blocks(a: Results, b: Results, study: Study) -> frozenset[str]:
    blocks = _blocks(b, study)
    return frozenset(
        block
        for block, values in blocks.items()
        if _blocks(a, study).get(block) == values
        and all(a.seeds.get(path) == b.seeds.get(path) for path in values)
    )


def _example(results: Results, block: str, study: Study) -> str:
    path, value = next(iter(_blocks(results, study)[block].items()))
    return f"{metric_names(results.metrics)[path]} {value!r}"


def moved_settings(run: Run, study: Study) -> dict[str, tuple[Scalar, Scalar]]:
    """Return what a run sets otherwise than the baseline, beside what the idea varies."""
    base = study.runs.get("run_0")
    moved = config_diff(base.results, run.results) if base is not None else {}
    # A key that the baseline lacks is the idea's own; a class is what the idea replaces.
    return {
        key: (old, new)
        for key, (old, new) in moved.items()
        if old is not None and not key.endswith("_class") and not _varies(key, study)
    }


def listed_settings(moved: Mapping[str, tuple[Scalar, Scalar]], limit: int = 12) -> str:
    """Return moved settings as words."""
    listed = "; ".join(
        f"{key.rsplit('/', 1)[-1]} {_shown(old)} -> {_shown(new)}"
        for key, (old, new) in list(moved.items())[:limit]
    )
    return listed + ("" if len(moved) <= limit else f"; {len(moved) - limit} more")


def _drift(study: Study) -> Iterator[Finding]:
    for run in study.runs.values():
        if run.name == "run_0":
            continue
        moved = moved_settings(run, study)
        evaluation = {key: pair for key, pair in moved.items() if EVALUATION & set(key.split("/"))}
        for kind, keys in (
            ("not_comparable", evaluation),
            ("config_drift", {k: v for k, v in moved.items() if k not in evaluation}),
        ):
            if keys:
                yield Finding(
                    kind=kind,
                    run=run.name,
                    where=_where(run),
                    detail=f"against run_0: {listed_settings(keys)}"
                    + ("; evaluated otherwise" if kind == "not_comparable" else ""),
                )


def _varies(key: str, study: Study) -> bool:
    return any(key == name or key.endswith("/" + name) for name in study.idea.varies)


def _foreign(run: Run) -> Iterator[Finding]:
    """Find evaluations that say they measured something else than this run trained.

    Those that agree with the run's training must agree among themselves, too.
    """
    trained: dict[str, Scalar] = {}
    for path, value in run.results.config.items():
        parts = path.split("/")
        if not EVALUATION & set(parts):
            trained.setdefault(parts[-1], value)
    first: dict[str, tuple[str, Scalar]] = {}
    for block, facts in run.results.measured.items():
        wrong = [
            f"{mine} {_shown(facts[mine])} where this run's {theirs} is {_shown(trained[theirs])}"
            for mine, theirs in SAME_THING
            if facts.get(mine) is not None
            and trained.get(theirs) is not None
            and facts[mine] != trained[theirs]
        ]
        wrong += _other_family(facts, trained)
        wrong = wrong or list(_unlike_the_others(block, facts, first))
        if wrong:
            yield Finding(
                kind="foreign_result",
                run=run.name,
                where=_where(run),
                detail=f"`{block}` is of another model: {'; '.join(wrong[:5])}",
            )


def _unlike_the_others(
    block: str, facts: Mapping[str, Scalar], first: dict[str, tuple[str, Scalar]]
) -> Iterator[str]:
    for key, value in facts.items():
        if value is None or not any(word in key for word in IDENTITY):
            continue
        place, other = first.setdefault(key, (block, value))
        if other != value:
            yield f"{key} {_shown(value)}, while `{place}` measured {_shown(other)}"


def _other_family(facts: Mapping[str, Scalar], trained: Mapping[str, Scalar]) -> list[str]:
    """Say that another kind of SAE was measured than was trained, where both are named."""
    measured = SAE_FAMILY.search(str(facts.get("architecture", "")))
    classes = " ".join(str(trained.get(key, "")) for key in ("dict_class", "trainer_class"))
    own = {name.lower() for name in SAE_FAMILY.findall(classes)}
    if measured is None or not own or measured[0].lower() in own:
        return []
    return [f"architecture {measured[0]} where this run trains {' and '.join(sorted(own))}"]


def _inactive(run: Run) -> Iterator[Finding]:
    for path, value in run.results.metrics.items():
        if not GRADIENT_SHARE.search(path) or RECONSTRUCTION.search(path.rsplit("/", 1)[-1]):
            continue
        if 0 <= value < INACTIVE:
            yield Finding(
                kind="mechanism_inactive",
                run=run.name,
                where=_where(run),
                detail=f"{path} is {value:.2g}: below {INACTIVE:g} of the gradient, this term did "
                "nothing",
            )


def _checks(run: Run) -> Iterator[Finding]:
    """Repeat what the gates found when the run was made; some say the kind themselves."""
    kinds = {"frozen": "frozen_touched", "differs": "identical_metrics"}
    for check in run.checks:
        if check.verdict != "finding":
            continue
        kind, detail = kinds.get(check.gate, "not_comparable"), check.detail
        if check.gate in ("believable", "mechanism"):
            named = re.match(r"([a-z]+_[a-z_]+): (.+)", detail, re.S)
            kind, detail = named.groups() if named else ("mechanism_missing", detail)
        yield Finding(kind=kind, run=run.name, where=f"{run.name}/run.json", detail=detail)


def _noise(study: Study) -> Iterator[Finding]:
    stated = any(spec.noise for spec in study.metrics.values())
    several = any(len(v) > 1 for run in study.runs.values() for v in run.results.seeds.values())
    if len(study.runs) > 1 and not stated and not several:
        yield Finding(
            kind="noise_not_measured",
            detail="every run has one seed, so no difference between runs is known to be more than "
            "noise; run the baseline with several seeds (--baseline-seeds 3)",
        )


def _where(run: Run) -> str:
    return run.provenance if run.provenance == TOLD else f"{run.name}/final_info.json"


def _shown(value: object) -> str:
    return "absent" if value is None else repr(value) if isinstance(value, str) else str(value)

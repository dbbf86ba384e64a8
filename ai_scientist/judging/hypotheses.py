"""Predictions: fixed before the first edit, judged by this code and by nobody else.

A hypothesis is confirmed only against the best of its baseline and the control arms, with noise
measured, by at least its smallest effect, and within its guards. Everything else is refuted,
undecided within noise, or not testable, and the reason is a sentence.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ai_scientist.errors import ReplyError
from ai_scientist.judging.matching import describe_mismatch, stand_in
from ai_scientist.judging.statistics import Comparison, compare
from ai_scientist.records import (
    Control,
    Guard,
    Hypothesis,
    Judgement,
    MetricSpec,
    Results,
    Run,
    Study,
    Verdict,
)
from ai_scientist.results.naming import resolve, short_name, spec_at
from ai_scientist.results.reading import config_diff
from ai_scientist.results.tables import format_as_measured, format_number

MAX_HYPOTHESES = 8
TOTALS = frozenset({"final_loss", "total_loss", "loss"})
TERM_BLOCKS = frozenset({"loss_terms", "loss terms", "losses", "gradient_share", "loss_share"})
WEIGHT_WORDS = re.compile(
    r"penalty|lambda|coef|weight(?!_decay)|alpha|beta\b|_l1|^l1|ortho|aux", re.I
)


class _Proposed(BaseModel):
    model_config = ConfigDict(extra="ignore")
    metric: str = Field(min_length=1, max_length=300)
    direction: str = Field(pattern=r"^(increase|decrease)$")
    against: str = Field(default="run_0", pattern=r"^run_\d+$")
    min_effect: float = Field(default=0.0, ge=0, allow_inf_nan=False)


def parse_hypotheses(reply: str, paths: Iterable[str]) -> tuple[Hypothesis, ...]:
    """Read the hypotheses a model proposed: a JSON list, bare or in a fenced block.

    `paths` are the metrics the baseline has. Raises ReplyError, worded for the model.
    """
    known = list(paths)
    entries = _json_list(reply)
    if not 1 <= len(entries) <= MAX_HYPOTHESES:
        raise ReplyError(
            f"Give between 1 and {MAX_HYPOTHESES} hypotheses; the list holds {len(entries)}."
        )
    found: dict[tuple[str, str], Hypothesis] = {}
    for number, entry in enumerate(entries, 1):
        try:
            keys = _Proposed.model_validate(entry)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"]) or "entry"
            raise ReplyError(
                f"Hypothesis {number}: {place}: {first['msg']}. Each is an object with metric, "
                "direction (increase or decrease), against (such as run_0) and min_effect (>= 0)."
            ) from None
        name = short_name(resolve(keys.metric, known), known)
        direction: Any = keys.direction
        if (name, keys.against) in found:
            raise ReplyError(f"Hypothesis {number} names {name} again; predict each metric once.")
        found[name, keys.against] = Hypothesis(
            metric=name,
            direction=direction,
            against=keys.against,
            min_effect=keys.min_effect,
            proposed_by="model",
        )
    return tuple(found.values())


def _json_list(reply: str) -> list[Any]:
    blocks = re.findall(r"```(?:json)?\s*\n(.*?)```", reply, re.S) or [reply]
    for block in blocks:
        start = min((i for i in (block.find("["), block.find("{")) if i >= 0), default=-1)
        if start < 0:
            continue
        try:
            content, _ = json.JSONDecoder().raw_decode(block[start:])
        except (ValueError, RecursionError):
            continue
        if isinstance(content, dict):
            inner = content.get("hypotheses", content.get("Hypotheses"))
            content = inner if isinstance(inner, list) else [content]
        return list(content)
    raise ReplyError("No JSON list of hypotheses could be read. Reply with one ```json block.")


def digest(hypotheses: Iterable[Hypothesis]) -> str:
    """Return the SHA-256 of the hypotheses, so that a later change of one shows."""
    content = [dataclasses.asdict(hypothesis) for hypothesis in hypotheses]
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def judge(study: Study, fresh: Mapping[str, Run]) -> tuple[Judgement, ...]:
    """Judge each hypothesis by the valid runs; the reason of each verdict is a full sentence.

    `fresh` holds runs as they came out on seeds that chose nothing: the finalist and what it is
    compared with. They decide wherever no other run is the best.
    """
    return tuple(_judge_afresh(hypothesis, study, fresh) for hypothesis in study.hypotheses)


def _judge_afresh(hypothesis: Hypothesis, study: Study, fresh: Mapping[str, Run]) -> Judgement:
    """Judge by `fresh` alone where that decides: one variant, so nothing for it to be best of."""
    guards, controls = study.idea.guards, study.idea.controls
    judgement = _judge(hypothesis, study.runs, study.metrics, guards, controls)
    if hypothesis.against not in fresh or judgement.run not in {"", *fresh}:
        return judgement
    judgement = _judge(hypothesis, fresh, study.metrics, guards, controls)
    return dataclasses.replace(judgement, reason=f"On fresh seeds: {judgement.reason}")


def finalist(
    hypotheses: Sequence[Hypothesis], runs: Mapping[str, Run], metrics: Mapping[str, MetricSpec]
) -> str | None:
    """Return the run that decides the first hypothesis that can be decided, control arms aside.

    It is the run that control arms belong to: beside another one they would decide nothing.
    """
    for hypothesis in hypotheses:
        judgement = _judge(hypothesis, runs, metrics, guards=(), controls=())
        if judgement.verdict is not Verdict.NOT_TESTABLE:
            return judgement.run
    return None


def contenders(
    hypotheses: Sequence[Hypothesis], runs: Mapping[str, Run], metrics: Mapping[str, MetricSpec]
) -> set[str]:
    """Return the runs that `finalist` may still choose when further ones have joined them.

    Those may change which hypothesis can be decided, but nothing about these runs: who is not the
    best in a prediction now will never be.
    """
    if any(hypothesis.against not in runs for hypothesis in hypotheses):
        return set(runs)
    return {_judge(one, runs, metrics, guards=(), controls=()).run for one in hypotheses}


def _judge(
    hypothesis: Hypothesis,
    runs: Mapping[str, Run],
    metrics: Mapping[str, MetricSpec],
    guards: Sequence[Guard],
    controls: Sequence[Control],
) -> Judgement:
    against = runs.get(hypothesis.against)
    if against is None:
        return _untestable(hypothesis, f"{hypothesis.against} is no valid run.")
    try:
        path = resolve(hypothesis.metric, against.results.metrics)
    except ReplyError:
        reason = _not_run(hypothesis.metric, against.results)
        return _untestable(hypothesis, f"{hypothesis.against} has no {hypothesis.metric}{reason}.")
    having = [r for n, r in runs.items() if n != against.name and path in r.results.metrics]
    having = [run for run in having if run.name != "run_0"]
    if not having:
        return _untestable(hypothesis, f"no run after {against.name} measured it.")
    tried = [run for run in having if not run.confounded]
    if not tried:
        keys = ", ".join(sorted({key for run in having for key in run.confounded})[:5])
        return _untestable(hypothesis, f"every run also changed {keys}, outside the idea's Varies.")
    needed = {control.name for control in controls}
    armed = [
        r
        for r in tried
        if all(path in r.arms[n].metrics for n in needed if n in r.arms) and needed <= set(r.arms)
    ]
    if needed and not armed:
        names = ", ".join(sorted(needed))
        return _untestable(hypothesis, f"controls not run ({names}).")
    chosen = _best(armed or tried, path, hypothesis, against, metrics)
    if chosen.obstacle:
        return _untestable(hypothesis, chosen.obstacle, chosen.run.name)
    return _decide(hypothesis, chosen, against, n_tried=len(tried), metrics=metrics, guards=guards)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Chosen:
    """The run that decides a hypothesis, and on which numbers."""

    run: Run
    path: str
    unmatched: str = ""
    """Why `path` is not the metric's own but its stand-in."""
    obstacle: str = ""
    """Why it decides nothing."""


def _decide(
    hypothesis: Hypothesis,
    chosen: _Chosen,
    against: Run,
    *,
    n_tried: int,
    metrics: Mapping[str, MetricSpec],
    guards: Sequence[Guard],
) -> Judgement:
    sign = 1.0 if hypothesis.direction == "increase" else -1.0
    run, path = chosen.run, chosen.path
    rivals = _rivals(path, run, against)
    rival = max(rivals, key=lambda name: sign * rivals[name].metrics[path])
    spec = spec_at(path, metrics)
    seen = compare(rivals[rival], run.results, path, spec=spec, n_tried=n_tried)
    words = _evidence(seen, run.name, rival)
    if chosen.unmatched:
        words += f"; {path.rsplit('/', 1)[-1]} was compared, since {chosen.unmatched}"

    def verdict(value: Verdict, why: str) -> Judgement:
        reason = f"{words}. {why}"
        return Judgement(hypothesis=hypothesis, verdict=value, reason=reason, run=run.name)

    gain = sign * seen.delta
    toward = "higher" if sign > 0 else "lower"
    if not seen.noise_known:
        return verdict(Verdict.UNDECIDED, "Without known noise nothing is decided.")
    if seen.verdict == "identical":
        return verdict(Verdict.REFUTED, "The values are identical with every seed.")
    if seen.verdict not in (toward, "not distinguishable"):
        return verdict(Verdict.REFUTED, "It moved in the other direction.")
    best_case = max(sign * bound for bound in seen.interval or (0.0,))
    least = hypothesis.min_effect
    if least > 0 and best_case < least:
        return verdict(
            Verdict.REFUTED, f"Even the upper end of the interval is below {format_number(least)}."
        )
    if seen.verdict != toward or gain < least:
        return verdict(Verdict.UNDECIDED, "More seeds are needed.")
    return _within_guards(verdict, chosen, against, metrics, guards)


def _within_guards(
    verdict: Callable[[Verdict, str], Judgement],
    chosen: _Chosen,
    against: Run,
    metrics: Mapping[str, MetricSpec],
    guards: Sequence[Guard],
) -> Judgement:
    run = chosen.run
    for guard in guards:
        matched = metrics.get(guard.metric)
        if chosen.unmatched and matched is not None and matched.matched is not None:
            continue  # where the stand-ins were read off, both have the same
        try:
            if chosen.unmatched:
                path = stand_in(guard.metric, metrics, (run.results, against.results))
            else:
                path = resolve(guard.metric, run.results.metrics)
            spec = spec_at(path, metrics)
            seen = compare(against.results, run.results, path, spec=spec)
        except (ReplyError, KeyError):
            where = " where both are matched" if chosen.unmatched else ""
            return verdict(
                Verdict.NOT_TESTABLE, f"The guard {guard.metric} was not measured{where}."
            )
        moved = seen.delta if guard.direction == "increase" else -seen.delta
        limit = guard.limit * (abs(seen.base) if guard.kind == "relative" else 1.0)
        if moved > limit:
            sure = seen.verdict in ("higher", "lower") and seen.noise_known
            base, value = (
                format_as_measured(number, seen.standard_error)
                for number in (seen.base, seen.value)
            )
            why = (
                f"It was paid for: {guard.metric} went from {base} to {value}, more than the "
                "guard allows."
            )
            return verdict(Verdict.REFUTED if sure else Verdict.UNDECIDED, why)
    return verdict(Verdict.CONFIRMED, "All guards hold." if guards else "No guards were set.")


def _evidence(seen: Comparison, run: str, rival: str) -> str:
    error = seen.standard_error
    value, base, delta = (
        format_as_measured(number, error) for number in (seen.value, seen.base, seen.delta)
    )
    text = f"{run} {value}, {rival} {base}: difference {delta}"
    if error is not None:
        text += f" ± {format_as_measured(error, error)} (n = {seen.n}, {seen.noise}"
        if seen.p_value is not None:
            text += f", p = {seen.p_value:.2g}"
        if seen.minimum_detectable_effect is not None:
            text += f", detectable {format_as_measured(seen.minimum_detectable_effect, error)}"
        text += ")"
    else:
        text += f" ({seen.noise})"
    return text + (f"; {seen.multiplicity}" if seen.multiplicity else "")


def _best(
    runs: Sequence[Run],
    path: str,
    hypothesis: Hypothesis,
    against: Run,
    metrics: Mapping[str, MetricSpec],
) -> _Chosen:
    """Return the best run of those that may be compared, and why it decides nothing, if so.

    Where none may, what stands for the metric between unmatched runs is compared, if all have it.
    """
    sign = 1.0 if hypothesis.direction == "increase" else -1.0
    said = {run.name: _mismatch(path, run, against, metrics) for run in runs}
    readable = {run.name: path for run in runs if not said[run.name]} or {
        run.name: found
        for run in runs
        if (found := stand_in(path, metrics, (run.results, *_rivals(path, run, against).values())))
    }
    if not readable:
        best = max(runs, key=lambda run: sign * run.results.metrics[path])
        obstacle = f"{best.name} cannot be compared: {said[best.name]}."
        return _Chosen(run=best, path=path, obstacle=obstacle)
    ready = [run for run in runs if run.name in readable]
    best = max(ready, key=lambda run: sign * run.results.metrics[readable[run.name]])
    path, obstacle = readable[best.name], ""
    if _terms_changed(path, against, best):
        obstacle = f"{path} is the total loss and {best.name} changed its terms."
    elif _at_floor(path, against.results, best.results, hypothesis):
        obstacle = f"{against.name} is at the floor of {path} (0)."
    return _Chosen(run=best, path=path, unmatched=said[best.name], obstacle=obstacle)


def _rivals(path: str, run: Run, against: Run) -> dict[str, Results]:
    """Return what a run must beat: what it is compared with, and its control arms."""
    return {against.name: against.results} | {
        f"{run.name}/{name}": arm for name, arm in run.arms.items() if path in arm.metrics
    }


def _mismatch(path: str, run: Run, against: Run, metrics: Mapping[str, MetricSpec]) -> str:
    """Say why a run may not be compared with its rivals, "" where it may; not by what it predicts.

    Its control arms are rivals too.
    """
    others = {name: spec for name, spec in metrics.items() if name != path.rsplit("/", 1)[-1]}
    rivals = _rivals(path, run, against)
    said = {name: describe_mismatch(run.results, one, others) for name, one in rivals.items()}
    return "; ".join(f"beside {name}, {words}" for name, words in said.items() if words)


def _untestable(hypothesis: Hypothesis, reason: str, run: str = "") -> Judgement:
    sentence = reason[:1].upper() + reason[1:] if not reason.startswith("run_") else reason
    return Judgement(hypothesis=hypothesis, verdict=Verdict.NOT_TESTABLE, reason=sentence, run=run)


def _not_run(metric: str, results: Results) -> str:
    for place, reason in results.not_run.items():
        if place.endswith(metric) or metric.endswith(place):
            return f": not run ({reason})"
    return ""


def _terms_changed(path: str, against: Run, run: Run) -> bool:
    if path.rsplit("/", 1)[-1] not in TOTALS:
        return False
    moved = config_diff(against.results, run.results)
    if any(WEIGHT_WORDS.search(key.rsplit("/", 1)[-1]) for key in moved):
        return True
    return _terms(against.results) != _terms(run.results)


def _terms(results: Results) -> frozenset[str]:
    return frozenset(path for path in results.metrics if TERM_BLOCKS & set(path.lower().split("/")))


def _at_floor(path: str, base: Results, run: Results, hypothesis: Hypothesis) -> bool:
    floor = set(base.seeds.get(path, (base.metrics[path],))) == {0.0}
    return floor and (hypothesis.direction == "decrease" or run.metrics[path] == 0)

"""Where what was done departs from what was fixed before the first edit."""

from __future__ import annotations

from collections.abc import Iterator

from ai_scientist.judging.hypotheses import digest
from ai_scientist.records import Study


def deviations(study: Study) -> tuple[str, ...]:
    """Return each deviation as a sentence; all of it is told by the study's own records."""
    return tuple(_deviations(study))


def _deviations(study: Study) -> Iterator[str]:
    stated = study.idea.hypotheses
    if stated and study.hypotheses and digest(stated) != digest(study.hypotheses):
        yield (
            "The idea states other hypotheses now than were fixed before the first edit; the fixed "
            "ones are judged."
        )
    if not study.hypotheses:
        yield "No hypothesis was fixed before the first edit, so nothing is confirmed or refuted."
    runs = [run for name, run in study.runs.items() if name != "run_0"]
    for run in runs:
        if run.confounded:
            keys = ", ".join(key.rsplit("/", 1)[-1] for key in run.confounded[:6])
            yield f"{run.name} also changed {keys}, which the idea does not mean to vary."
    for control in study.idea.controls:
        if runs and not any(control.name in run.arms for run in runs):
            yield f"The control arm {control.name} was declared and has no result."
    fresh = [one for one in study.attempts if "/confirmation/seed_" in one.step]
    if fresh:
        yield (
            f"The confirmation on fresh seeds failed ({fresh[0].step}), so the hypotheses are "
            "judged by the runs that the winner was chosen by."
        )
    planned = study.settings.get("seeds_per_run")
    for run in runs:
        if isinstance(planned, int) and len(run.seeds) < planned:
            yield f"{run.name} has {len(run.seeds)} of {planned} seeds."

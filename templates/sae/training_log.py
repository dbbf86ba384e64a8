"""What a training says while it runs: a line every few seconds, and metrics.jsonl. Frozen.

A line of metrics.jsonl holds step, tokens, repeat and k; the loss terms (loss_NAME) and, at the
start, in the middle and at the end, their gradient shares; l0 and dead_share of that moment; what
else the trainer measured, such as fvu; and tokens_per_s so far. Twenty lines for each SAE.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from contract import Request, log_step

SHOWN = ("fvu", "l0", "dead_share")
EVERY_S = 5.0
FEW_STEPS = 10
"""The first of a training: they take what compiling takes, and say nothing of the others."""


class TrainingLog:
    """Logs the SAEs that are trained in one pass over the data.

    The time left follows from the quickest of the last three stretches between lines, since one in
    which something was compiled is no measure.
    """

    def __init__(
        self,
        request: Request[Any],
        *,
        repeat: int,
        steps: int,
        batch_size: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._request, self._repeat = request, repeat
        self._steps, self._batch_size = steps, batch_size
        self._clock = clock
        self._started = self._said = clock()
        self._said_done = 0
        self._step_s: deque[float] = deque(maxlen=3)
        self._latest: dict[int, Mapping[str, float | str]] = {}

    def step(self, number: int, logged: Mapping[int, Mapping[str, float | str]]) -> None:
        """Log one step, counted from 0, of all SAEs: k -> what was measured, mostly nothing."""
        now, done = self._clock(), number + 1
        tokens = done * self._batch_size
        speed = tokens / max(now - self._started, 1e-6)
        for k, values in logged.items():
            if not values:
                continue
            self._latest[k] = values
            place: dict[str, float | str] = {"step": number, "tokens": tokens}
            place |= {"repeat": self._repeat, "k": k}
            log_step(self._request, **(place | dict(values) | {"tokens_per_s": round(speed)}))
        if now - self._said >= EVERY_S or done == self._steps:
            if done >= FEW_STEPS:
                self._step_s.append((now - self._said) / (done - self._said_done))
            self._said, self._said_done = now, done
            print(self._line(done, speed), flush=True)

    def _line(self, done: int, speed: float) -> str:
        left = "time left not known yet"
        if self._step_s:
            left = f"{min(self._step_s) * (self._steps - done):.0f} s left"
        saes = "; ".join(f"k {k}: {describe(values)}" for k, values in self._latest.items())
        return (
            f"seed {self._repeat}: step {done} of {self._steps}, {speed:,.0f} tokens/s, "
            f"{saes}, {left}"
        )


def describe(values: Mapping[str, float | str]) -> str:
    """Return what is shown of one SAE: fvu, l0, dead share, then its loss terms."""
    terms = {
        name.removeprefix("loss_"): value
        for name, value in values.items()
        if name.startswith("loss_")
    }
    shown = {name: values[name] for name in SHOWN if name in values} | terms
    return ", ".join(f"{name} {value:.3g}" for name, value in shown.items())

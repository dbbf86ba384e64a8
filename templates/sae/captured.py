"""Training steps recorded once on a GPU and replayed: a hundred launches become one. Frozen.

A step of a small SAE is over before the next of its operations is launched, so that the processor
sets the pace. A recorded step (a CUDA graph) reads and writes the same memory each time; what is
decided in Python is decided once, while it is recorded.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from data import Batch

Step = Callable[[Batch, Tensor], object]
"""Takes a step on a batch, given the indices of dead latents."""


class CapturedStep:
    """A step that is recorded as soon as it is settled, anew for each tensor of dead latents.

    `is_settled` tells whether the step has come to its final form: nothing left to be compiled or
    compared. `capture` records what a function does to tensors, and returns what does it again.
    """

    def __init__(
        self,
        step: Step,
        is_settled: Callable[[], bool],
        capture: Callable[[Callable[[], object]], Callable[[], object]] | None = None,
    ) -> None:
        self._step, self._is_settled = step, is_settled
        self._capture = capture or capture_graph
        self._records = True
        self._replay: Callable[[], object] | None = None
        self._batch: Batch | None = None
        self._dead: Tensor | None = None

    def __call__(self, batch: Batch, dead: Tensor) -> None:
        """Take a step. Another `dead` is one of another identity: its entries may change."""
        if dead is not self._dead or not (self._records and self._is_settled()):
            self._replay, self._dead = None, dead
            self._step(batch, dead)
            return
        if self._batch is None:
            self._batch = Batch(batch.x.clone(), batch.domain.clone())
        held = self._batch
        held.x.copy_(batch.x)
        held.domain.copy_(batch.domain)
        if self._replay is None:
            self._replay = self._recorded(lambda: self._step(held, dead))
        self._replay()

    def _recorded(self, step: Callable[[], object]) -> Callable[[], object]:
        """Return what replays a step; the step itself where it cannot be recorded."""
        try:
            return self._capture(step)
        except RuntimeError as error:  # such as one that waits for the GPU
            reason = str(error).strip().partition("\n")[0][:200]
            print(f"steps are not recorded from here on: {reason}", flush=True)
            self._records = False
            return step


def capture_graph(step: Callable[[], object]) -> Callable[[], object]:
    """Record a step on the GPU without taking it, and return what replays it."""
    graph = torch.cuda.CUDAGraph()
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        graph.capture_begin(pool=_memory())
        try:
            step()
        finally:
            graph.capture_end()
    torch.cuda.current_stream().wait_stream(aside)
    return graph.replay


@functools.cache
def _memory() -> tuple[int, int]:
    """Return the memory that all recorded steps share: each leaves nothing that another reads."""
    return torch.cuda.graph_pool_handle()

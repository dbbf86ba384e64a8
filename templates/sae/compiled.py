"""The loss of a long training and its gradient, compiled by torch where that pays. Frozen.

Compiling fuses what is done to each entry of (B, F), and is the condition for recording whole steps
(captured.py). On an H200 it takes about 5 s for each SAE and saves 1.4 to 4 ms a step
(benchmarks/RESULTS.md); on a CPU it takes longer and saves nothing.

No result changes in silence. Each compiled form is compared with the loss as it is written on the
first batches it is used on, and what is written is what counts there. A loss that cannot be
compiled, that comes out otherwise, or that draws or keeps anything from step to step is said in one
sentence, and stays as it is written.
"""

from __future__ import annotations

import contextlib
import gc
import math
import sys
import time
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from data import Batch

FROM_STEPS = 10_000
"""Steps from which on compiling pays: measured on an H200, where it was made up for after 1,200 to
5,200 steps, and about 10 s come once for each process."""
CHECKED = 3
"""Batches that each compiled form is compared on."""
MAX_FORMS = 8
"""Forms of one loss, at most: without dead latents, with one, with several, and some of its own."""
TOLERANCES = {"float32": 1e-3, "bfloat16": 1e-2}
"""How far a compiled gradient may be from the written one, as a share of its norm."""

Losses = Callable[[Batch, Tensor], tuple[Tensor, Mapping[str, Tensor]]]
"""From a batch and the indices of dead latents to latents (B, F) and loss terms by name."""


def compiles(wish: str, steps: int, device: torch.device) -> bool:
    """Tell whether a training is to be compiled: `never`, `always`, or `on_gpu` if it is long."""
    return wish == "always" or (wish == "on_gpu" and device.type == "cuda" and steps >= FROM_STEPS)


class CompiledLoss:
    """The loss of one SAE, compiled at first use and once more for each new form of it."""

    def __init__(self, losses: Losses, learner: Any, precision: str) -> None:
        self._losses, self._learner = losses, learner
        self._tolerance = TOLERANCES[precision]
        self._parameters: Sequence[nn.Parameter] = list(learner.sae.parameters())
        self._forms = self._unchecked = 0
        self._compiled: Losses | None = None
        self._stopped = False

    def add_gradients(self, batch: Batch, dead: Tensor) -> Tensor:
        """Add the gradient of the terms' sum to the parameters, which have none; return latents."""
        if self._stopped:  # looking for what it keeps takes a fifth of a step on a GPU
            latents, terms = self._losses(batch, dead)
            _stack(terms).sum().backward()
            return latents
        if self._compiled is None:
            latents = self._as_written(batch, dead)[0]
            if not self._stopped:
                self._compiled = compile_alone(self._losses, self._count_form)
            return latents
        known, started = self._forms, time.perf_counter()
        torch._dynamo.maybe_mark_dynamic(dead, 0)  # one form for every number of dead latents
        try:
            latents, terms = self._compiled(batch, dead)
            _stack(terms).sum().backward()
        except Exception as error:  # torch's compiler has many kinds, and the loss its own
            reason = str(error).strip().partition("\n")[0][:200] or repr(error)
            self._stop(f"it cannot be compiled ({type(error).__name__}: {reason})")
            return self._as_written(batch, dead)[0]
        if self._forms > known:
            self._unchecked = CHECKED
            print(f"the loss was compiled in {time.perf_counter() - started:.0f} s", flush=True)
        if not self._unchecked:
            return latents
        self._unchecked -= 1
        return self._check(batch, dead, terms)

    def is_settled(self) -> bool:
        """Tell whether the compiled loss is in use, and nothing of it waits to be compared."""
        return self._compiled is not None and self._forms > 0 and not self._unchecked

    def _count_form(self) -> None:
        self._forms += 1
        if self._forms > MAX_FORMS:
            raise RuntimeError(f"it has more than {MAX_FORMS} forms")

    def _as_written(self, batch: Batch, dead: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Add the gradients of the loss as it is written; stop if it keeps anything meanwhile."""
        for parameter in self._parameters:
            parameter.grad = None
        before = self._kept()
        latents, terms = self._losses(batch, dead)
        _stack(terms).sum().backward()
        after = self._kept()
        if moved := [name for name in after if after[name] != before.get(name)]:
            self._stop(f"it keeps or draws something from step to step ({', '.join(moved)})")
        return latents, terms

    def _check(self, batch: Batch, dead: Tensor, terms: Mapping[str, Tensor]) -> Tensor:
        """Compare a compiled step with the written one; return its latents, keep its gradients."""
        found = [parameter.grad for parameter in self._parameters]
        latents, expected = self._as_written(batch, dead)
        if list(terms) != list(expected):
            self._stop(f"compiled, its terms are {', '.join(terms)}")
            return latents
        written = [*(parameter.grad for parameter in self._parameters), _stack(expected)]
        apart = max(map(_distance, written, [*found, _stack(terms)]))
        if apart > self._tolerance:
            self._stop(f"compiled, its values or gradients differ by {apart:.2g} of their size")
        return latents

    def _stop(self, reason: str) -> None:
        if not self._stopped:
            print(f"the loss stays uncompiled from here on: {reason}", flush=True)
        self._compiled, self._stopped = None, True

    def _kept(self) -> dict[str, str]:
        """Return a mark for all that the loss could change, the gradients aside."""
        marks = {"torch's generator": str(hash(torch.get_rng_state().numpy().tobytes()))}
        if self._parameters[0].is_cuda:
            drawn = torch.cuda.get_rng_state().numpy().tobytes()
            marks["torch's generator on the GPU"] = str(hash(drawn))
        for owner in (self._learner, self._learner.sae):
            of = type(owner).__name__
            marks |= {f"{of}.{name}": _mark(value) for name, value in vars(owner).items()}
        return marks


def compile_alone(
    function: Callable[..., Any], on_form: Callable[[], None] = lambda: None
) -> Callable[..., Any]:
    """Return a function compiled; its code is its own, so that no other SAE's forms count.

    `on_form` is called before each form that is compiled.
    """
    import torch._dynamo.config  # these take seconds to import
    from torch._inductor import config
    from torch._inductor.compile_fx import compile_fx

    config.compile_threads = 1  # a run starts no processes that it does not wait for
    config.force_disable_caches = True  # what another run compiled may round otherwise
    torch._dynamo.config.automatic_dynamic_shapes = False  # each SAE has a k of its own

    def build(graph: Any, inputs: Any) -> Any:
        on_form()
        return compile_fx(graph, inputs)

    def own(*given: Any) -> Any:
        return function(*given)

    own = types.FunctionType(own.__code__.replace(), globals(), closure=own.__closure__)
    compiled: Callable[..., Any] = torch.compile(own, fullgraph=True, backend=build)
    return compiled


@contextlib.contextmanager
def releasing_compiled() -> Iterator[None]:
    """Give back afterwards what trainings hold: gradients, moments, compiled code, recorded steps.

    Torch keeps what it compiled as long as the process lives, and with it all that it refers to.
    """
    yield
    if "torch._dynamo" in sys.modules:  # nothing is compiled without it, and it takes seconds
        torch.compiler.reset()
    gc.collect()


def _mark(value: Any) -> str:
    """Return what is another text once a value was changed."""
    if isinstance(value, Tensor):
        return f"{id(value)} {value._version}"
    if isinstance(value, torch.Generator):
        return str(hash(value.get_state().numpy().tobytes()))
    if isinstance(value, nn.Module):
        tensors = [*value.parameters(), *value.buffers()]
        return " ".join(f"{id(one)} {one._version}" for one in tensors)
    if isinstance(value, Mapping):
        return str({name: _mark(one) for name, one in value.items()})
    if isinstance(value, list | tuple):
        return str([_mark(one) for one in value])
    return repr(value)


def _stack(terms: Mapping[str, Tensor]) -> Tensor:
    return torch.stack(list(terms.values()))


def _distance(written: Tensor | None, compiled: Tensor | None) -> float:
    """Return how far apart two tensors are, as a share of the first one's norm; NaN is far."""
    if written is None or compiled is None:
        return 0.0 if written is compiled else float("inf")
    written, compiled = written.detach(), compiled.detach()
    apart = float((compiled - written).norm() / written.norm().clamp_min(1e-12))
    return float("inf") if math.isnan(apart) else apart

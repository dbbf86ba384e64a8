"""Take a step on a sum of named loss terms, and say how much each of them pulls. Frozen.

A new term needs nothing but a name: its value and the size of its gradient, relative to that of the
reconstruction, are logged at the start, in the middle and at the end of training, and reported as
`loss_<term>` and `gradient_share_<term>`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

RECONSTRUCTION = "reconstruction"


class TermLog:
    """Values and gradient norms of the loss terms of one training."""

    def __init__(self, steps: int) -> None:
        self._phases = {0: "start", steps // 2: "middle", steps - 1: "end"}
        self._every = max(1, steps // 20)
        self._values: dict[str, float] = {}
        self._shares: dict[str, list[float]] = {}

    def is_due(self, step: int) -> bool:
        """Tell whether a step is logged."""
        return step % self._every == 0 or step in self._phases

    def backward(
        self, step: int, terms: Mapping[str, Tensor], parameters: Iterable[Tensor]
    ) -> dict[str, float | str]:
        """Add the gradient of the terms' sum to the parameters.

        Returns what to log: each term's value at twenty steps of training, with the phase and the
        gradient shares at the start, in the middle and at the end; nothing at other steps.
        """
        logged: dict[str, float | str] = {}
        if step % self._every == 0:
            logged = {f"loss_{name}": float(term.detach()) for name, term in terms.items()}
        if step in self._phases:
            logged = {"phase": self._phases[step]} | self._measure(terms, list(parameters))
        torch.stack(list(terms.values())).sum().backward()
        return logged

    def results(self) -> dict[str, float]:
        """Return each term's last logged value, and its mean gradient share over the phases."""
        values = {f"loss_{name}": value for name, value in self._values.items()}
        shares = {
            f"gradient_share_{name}": sum(shares) / len(self._phases)
            for name, shares in self._shares.items()
        }
        return values | shares

    def _measure(
        self, terms: Mapping[str, Tensor], parameters: list[Tensor]
    ) -> dict[str, float | str]:
        norms = {name: _gradient_norm(term, parameters) for name, term in terms.items()}
        self._values = {name: float(term.detach()) for name, term in terms.items()}
        logged: dict[str, float | str] = {}
        for name, value in self._values.items():
            logged[f"loss_{name}"] = value
            if name != RECONSTRUCTION:
                share = norms[name] / max(norms.get(RECONSTRUCTION, 0.0), 1e-12)
                logged[f"gradient_share_{name}"] = share
                self._shares.setdefault(name, []).append(share)
        return logged


def _gradient_norm(term: Tensor, parameters: list[Tensor]) -> float:
    if not term.requires_grad:
        return 0.0
    gradients = torch.autograd.grad(term, parameters, retain_graph=True, allow_unused=True)
    squares = [gradient.square().sum() for gradient in gradients if gradient is not None]
    return float(torch.stack(squares).sum().sqrt()) if squares else 0.0

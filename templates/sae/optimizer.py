"""The optimizer of an SAE, whose decoder rows keep unit length. Frozen: edits are undone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class Adam:
    """Fused Adam (Kingma and Ba 2015) with moments that can be forgotten latent by latent.

    `unit_rows` (F, d), one of the parameters, turns: of its gradient, what would only change a
    row's length is left out, and each row is put back to unit length. With `compile_turn`, such as
    torch.compile, this is done in one pass instead of five.

    Calls torch's own function: making a torch.optim.Adam imports torch's compiler, which takes
    longer than a rehearsal.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        unit_rows: Tensor,
        compile_turn: Callable[[Any], Any] | None = None,
    ) -> None:
        self._parameters = list(parameters)
        self._unit_rows = unit_rows
        self._means = [torch.zeros_like(one) for one in self._parameters]
        self._squares = [torch.zeros_like(one) for one in self._parameters]
        self._steps = [torch.zeros((), device=one.device) for one in self._parameters]
        self._turn = compile_turn(turn) if compile_turn else None
        self.rate = torch.zeros((), device=unit_rows.device)
        """The learning rate, as a tensor: a recorded step reads it anew each time."""

    @torch.no_grad()
    def step(self) -> None:
        """Move the parameters that have a gradient against it."""
        rows = zip(self._parameters, self._means, self._squares, self._steps, strict=True)
        moved = [(one, one.grad, *moments) for one, *moments in rows if one.grad is not None]
        turned = self._turn_rows(moved)
        if turned:
            moved = [one for one in moved if one[0] is not self._unit_rows]
        else:
            remove_parallel_gradient(self._unit_rows)
        self._move(moved)
        if not turned:
            self._unit_rows /= self._unit_rows.norm(dim=1, keepdim=True)

    def _turn_rows(self, moved: list[tuple[Any, ...]]) -> bool:
        """Take the unit rows' step in one pass, and tell whether it was taken."""
        if self._turn is None:
            return False
        rows, gradient, *moments = next(one for one in moved if one[0] is self._unit_rows)
        try:
            self._turn(rows, gradient, tuple(moments), self.rate)
        except Exception as error:  # torch's compiler has many kinds
            reason = str(error).strip().partition("\n")[0][:200]
            print(f"decoder rows are turned uncompiled from here on: {reason}", flush=True)
            self._turn = None
        return self._turn is not None

    def _move(self, moved: list[tuple[Any, ...]]) -> None:
        parameters, gradients, means, squares, steps = map(list, zip(*moved, strict=True))
        adam(
            parameters,
            gradients,
            means,
            squares,
            [],
            steps,
            fused=True,
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=self.rate,
            weight_decay=0.0,
            eps=EPSILON,
            maximize=False,
        )

    def forget(self, parameter: Tensor, index: Any) -> None:
        """Set the moments of parameter[index] to 0."""
        place = next(i for i, one in enumerate(self._parameters) if one is parameter)
        self._means[place][index] = 0.0
        self._squares[place][index] = 0.0


def remove_parallel_gradient(rows: Tensor) -> None:
    """Take out of the gradient of unit rows what would only change their length."""
    assert rows.grad is not None
    rows.grad -= (rows.grad * rows).sum(1, keepdim=True) * rows


def turn(
    rows: Tensor, gradient: Tensor, moments: tuple[Tensor, Tensor, Tensor], rate: Tensor
) -> None:
    """Take Adam's step for unit rows (F, d), as one piece of code that a compiler can fuse.

    `moments` are the mean of gradients and of their squares, both (F, d), and the steps so far.
    """
    mean, square, step = moments
    gradient = gradient - (gradient * rows).sum(1, keepdim=True) * rows
    step += 1
    mean.lerp_(gradient, 1 - BETAS[0])
    square.lerp_(gradient.square(), 1 - BETAS[1])
    size = (square / (1 - BETAS[1] ** step)).sqrt() + EPSILON
    turned = rows - rate / (1 - BETAS[0] ** step) * mean / size
    rows.copy_(turned / turned.norm(dim=1, keepdim=True))

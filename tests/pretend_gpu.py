"""A double of a GPU for tests: torch's spare device `pretend`, whose tensors are held on the CPU.

As on CUDA, an operation takes tensors and generators of one device. Let through are: a copy from
one device to the other, a CPU tensor without dimensions among values that are computed entry by
entry, and CPU indices of a tensor of the device. Nothing is printed by numpy before it is copied.

Import it first, in the environment of a template: it needs torch alone.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only
from torch.utils.backend_registration import (
    _DummyBackendModule,
    _setup_privateuseone_for_python_backend,
)

NAME = "pretend"
COPIES = ("aten::copy_", "aten::_to_copy", "aten::to")
INDEXED = ("aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_")
_ATEN = torch.ops.aten
SIZED_LATE = (
    *(_ATEN.arange.default, _ATEN.arange.start, _ATEN.arange.start_step),
    *(_ATEN.eye.default, _ATEN.eye.m, _ATEN.linspace.default),
)
"""Factories that torch makes of an empty tensor, whose size it then changes."""


class Module(_DummyBackendModule):
    """What torch asks of a device's module."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        """Return what autocast may compute in."""
        return [torch.bfloat16, torch.float16]

    def mem_get_info(self, device: Any = None) -> tuple[int, int]:
        """Return how many bytes are free, and of how many."""
        return 10**9, 10**9

    def get_rng_state(self, device: Any = None) -> Tensor:
        """Return nothing: draws on the device are the CPU's."""
        return torch.zeros(0)

    def set_rng_state(self, state: Tensor, device: Any = None) -> None:
        """Do nothing."""


class OnDevice(Tensor):
    """A tensor of the device; what it holds is a tensor on the CPU."""

    held: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: Tensor) -> OnDevice:
        """Take a tensor on the CPU, which is not copied."""
        made = Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=torch.device(NAME, 0),
        )
        made.held = held
        return made

    def tolist(self) -> Any:  # torch refuses it for a class of one's own
        """Return the entries."""
        return self.held.tolist()

    @classmethod
    def __torch_dispatch__(
        cls, operation: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return compute(operation, *args, **(kwargs or {}))


def compute(operation: Any, *args: Any, **kwargs: Any) -> Any:
    """Run an operation of torch on what its tensors hold. RuntimeError where two devices meet."""
    leaves = list(flat([args, list(kwargs.values())]))
    known = {id(held(one)): one for one in leaves if isinstance(one, Tensor)}
    wanted = [one.type for one in leaves if isinstance(one, torch.device)]
    on_device = NAME in wanted or (not wanted and any(isinstance(one, OnDevice) for one in leaves))
    if operation._schema.name not in COPIES:
        check_devices(operation, args, leaves)
    made = operation(*held(args), **{name: held(value) for name, value in kwargs.items()})
    if any(given.size() != one.size() for one in known.values() if (given := held(one)) is not one):
        raise NotImplementedError(f"{operation}: this double cannot change the size of a tensor")

    def give(one: Tensor) -> Tensor:
        if id(one) in known:  # it was changed in place, or is only asked to be elsewhere
            if isinstance(known[id(one)], OnDevice) == on_device:
                return known[id(one)]
            one = one.clone()
        return OnDevice(one) if on_device else one

    return tree_map_only(Tensor, give, made)


def flat(values: Any) -> Iterator[Any]:
    """Yield what lists and tuples hold, however deep."""
    for one in values:
        if isinstance(one, list | tuple):
            yield from flat(one)
        else:
            yield one


def held(one: Any) -> Any:
    """Return what is computed with: the tensor that one of the device holds, the CPU for it."""
    if isinstance(one, list | tuple):
        return [held(part) for part in one]
    if isinstance(one, torch.device):
        return torch.device("cpu")
    return one.held if isinstance(one, OnDevice) else one


def check_devices(operation: Any, args: Any, leaves: list[Any]) -> None:
    """Raise what CUDA raises."""
    name = operation._schema.name
    if torch.Tag.inplace_view in operation.tags:
        raise NotImplementedError(f"{name}: this double cannot change the shape of a tensor")
    tensors = [one for one in leaves if isinstance(one, Tensor)]
    if name in INDEXED and isinstance(args[0], OnDevice):
        tensors = [args[0], *(one for one in args[2:3] if one.dim())]
    elif torch.Tag.pointwise in operation.tags:
        written = args[0] if name.endswith("_") else None
        tensors = [one for one in tensors if one.dim() or held(one) is not one or one is written]
    if len({isinstance(one, OnDevice) for one in tensors}) > 1:
        raise RuntimeError(f"Expected all tensors to be on the same device ({name}: cpu, {NAME}:0)")
    if tensors and isinstance(tensors[0], OnDevice):
        for one in leaves:
            if isinstance(one, torch.Generator) and one.device.type != NAME:
                raise RuntimeError(f"Expected a '{NAME}' device type for generator ({name})")


_setup_privateuseone_for_python_backend(NAME, Module())
_library = torch.library.Library("_", "IMPL")
_library.fallback(compute, "PrivateUse1")
_sized_late = torch.library.Library("aten", "IMPL")
for _operation in SIZED_LATE:
    _sized_late.impl(_operation, functools.partial(compute, _operation), "PrivateUse1")
torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(device=…) then ends in a copy

"""Spread independent work over processes. Frozen: edits are undone.

Each process computes on one thread, so that results are the same bits whatever their number. The
processes are forked: what is loaded is shared, and nothing is imported again.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import TypeVar

import torch

from contract import stop

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


def granted_processes() -> int:
    """Return how many processes this run may compute in: the threads it was granted.

    One where a GPU is in use, for it cannot be used in a fork.
    """
    if torch.cuda.is_initialized():
        return 1
    granted = os.environ.get("OMP_NUM_THREADS", "1")
    return max(1, int(granted)) if granted.isdecimal() else 1


def in_processes(
    function: Callable[[ItemT], ResultT], items: Sequence[ItemT], processes: int
) -> list[ResultT]:
    """Return `function` of each item, in the items' order; process p takes items p, p + n, ….

    Results must be picklable. What fails in a process prints its traceback, and ends this one.
    """
    processes = min(processes, len(items))
    if processes <= 1:
        return [function(item) for item in items]
    context = multiprocessing.get_context("fork")
    pipes = [context.Pipe(duplex=False) for _ in range(processes)]
    shares = [items[number::processes] for number in range(processes)]
    workers = [
        context.Process(target=_compute, args=(function, share, sender), daemon=True)
        for share, (_, sender) in zip(shares, pipes, strict=True)
    ]
    for worker in workers:
        worker.start()
    for _, sender in pipes:
        sender.close()  # so that a process that ends early is noticed
    results: list[list[ResultT]] = [_receive(receiver) for receiver, _ in pipes]
    for worker in workers:
        worker.join()
    return [results[number % processes][number // processes] for number in range(len(items))]


def _compute(
    function: Callable[[ItemT], ResultT], items: Sequence[ItemT], sender: Connection
) -> None:
    # Pickled here: torch's own way of sending tensors between processes shares memory by name.
    sender.send_bytes(pickle.dumps([function(item) for item in items]))


def _receive(receiver: Connection) -> list[ResultT]:
    try:
        received: list[ResultT] = pickle.loads(receiver.recv_bytes())
    except EOFError:
        stop("a process of this run ended early; what it said stands above")
    return received

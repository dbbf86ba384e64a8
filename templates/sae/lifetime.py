"""How a process of an experiment begins and ends: in as little time as can be. Frozen.

experiment.py imports this before anything else, and calls `leave` at its very end. A rehearsal
takes seconds, half of which are torch's coming and going.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import sys
import threading
from _io import _IOBase, _TextIOBase  # the bases of all open files, of Python's own and of others
from typing import NoReturn

# What is imported stays. The collector would look through all of it each time it has grown by a
# quarter, and find nothing.
gc.disable()
import torch  # noqa: E402

gc.freeze()
gc.enable()

__all__ = ["leave", "torch"]


def leave() -> NoReturn:
    """End the process now, with exit code 0, without taking apart all that was imported.

    As at any exit, threads are waited for, exit handlers run, and files left open are flushed.
    """
    threading._shutdown()
    atexit._run_exitfuncs()
    gc.unfreeze()
    files = [one for one in gc.get_objects() if issubclass(type(one), _IOBase)]
    for file in sorted(files, key=lambda one: not isinstance(one, _TextIOBase)):  # text lies on top
        with contextlib.suppress(OSError, ValueError):
            file.flush()
    sys.stdout.flush()
    os._exit(0)

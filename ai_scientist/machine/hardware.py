"""What machine this is, for the run capsule and for telling which runs may be compared."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ai_scientist.records import Scalar


@cache
def describe_hardware() -> Mapping[str, Scalar]:
    """Return processor, cores, memory (GB), and the GPUs with their driver as NVML names them."""
    facts: dict[str, Scalar] = {
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
    }
    facts.update(_gpus())
    return facts


def hardware_class() -> str:
    """Name the kind of machine: runs of two classes are not compared with each other."""
    facts = describe_hardware()
    return f"{facts['machine']}, {facts.get('gpu') or facts['processor']}"


def this_start() -> str:
    """Name this very machine since it was started, for what must be equal to the last bit.

    Returns nothing where the kernel does not tell one start from another.
    """
    try:
        start = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
    return ", ".join((start, os.uname().nodename, *platform.libc_ver(), hardware_class()))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _gpus() -> Mapping[str, Scalar]:
    if not Path("/proc/driver/nvidia").exists() and not Path("/dev/nvidiactl").exists():
        return {"gpus": 0}
    import pynvml

    try:
        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
        handle = pynvml.nvmlDeviceGetHandleByIndex(0) if count else None
        return {
            "gpus": count,
            "gpu": str(pynvml.nvmlDeviceGetName(handle)) if handle else "",
            "gpu_memory_gb": _memory_gb(pynvml.nvmlDeviceGetMemoryInfo(handle)) if handle else 0.0,
            "driver": str(pynvml.nvmlSystemGetDriverVersion()),
        }
    except pynvml.NVMLError:
        return {"gpus": 0}


def _memory_gb(memory: Any) -> float:
    """Return a GPU's whole memory, from what NVML says of it."""
    return round(int(memory.total) / 1e9, 1)

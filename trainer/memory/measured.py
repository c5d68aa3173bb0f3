"""Memory this process really uses, in GiB. torch is asked only where something else has imported it."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path


def peak_gib() -> float:
    """Peak of this process: of its GPU's memory if it uses one (what PyTorch reserved), else resident."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        reserved: int = torch.cuda.max_memory_reserved()
        return reserved / 2**30
    with contextlib.suppress(OSError, StopIteration, ValueError):  # Linux; getrusage counts what the parent had as well
        lines = Path("/proc/self/status").read_text("utf-8").splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmHWM:"))) / 2**20
    try:
        import resource  # not on Windows
    except ImportError:
        return resident_gib()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**30 if sys.platform == "darwin" else peak / 2**20


def resident_gib() -> float:
    """Resident memory now."""
    import psutil

    resident: int = psutil.Process(os.getpid()).memory_info().rss
    return resident / 2**30

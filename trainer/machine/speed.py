"""What the CPU of this machine does, measured once a process: for the expected time of a run, and for nothing that
decides whether it starts."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass

# Of a matrix: a larger one is shared among threads by BLAS, and where others train these wait for each other, spinning:
# 96 wide, 2 cores did 170 when they were idle and 2 when they were not (2026-11-30).
_SIDE = 64
_TRIES, _PRODUCTS, _COPIES = 5, 200, 4
_FLOATS = 1 << 23  # 32 MiB, twice: more than caches hold


@dataclass(frozen=True)
class CpuSpeed:
    """core_gflops: 10^9 operations a second of matrix products in float32 on one core. bandwidth_gb_s: 10^9 bytes a
    second that one core reads and writes."""

    core_gflops: float
    bandwidth_gb_s: float


@functools.cache
def cpu_speed() -> CpuSpeed:
    """Takes about 0.1 s. The thread's processor time counts, not the clock's, and of some tries the best: a machine
    that is busy now is as fast as it is when it is not."""
    import numpy as np

    left, right, product = (np.ones((_SIDE, _SIDE), np.float32) for _ in range(3))
    source, target = np.ones(_FLOATS, np.float32), np.zeros(_FLOATS, np.float32)
    multiplying = _least(_TRIES, _PRODUCTS, lambda: np.matmul(left, right, out=product))
    copying = _least(_COPIES, 1, lambda: np.copyto(target, source))
    return CpuSpeed(core_gflops=2 * _SIDE**3 / multiplying / 1e9, bandwidth_gb_s=2 * source.nbytes / copying / 1e9)


def _least(tries: int, times: int, work: Callable[[], object]) -> float:
    """Seconds of it, after a first time that is not counted."""
    work()
    found = []
    for _ in range(tries):
        began = time.thread_time()
        for _ in range(times):
            work()
        found.append((time.thread_time() - began) / times)
    return max(min(found), 1e-9)

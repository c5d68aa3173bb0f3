"""What the CPU of this machine does, measured once a process: for the expected time of a run, and for nothing that
decides whether it starts."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass

_SIDE = 96  # of a matrix: a product this small is made by one thread
_PRODUCTS, _COPIES = 400, 4
_FLOATS = 1 << 22  # 16 MiB: more than a core's caches hold


@dataclass(frozen=True)
class CpuSpeed:
    """core_gflops: 10^9 operations a second of matrix products in float32 on one core. bandwidth_gb_s: 10^9 bytes a
    second that one core reads and writes."""

    core_gflops: float
    bandwidth_gb_s: float


@functools.cache
def cpu_speed() -> CpuSpeed:
    """Takes about 0.1 s. The thread's processor time counts, not the clock's: a machine that is busy now is as fast as
    it is when it is not."""
    import numpy as np

    left, right, product = (np.ones((_SIDE, _SIDE), np.float32) for _ in range(3))
    source, target = np.ones(_FLOATS, np.float32), np.zeros(_FLOATS, np.float32)
    np.matmul(left, right, out=product)
    began = time.thread_time()
    for _ in range(_PRODUCTS):
        np.matmul(left, right, out=product)
    multiplied = time.thread_time()
    for _ in range(_COPIES):
        np.copyto(target, source)
    copied = time.thread_time()
    return CpuSpeed(
        core_gflops=_PRODUCTS * 2 * _SIDE**3 / max(multiplied - began, 1e-6) / 1e9,
        bandwidth_gb_s=_COPIES * 2 * source.nbytes / max(copied - multiplied, 1e-6) / 1e9,
    )

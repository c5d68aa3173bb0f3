"""The GPUs of this machine and who uses them, read from the driver through NVML.

For the plan, the page, the doctor and the worker's GPU events. NVML sees every GPU of the machine,
whatever CUDA_VISIBLE_DEVICES says, and needs no CUDA context, so looking costs no GPU memory.
Memory is in GiB (1024**3 bytes), use in fractions of 1.

May import the standard library; pynvml and psutil only inside functions. Knows nothing of torch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeVar

GIB = 1024**3
VISIBLE = "CUDA_VISIBLE_DEVICES"
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class GPU:
    """One GPU at one moment.

    index: NVML's number, in PCI bus order; CUDA's own order may differ, the uuid does not.
    total_gib, used_gib: GiB; used counts every process and what the driver keeps for itself.
    utilization_frac: share of the last sample period (up to 1 s) in which a kernel ran, 0 to 1;
        None where the driver does not say.
    compute_capability: (8, 9) for an RTX 4090; None where the driver does not say.
    driver_version: of the whole machine, such as "580.95.05".
    """

    index: int
    uuid: str
    name: str
    total_gib: float
    used_gib: float
    utilization_frac: float | None
    compute_capability: tuple[int, int] | None
    driver_version: str

    @property
    def free_gib(self) -> float:
        return self.total_gib - self.used_gib


class GPUProcess(NamedTuple):
    """One process on one GPU; used_gib is None where the driver does not say (Windows, WSL)."""

    pid: int
    used_gib: float | None


def list_gpus() -> list[GPU]:
    """Every GPU the driver answers for, in NVML's order; [] without a driver."""
    found = []
    with _nvml() as nvml:
        if nvml is None:
            return []
        driver_version = str(_or_none(nvml, nvml.nvmlSystemGetDriverVersion))
        for index in range(_or_none(nvml, nvml.nvmlDeviceGetCount) or 0):
            # A GPU that fell off the bus must not hide the others.
            gpu = _or_none(nvml, partial(_read, nvml, index, driver_version))
            if gpu is not None:
                found.append(gpu)
    return found


def chosen() -> GPU | None:
    """The one GPU a run started here uses; None without one.

    The first that CUDA_VISIBLE_DEVICES names (in PCI order, which launch.start asks CUDA for), else NVML's first.
    """
    found = list_gpus()
    named = os.environ.get(VISIBLE)
    if named is None:
        return found[0] if found else None
    first = named.split(",")[0].strip()
    fits = [gpu for gpu in found if str(gpu.index) == first or (first and gpu.uuid.startswith(first))]
    return fits[0] if fits else None


def processes(gpu: GPU) -> list[GPUProcess]:
    """Who computes on `gpu`, by pid; [] without a driver or where it may not say.

    In a container the pids are those of the host, or the list is empty.
    """
    with _nvml() as nvml:
        if nvml is None:
            return []
        handle = _or_none(nvml, lambda: nvml.nvmlDeviceGetHandleByUUID(gpu.uuid))
        if handle is None:
            return []
        rows = _or_none(nvml, lambda: nvml.nvmlDeviceGetComputeRunningProcesses(handle)) or []
    found = [GPUProcess(row.pid, None if row.usedGpuMemory is None else row.usedGpuMemory / GIB) for row in rows]
    return sorted(found, key=lambda process: process.pid)


def keep_open() -> None:
    """For a process that asks again and again: NVML stays switched on until it ends, so that asking is no start each
    time. Does nothing without a driver."""
    try:
        import pynvml
    except ImportError:
        return
    with suppress(pynvml.NVMLError):
        pynvml.nvmlInit()  # NVML counts: `_nvml` then only adds to it and takes away again


@contextmanager
def _nvml() -> Iterator[Any]:
    """pynvml, switched on; None without the package, the library or a driver that answers."""
    try:
        import pynvml
    except ImportError:
        yield None
        return
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield None
        return
    try:
        yield pynvml
    finally:
        pynvml.nvmlShutdown()  # NVML counts: other users in this process keep theirs


def _read(nvml: Any, index: int, driver_version: str) -> GPU:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    total_gib, used_gib = _memory_gib(nvml, handle)
    rates = _or_none(nvml, lambda: nvml.nvmlDeviceGetUtilizationRates(handle))
    capability = _or_none(nvml, lambda: nvml.nvmlDeviceGetCudaComputeCapability(handle))
    return GPU(
        index=index,
        uuid=str(nvml.nvmlDeviceGetUUID(handle)),
        name=str(nvml.nvmlDeviceGetName(handle)),
        total_gib=total_gib,
        used_gib=used_gib,
        utilization_frac=None if rates is None else rates.gpu / 100,
        compute_capability=None if capability is None else (int(capability[0]), int(capability[1])),
        driver_version=driver_version,
    )


def _memory_gib(nvml: Any, handle: Any) -> tuple[float, float]:
    """(total, used) in GiB."""
    try:
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        return memory.total / GIB, memory.used / GIB
    except nvml.NVMLError_NotSupported:
        # GPUs that share the machine's memory (GB10) have none of their own to report.
        import psutil

        ram = psutil.virtual_memory()
        return ram.total / GIB, (ram.total - ram.available) / GIB


def _or_none(nvml: Any, ask: Callable[[], Answer]) -> Answer | None:
    """What the driver answers; None where this GPU or this driver does not know."""
    try:
        return ask()
    except nvml.NVMLError:
        return None

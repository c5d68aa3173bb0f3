"""The head of every benchmark's output: what ran on what, so that a number can be placed."""

from __future__ import annotations

import os
import platform
from datetime import date
from typing import Any

from trainer.machine import environment


def card(benchmark: str, **settings: Any) -> str:
    """Benchmark, its settings, machine, versions, date and commit, one a line."""
    found = environment.describe()
    versions = ", ".join(f"{name} {version}" for name, version in found["packages"].items())
    lines = {
        "benchmark": benchmark,
        "settings": ", ".join(f"{key} {value}" for key, value in settings.items()),
        "machine": f"{os.cpu_count()} cores, {found['ram_gib']} GiB, {platform.machine()}",
        "gpu": ", ".join(found["gpus"]) or "none",
        "versions": f"python {found['python']}, {versions}",
        "date": date.today().isoformat(),
        "commit": found["commit"] or "not a git checkout",
    }
    return "\n".join(f"{key:10} {value}" for key, value in lines.items()) + "\n"

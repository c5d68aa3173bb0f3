"""What a report costs on a long run: processor seconds and peak memory of `python -m trainer report` on a made-up run.

    .venv/bin/python benchmarks/report_scale.py

The run has everything a real one writes: spans, readings of the GPU, signs of life, rollout files. Each report is
written by a process of its own, as a person would. The last line printed is one JSON object. Exit code 1 when one
takes above a minute of the processor or a gigabyte.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.card import card
from tests.report.synthetic import LongRun

PROJECT = Path(__file__).resolve().parent.parent
LIMIT_S, LIMIT_GIB = 60.0, 1.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=500_000)
    parser.add_argument("--rollouts-every", type=int, default=20, help="steps between two rollout files")
    given = parser.parse_args()
    print(card("report_scale", **vars(given)))
    with tempfile.TemporaryDirectory() as folder:
        outputs = Path(folder)
        made = LongRun(outputs, steps=given.steps, rollouts_every=given.rollouts_every)
        made.add(given.steps)
        log = made.rundir.events.stat().st_size / 2**20
        print(f"log of {log:.0f} MiB")
        found = {f"{lang}, {form}": report(outputs, lang, form) for lang in ("en", "ko") for form in ("html", "md")}
    for name, (seconds, gib) in found.items():
        print(f"{name:10}{seconds:>8.2f} s{gib:>8.2f} GiB")
    slowest, largest = (max(values) for values in zip(*found.values(), strict=True))
    print(json.dumps({"steps": given.steps, "log_mib": log, "slowest_s": slowest, "largest_gib": largest}))
    return 0 if slowest <= LIMIT_S and largest <= LIMIT_GIB else 1


def report(outputs: Path, language: str, form: str) -> tuple[float, float]:
    """(processor seconds, peak GiB) of one command, start of Python included."""
    words = [sys.executable, "-m", "trainer", "report", "long-1", "--lang", language, "--format", form]
    process = subprocess.Popen(words, cwd=PROJECT, env=os.environ | {"ONEGRPO_OUTPUTS": str(outputs)})
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"the report failed: exit code {process.returncode}")
    return used.ru_utime + used.ru_stime, peak_gib(used)


def peak_gib(used: resource.struct_rusage) -> float:
    return used.ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)


if __name__ == "__main__":
    sys.exit(main())

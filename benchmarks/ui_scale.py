"""What a long run costs the page: opening it, ticks of each tab with and without a new step, memory; beside a short
run.

    .venv/bin/python benchmarks/ui_scale.py

The runs have everything a real one writes: spans, readings of the GPU, signs of life, rollout files. For each a process
builds the whole page (Gradio included) and asks it what a browser asks; the steps of both runs come in turn, so that a
busy moment of the machine meets both. The first diagnosis, made by a thread that shares the processor with the ticks,
is measured by itself (until the verdict is there, and ticks meanwhile): the other ticks, which come without a pause,
would all fall into it. Times are of the server: what a browser and the network add is not in them.
The last line printed is one JSON object. Exit code 1 when the long run takes 3 s to open, a tick of the open tab Live
with a new step 100 ms or 1.5 times that of the short one, or the process 500 MB.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.card import card

PROJECT = Path(__file__).resolve().parent.parent
NAME = "long-1"
TICKS = 40  # of each kind; their median is told
TICK_S = 0.5  # between two while the first diagnosis is made; a browser asks less often
TABS = ("live", "groups", "health", "runs")
LIMITS = {"open_s": 3.0, "live_ms": 100.0, "memory_mb": 500.0, "growth": 1.5}
Numbers = dict[str, float]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--short", type=int, default=1_000, help="steps of the run it is compared with")
    parser.add_argument("--rollout-files", type=int, default=1_000)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)  # the folder of a run that is there
    given = parser.parse_args()
    if given.measure:
        measure(given.measure)
        return 0
    print(card("ui_scale", steps=given.steps, short=given.short, rollout_files=given.rollout_files))
    with tempfile.TemporaryDirectory() as folder:
        short, long = measured([made(Path(folder), n, given.rollout_files) for n in (given.short, given.steps)])
    print(f"{'':30}{f'{given.short:,} steps':>16}{f'{given.steps:,} steps':>16}{'ratio':>10}")
    for key in short:
        print(f"{key:30}{short[key]:>16.2f}{long[key]:>16.2f}{long[key] / short[key]:>10.2f}")
    long["growth"] = long["live_ms"] / short["live_ms"]
    print(json.dumps({"steps": given.steps, "short": short, "long": long}))
    return 0 if all(long[key] <= most for key, most in LIMITS.items()) else 1


def made(folder: Path, steps: int, files: int) -> Path:
    """The outputs folder of a run of that length; more.json in it has the steps that are still to come."""
    from tests.report.synthetic import LongRun

    outputs = folder / str(steps)
    outputs.mkdir()
    run = LongRun(outputs, NAME, steps=steps + len(TABS) * TICKS, rollouts_every=max(1, steps // files))
    run.add(steps)
    size = run.rundir.events.stat().st_size / 2**20
    more = [run.next().decode() for _ in range(len(TABS) * TICKS)]
    Path(outputs, "more.json").write_text(json.dumps(more), encoding="utf-8")
    print(f"{steps:,} steps: {size:.0f} MiB of events, {len(list(run.rundir.rollouts.iterdir())):,} rollout files")
    return outputs


def measured(places: Sequence[Path]) -> list[Numbers]:
    """Each place in a process of its own; they take turns, one answer a line."""
    workers = []
    for outputs in places:
        words = [sys.executable, __file__, "--measure", str(outputs)]
        own = {"ONEGRPO_OUTPUTS": str(outputs), "ONEGRPO_STATE": str(outputs.parent / "state")}
        workers.append(
            subprocess.Popen(
                words, cwd=PROJECT, env=os.environ | own, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        )
    found: list[dict[str, list[float]]] = [{} for _ in places]
    going = True
    while going:
        for numbers, worker in zip(found, workers, strict=True):
            assert worker.stdin is not None and worker.stdout is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
            line = worker.stdout.readline()
            going = bool(line.strip())
            for key, value in json.loads(line or "{}").items() if going else ():
                numbers.setdefault(key, []).append(value)
    for worker in workers:
        worker.communicate()
    return [{key: statistics.median(values) for key, values in numbers.items()} for numbers in found]


def measure(outputs: Path) -> None:
    """What the run under `outputs` costs the page of this process: a line of JSON for each line read."""
    work = looked(outputs)
    for _ in sys.stdin:
        found = next(work, None)
        print("" if found is None else json.dumps(found), flush=True)


def looked(outputs: Path) -> Iterator[Numbers]:
    """Open the run, then for each tab: turn to it, ticks without news, ticks with a new step."""
    from trainer.ui import server

    server.set_environment("127.0.0.1")
    from trainer.run.rundir import RunDir
    from trainer.ui.page import Page

    page = Page()
    chosen = [made.value for tab in page.tabs for made in tab.inputs]
    more: list[str] = json.loads((outputs / "more.json").read_text(encoding="utf-8"))
    log = RunDir.open(outputs, NAME).events
    shown: Any = None

    def ask(call: Callable[..., list[Any]], tab: str) -> float:
        nonlocal shown
        began = time.perf_counter()
        *_, shown = call(NAME, "en", tab, shown, *chosen)
        return time.perf_counter() - began

    yield {"open_s": ask(page.turn, "live")}
    began, meanwhile = time.perf_counter(), [ask(page.tick, "live")]
    while any(thread.name.startswith("diagnosis") for thread in threading.enumerate()):
        time.sleep(TICK_S)
        meanwhile.append(ask(page.tick, "live"))
    yield {"verdict_s": time.perf_counter() - began, "meanwhile_ms": 1000 * statistics.median(meanwhile)}
    for tab in TABS:
        if tab != "live":
            yield {f"{tab}_turn_ms": 1000 * ask(page.turn, tab)}
        for _ in range(TICKS):
            yield {f"{tab}_idle_ms": 1000 * ask(page.tick, tab)}
            with log.open("a", encoding="utf-8") as out:
                out.write(more.pop(0))
            yield {f"{tab}_ms": 1000 * ask(page.tick, tab)}
    yield {"memory_mb": resident_mb()}


def resident_mb() -> float:
    """Memory of this process now."""
    import psutil

    return float(psutil.Process().memory_info().rss) / 1e6


if __name__ == "__main__":
    sys.exit(main())

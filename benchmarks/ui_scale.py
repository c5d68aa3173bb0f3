"""What a long run costs the page: opening it, a tick with and without a new step, charts, memory; beside a short run.

    .venv/bin/python benchmarks/ui_scale.py

The runs have everything a real one writes: spans, readings of the GPU, signs of life, rollout files. Each is read in a
process of its own. The last line printed is one JSON object. Exit code 1 when the long run takes 3 s to open, a tick of
it 100 ms or 1.5 times that of the short one, or its process 500 MB.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.card import card
from trainer.report.fold import RunState

PROJECT = Path(__file__).resolve().parent.parent
NAME = "long-1"
TICKS = 40  # of each kind; their median is told
LIMITS = {"open_s": 3.0, "tick_ms": 100.0, "memory_mb": 500.0, "growth": 1.5}
TOLD = {
    "open_s": "opening it, s",
    "idle_ms": "tick without news, ms",
    "step_ms": "tick with a new step, ms",
    "charts_ms": "a chart of every column, ms",
    "tick_ms": "both, ms",
    "memory_mb": "process, MB",
}
Numbers = dict[str, float]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--short", type=int, default=1_000, help="steps of the run it is compared with")
    parser.add_argument("--rollout-files", type=int, default=1_000)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)  # the folder of a run that is there
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measure(given.measure)))
        return 0
    print(card("ui_scale", steps=given.steps, short=given.short, rollout_files=given.rollout_files))
    found = {steps: of_a_run(steps, given.rollout_files) for steps in (given.short, given.steps)}
    short, long = found[given.short], found[given.steps]
    print(f"{'':30}" + "".join(f"{f'{steps:,} steps':>16}" for steps in found) + f"{'ratio':>10}")
    for key, text in TOLD.items():
        print(f"{text:30}{short[key]:>16.2f}{long[key]:>16.2f}{long[key] / short[key]:>10.2f}")
    long["growth"] = long["tick_ms"] / short["tick_ms"]
    print(json.dumps({"steps": given.steps, "short": short, "long": long}))
    return 0 if all(long[key] <= most for key, most in LIMITS.items()) else 1


def of_a_run(steps: int, files: int) -> Numbers:
    """Make a run of that length and measure it."""
    from tests.report.synthetic import LongRun

    with tempfile.TemporaryDirectory() as folder:
        run = LongRun(Path(folder), NAME, steps=steps + 2 * TICKS, rollouts_every=max(1, steps // files))
        run.add(steps)
        size = run.rundir.events.stat().st_size / 2**20
        more = [run.next().decode() for _ in range(2 * TICKS)]
        Path(folder, "more.json").write_text(json.dumps(more), encoding="utf-8")
        print(f"{steps:,} steps: {size:.0f} MiB of events, {len(list(run.rundir.rollouts.iterdir())):,} rollout files")
        words = [sys.executable, __file__, "--measure", folder]
        done = subprocess.run(words, cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=True)
        found: Numbers = json.loads(done.stdout.splitlines()[-1])
        return found


def measure(outputs: Path) -> Numbers:
    """What reading and drawing the run under `outputs` costs this process; more.json has the steps that are still to
    come."""
    from trainer.report.fold import RunFollower
    from trainer.rundir import RunDir

    more: list[str] = json.loads((outputs / "more.json").read_text(encoding="utf-8"))
    rundir = RunDir.open(outputs, NAME)
    follower = RunFollower(rundir)
    found = {"open_s": seconds(follower.tick), "idle_ms": median_ms(follower.tick, [lambda: None] * TICKS)}

    def comes(text: str) -> Callable[[], None]:
        def write() -> None:
            with rundir.events.open("a", encoding="utf-8") as log:
                log.write(text)

        return write

    def look() -> None:
        follower.tick()
        draw(follower.state)

    draw(follower.state)
    found["step_ms"] = median_ms(follower.tick, list(map(comes, more[:TICKS])))
    found["tick_ms"] = median_ms(look, list(map(comes, more[TICKS:])))
    found["charts_ms"] = median_ms(lambda: draw(follower.state), [lambda: None] * TICKS)
    return found | {"memory_mb": resident_mb()}


def draw(state: RunState) -> str:
    """Every column with the mean of its neighbourhood, as HTML."""
    from trainer import charts
    from trainer.report import pictures

    width = charts.window(len(state.steps))
    html = []
    for name, column in (*state.metrics.items(), *state.groups.items(), *state.self_s.items(), *state.memory.items()):
        each = charts.Line("each step", "faint", pictures.picture(state.steps, column))
        smooth = charts.Line("mean", "strong", pictures.smooth(state.steps, column, width))
        html.append(charts.render(charts.Chart(name, [each, smooth], hover=True), "step", "nothing yet"))
    return "".join(html)


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def median_ms(work: Callable[[], object], before: Sequence[Callable[[], None]]) -> float:
    """Of as many calls as there are things to do before each."""
    taken = []
    for prepare in before:
        prepare()
        taken.append(1000 * seconds(work))
    return statistics.median(taken)


def resident_mb() -> float:
    """Memory of this process now."""
    import psutil

    return float(psutil.Process().memory_info().rss) / 1e6


if __name__ == "__main__":
    sys.exit(main())

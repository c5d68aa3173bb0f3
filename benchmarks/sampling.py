"""Completions and seconds to the same held-out score: all rows in their turn against each way to choose them.

    .venv/bin/python benchmarks/sampling.py --seeds 1 2 3 --out benchmarks/results/sampling_cpu2.txt

The task of `tiny-curriculum`: words of three to eight letters are to be reversed, as many of each length; at the start
about one in ten is right, and most groups have no spread. Whole runs (`app.py --headless`), each with one thread,
`--at-once` of them side by side: as many as there are idle cores, or the seconds say nothing. Completions count whether
they were trained on or thrown away. Until the score: the first evaluation that has it. The last line printed is one
JSON object. Exit code 1 where a ratio is above its bound.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.card import card  # noqa: E402

PRESET = "tiny-curriculum"
PLAIN = ("sampling.curriculum=off",)
CURRICULUM = ("sampling.curriculum=column",)
ROUNDS = ("sampling.max_rounds=2",)
FILTER = ("sampling.skip_dead=true",)
DYNAMIC = (*ROUNDS, *FILTER)
REPLAY = ("sampling.replay=64",)
ADAPTIVE = ("sampling.group_size=spread", "sampling.max_generations=24", "sampling.weigh=completions")
EVEN = ("sampling.group_size=spread", "sampling.max_generations=16")


class Way(NamedTuple):
    """bound: of the completions of plain GRPO, the share that it may need; None where none is set."""

    name: str
    settings: tuple[str, ...]
    bound: float | None


WAYS = (
    Way("plain", PLAIN, None),
    Way("dynamic", (*PLAIN, *DYNAMIC), 0.7),
    Way("filter", (*PLAIN, *FILTER), None),
    Way("replay", (*PLAIN, *REPLAY), None),
    Way("dynamic+", (*PLAIN, *DYNAMIC, *REPLAY), 0.7),
    Way("curriculum", (*PLAIN, *CURRICULUM), 0.7),
    Way("adaptive", (*PLAIN, *ADAPTIVE), 0.85),
    Way("all", (*PLAIN, *CURRICULUM, *ROUNDS, *REPLAY, *EVEN), 0.6),
)


class Reached(NamedTuple):
    """At the first evaluation with the score; of a run that ends below it, everything, with `there` False."""

    there: bool
    step: int
    completions: int
    seconds: float
    best: float


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--score", type=float, default=0.2, help="share of held-out answers that are right")
    parser.add_argument("--steps", type=int, default=400, help="at most")
    parser.add_argument("--ways", nargs="+", default=[way.name for way in WAYS])
    parser.add_argument("--at-once", type=int, default=1, help="runs side by side")
    parser.add_argument("--out", type=Path, help="a file that gets what is printed")
    given = parser.parse_args(arguments)
    lines = [card("sampling", preset=PRESET, seeds=given.seeds, score=given.score, steps=given.steps)]
    lines.append(f"{'':12}{'seed':>5}{'step':>7}{'completions':>13}{'seconds':>9}{'best':>7}")
    print(*lines, sep="\n", flush=True)
    found: dict[str, list[Reached]] = {}
    jobs = [(way, seed) for way in WAYS if way.name in given.ways for seed in given.seeds]
    with ThreadPoolExecutor(given.at_once) as pool:
        runs = pool.map(lambda job: until(job[0], job[1], given.score, given.steps), jobs)
        for (way, seed), run in zip(jobs, runs, strict=True):
            found.setdefault(way.name, []).append(run)
            step = str(run.step) if run.there else f">{run.step}"
            line = f"{way.name:12}{seed:>5}{step:>7}{run.completions:>13,}{run.seconds:>9.1f}{run.best:>7.0%}"
            lines.append(line)
            print(line, flush=True)
    said, missed = compared(found)
    lines += [*said, json.dumps({"missed": missed, "runs": {k: [r._asdict() for r in v] for k, v in found.items()}})]
    print(*lines[-len(said) - 1 :], sep="\n")
    if given.out:
        given.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 1 if missed else 0


def compared(found: dict[str, list[Reached]]) -> tuple[list[str], list[str]]:
    """(lines of the table of ratios to plain GRPO, the ways above their bound). Runs that end below the score count as
    what they took: the ratio is then at least that large, or with plain GRPO at most."""
    plain = found.get("plain")
    if plain is None:
        return [], []
    said, missed = [], []
    for way in WAYS:
        if way.name not in found or way.name == "plain":
            continue
        of = {
            name: statistics.fmean(getattr(run, name) for run in found[way.name]) for name in ("completions", "seconds")
        }
        base = {name: statistics.fmean(getattr(run, name) for run in plain) for name in of}
        ratio = {name: of[name] / base[name] for name in of}
        there = f"{sum(run.there for run in found[way.name])} of {len(found[way.name])} reached it"
        above = way.bound is not None and ratio["completions"] > way.bound
        bound = f" (bound {way.bound})" if way.bound else ""
        said.append(
            f"{way.name:12} completions {ratio['completions']:.2f} of plain{bound}, seconds {ratio['seconds']:.2f}; "
            f"{there}{' MISSED' if above else ''}"
        )
        missed += [way.name] if above else []
    said.append(f"{'plain':12} {sum(run.there for run in plain)} of {len(plain)} reached it")
    return said, missed


def until(way: Way, seed: int, score: float, steps: int) -> Reached:
    """Trains until the score is reached, and stops there."""
    with tempfile.TemporaryDirectory(prefix="sampling_") as folder:
        settings = [f"run.seed={seed}", f"optim.max_steps={steps}", f"checkpoint.save_steps={steps}"]
        command = [sys.executable, str(ROOT / "app.py"), "--headless", "--preset", PRESET, "--name", "one"]
        for setting in (*settings, "eval.eval_steps=10", *way.settings):
            command += ["--set", setting]
        environment = os.environ | {"ONEGRPO_OUTPUTS": folder}
        log, events = Path(folder) / "log", Path(folder) / "one" / "events.jsonl"
        with log.open("w") as out:
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT)
            while process.poll() is None:
                time.sleep(1.0)
                if events.exists() and (found := reached(read(events), score)).there:
                    process.send_signal(signal.SIGINT)
                    process.wait(600)
                    return found
        if process.returncode:
            sys.exit(log.read_text()[-2000:])
        return reached(read(events), score)


def read(events: Path) -> list[dict[str, Any]]:
    """The whole lines."""
    lines = events.read_text("utf-8").split("\n")[:-1]
    return [json.loads(line) for line in lines]


def reached(events: Sequence[dict[str, Any]], score: float) -> Reached:
    """Completions of a step are in its newest rollouts event."""
    written: dict[int, int] = {}
    seconds, step, best = 0.0, 0, 0.0
    for event in events:
        if event["kind"] == "rollouts":
            written[event["step"]] = event["completions"]
        elif event["kind"] == "step":
            step, seconds = event["step"], seconds + event["seconds"]
        elif event["kind"] == "eval":
            best = max(best, event["correct_frac"])
            if step and event["correct_frac"] >= score:
                return Reached(True, step, sum(written.values()), seconds, best)
    return Reached(False, step, sum(written.values()), seconds, best)


if __name__ == "__main__":
    sys.exit(main())

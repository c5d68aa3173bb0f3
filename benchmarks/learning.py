"""Time to the same held-out score, with run.fast and without: whole runs, one after the other. Used by fast.py."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from trainer import launch
from trainer.run.events import EventReader
from trainer.run.records import EvalEvent, PhaseEvent

POLL_S = 0.1


class Race(NamedTuple):
    """score: share of held-out answers that are right. floor: the least ratio. quick: part of --quick, one seed."""

    preset: str
    score: float
    settings: tuple[str, ...]
    seeds: tuple[int, ...]
    floor: float
    quick: bool


RACES = (
    Race("tiny", 0.95, ("optim.max_steps=100", "eval.eval_steps=5"), (42, 1, 2), 1.3, True),
    Race("smollm2", 0.4, ("eval.eval_steps=5",), (42,), 1.0, False),
)


def until_score(quick: bool, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Prints a line a race; seconds of training until the score, summed over the seeds."""
    results = []
    for race in RACES:
        if quick and not race.quick:
            continue
        seconds: dict[str, list[float | None]] = {"off": [], "auto": []}
        for seed in race.seeds[: 1 if quick else None]:
            for fast in seconds:
                seconds[fast].append(reached(race, fast, seed))
        found = [value for values in seconds.values() for value in values]
        ratio = None if None in found else sum(seconds["off"]) / sum(seconds["auto"])  # type: ignore[arg-type]
        said = "not reached" if ratio is None else f"{ratio:.2f}x"
        each = {fast: [value and round(value, 1) for value in values] for fast, values in seconds.items()}
        say(
            f"{race.preset}: seconds to {race.score:.0%} held-out right: off {each['off']}, auto {each['auto']}: {said}"
        )
        missed = ratio is None or ratio < race.floor
        results.append({"preset": race.preset, "score": race.score, "ratio": ratio, "seconds": each, "missed": missed})
    return results


def reached(race: Race, fast: str, seed: int) -> float | None:
    """Seconds from the beginning of the training; None where the run ends below the score. It is ended there."""
    with tempfile.TemporaryDirectory(prefix="learning_") as folder:
        os.environ["ONEGRPO_OUTPUTS"] = folder
        settings = [f"run.fast={fast}", f"run.seed={seed}", "checkpoint.save_steps=1000", *race.settings]
        run = launch.create(race.preset, *launch.prepare(race.preset, settings), "race")
        worker, log = launch.start(run), EventReader(run.events)
        began: float | None = None
        while True:
            ended = worker.poll() is not None  # asked before reading: nothing is missed
            for event in log.read():
                if isinstance(event, PhaseEvent) and (event.name, event.state) == ("train", "start"):
                    began = event.t
                elif isinstance(event, EvalEvent) and began is not None and (event.correct_frac or 0.0) >= race.score:
                    launch.kill(run)
                    worker.process.wait()
                    return event.t - began
            if ended:
                return None
            time.sleep(POLL_S)

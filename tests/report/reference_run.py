"""The reference run, as its owner published it: a W&B history made on the fly, the same every time.

Published: what PUBLISHED holds, the level and the range of the constants that say so, and the settings of PRESET.
Filled in here, by rule and without chance: the steps between, the seconds of everything but generation, the height of
the spikes of the loss, the times.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STEPS = 120  # filled in: the last step anybody named is 115
PROFILED = "profiling/Time taken: CustomGRPOTrainer."
GENERATE = f"{PROFILED}transformers.generate"
WRAPPER = "train/rewards/ComponentRewardWrapper"
PRESET = "gemma27b"  # holds the settings that were published

# step -> value. "2.0 with dips to 1.3 at 5, 45, 78, 115"; "0 with spikes up to 0.35 at 5, 50, 78, 115";
# "num_tokens 260,447 at 76"; "generate near 0 at 25, 2,200 s at 80, else 500 to 1,200".
PUBLISHED: dict[str, dict[int, float]] = {
    "train/reward": {5: 1.3, 45: 1.3, 78: 1.3, 115: 1.3},
    "train/reward_std": {5: 0.35, 50: 0.35, 78: 0.35, 115: 0.35},
    "train/num_tokens": {76: 260_447},
    GENERATE: {25: 0.4, 80: 2_200.0},
}
REWARD, SPREAD, LOSS = 2.0, 0.0, 0.0  # published: the level of all other steps
GENERATE_S = (500.0, 1_200.0)  # published: the range
SPIKE = 0.012  # filled in: the loss where reward_std is above 0
PERIOD = 24  # filled in: steps in which generation goes once through its range
REWARDS_S, UPDATE_S = 3.0, 41.0  # filled in
MICRO_BATCHES = 4  # a prompt of 4 completions, one at a time: _prepare_inputs is called for each, the first generates
STARTED = 1_750_000_000.0  # filled in: unix seconds
LOADED_S = 420.0  # filled in: from the start of the run to its first step
FLOOR_S = 5.0  # of a mutated run: about what a GPU can do at best


@dataclass(frozen=True)
class Point:
    """One step."""

    step: int
    reward: float
    reward_std: float
    loss: float
    tokens: int
    generate_s: float


def points(*, dips: bool = True, at_floor: bool = False, spread_everywhere: bool = False) -> list[Point]:
    """The run, or one that differs: without its dips, with generation near the floor, with a spread at every step."""
    found = []
    for step in range(1, STEPS + 1):
        low, high = GENERATE_S
        between = (low + high) / 2 + (high - low) / 2 * math.sin(2 * math.pi * step / PERIOD)
        seconds = PUBLISHED[GENERATE].get(step, round(between, 3))
        spread = PUBLISHED["train/reward_std"].get(step, SPREAD)
        if spread_everywhere:
            spread = max(spread, round(0.1 + 0.02 * (step % 5), 3))
        (anchor, tokens), *_ = PUBLISHED["train/num_tokens"].items()
        found.append(
            Point(
                step=step,
                reward=PUBLISHED["train/reward"].get(step, REWARD) if dips else REWARD,
                reward_std=spread,
                loss=SPIKE if spread else LOSS,
                tokens=round(tokens * step / anchor),
                generate_s=round(FLOOR_S + 0.01 * (step % 7), 3) if at_floor else seconds,
            )
        )
    return found


def rows(*, synced: bool = True, **mutations: bool) -> list[dict[str, Any]]:
    """The calls of wandb.log, as W&B keeps them. synced: it puts the newest train/global_step into rows without one,
    as it does for the callback of transformers."""
    found: list[dict[str, Any]] = []
    runtime = LOADED_S

    def log(seconds: float, **values: Any) -> None:
        nonlocal runtime
        runtime = round(runtime + seconds, 3)
        place = {"_step": len(found), "_runtime": runtime, "_timestamp": STARTED + runtime}
        found.append(place | values)

    for point in points(**mutations):
        newest = {"train/global_step": point.step - 1} if synced else {}
        prepared = point.generate_s + REWARDS_S
        log(point.generate_s, **{GENERATE: point.generate_s}, **newest)
        log(REWARDS_S, **{f"{PROFILED}ComponentRewardWrapper": REWARDS_S}, **newest)
        log(0.0, **{f"{PROFILED}_calculate_rewards": REWARDS_S}, **newest)
        for batch in range(MICRO_BATCHES):
            log(0.0, **{f"{PROFILED}_prepare_inputs": 0.0 if batch else prepared}, **newest)
        values = {
            "train/reward": point.reward,
            "train/reward_std": point.reward_std,
            f"{WRAPPER}/mean": point.reward,
            f"{WRAPPER}/std": point.reward_std,
            "train/loss": point.loss,
            "train/num_tokens": point.tokens,
            "train/global_step": point.step,
        }
        log(UPDATE_S, **values)
    return found


def write_csv(path: Path, *, synced: bool = True, **mutations: bool) -> Path:
    """The whole history as `run.history().to_csv()` writes it."""
    found = rows(synced=synced, **mutations)
    names = list(dict.fromkeys(name for row in found for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["", *names])
        writer.writeheader()
        writer.writerows({"": number, **row} for number, row in enumerate(found))
    return path

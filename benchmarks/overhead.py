"""What watching costs: step time of CustomGRPOTrainer with events and rollout capture over that of bare TRL.

    .venv/bin/python benchmarks/overhead.py

Two trainers of the same tiny model, data and settings take their steps in turn in one process, so that both see the
same noise of the machine; completions have a fixed length, so that both do the same work. The ratio is taken pair by
pair. The last line printed is one JSON object. Exit code 1 when the median ratio is above 1.05.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # as preset tiny: two threads wait for each other on a busy machine
sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.card import card

LIMIT = 1.05
SKIPPED = 5  # pairs at the start: allocations and caches


class Turns:
    """Lets two threads run in turn, one optimizer step each."""

    def __init__(self) -> None:
        self.condition = threading.Condition()
        self.whose = 0
        self.left: set[int] = set()

    def take(self, me: int) -> None:
        with self.condition:
            self.condition.wait_for(lambda: self.whose == me or self.left)

    def give(self, me: int) -> None:
        with self.condition:
            self.whose = 1 - me
            self.condition.notify_all()

    def leave(self, me: int) -> None:
        with self.condition:
            self.left.add(me)
            self.condition.notify_all()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--completions", type=int, default=256, help="per step, as preset tiny")
    given = parser.parse_args()
    print(card("overhead", pairs=given.pairs, completions=given.completions))
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="overhead_") as folder:
        bare, watched = measure(Path(folder), given.pairs + SKIPPED, given.completions)
    pairs = list(zip(bare, watched, strict=True))[SKIPPED:]
    ratios = sorted(theirs_and_ours[1] / theirs_and_ours[0] for theirs_and_ours in pairs)
    quarter = len(ratios) // 4
    median = statistics.median(ratios)
    result: dict[str, Any] = {
        "ratio_median": median,
        "ratio_quartiles": [ratios[quarter], ratios[-quarter - 1]],
        "bare_step_s_median": statistics.median(pair[0] for pair in pairs),
        "watched_step_s_median": statistics.median(pair[1] for pair in pairs),
        "pairs": len(pairs),
    }
    print(f"{'':10}{'bare TRL':>12}{'watched':>12}{'ratio':>10}")
    print(
        f"{'median':10}{result['bare_step_s_median']:>10.4f} s{result['watched_step_s_median']:>10.4f} s"
        f"{result['ratio_median']:>10.3f}"
    )
    print(json.dumps(result))
    return 0 if median <= LIMIT else 1


def measure(folder: Path, steps: int, completions: int) -> tuple[list[float], list[float]]:
    """Seconds of each step of (bare, watched); a step ends when the next one of the same trainer could begin."""
    turns = Turns()
    times: tuple[list[float], list[float]] = ([], [])
    trainers = [make_bare(folder, steps, completions), make_watched(folder, steps, completions)]
    for me, trainer in enumerate(trainers):
        trainer.add_callback(stopwatch(turns, me, times[me]))
    threads = [threading.Thread(target=run, args=(trainer, turns, me)) for me, trainer in enumerate(trainers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times


def run(trainer: Any, turns: Turns, me: int) -> None:
    try:
        turns.take(me)
        trainer.train()
    finally:
        turns.leave(me)


def stopwatch(turns: Turns, me: int, times: list[float]) -> Any:
    """A callback that times from one step's begin to the end of its logging, and hands the turn over between."""
    from transformers import TrainerCallback

    class Stopwatch(TrainerCallback):
        started = 0.0

        def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
            if times or self.started:
                times.append(time.perf_counter() - self.started)
                turns.give(me)
                turns.take(me)
            self.started = time.perf_counter()

        def on_train_end(self, *args: Any, **kwargs: Any) -> None:
            times.append(time.perf_counter() - self.started)

    return Stopwatch()


def common(folder: Path, steps: int, completions: int) -> dict[str, Any]:
    from datasets import Dataset
    from transformers import set_seed
    from trl import GRPOConfig

    from trainer.engine import builtin

    tokenizer = builtin.make_tokenizer()
    set_seed(0)
    rows = [
        {"prompt": [{"role": "user", "content": f"Reverse: {n:05d}"}], "answer": f"{n:05d}"[::-1]} for n in range(1024)
    ]
    return {
        "model": builtin.make_model("builtin/tiny-qwen3", tokenizer),
        "processing_class": tokenizer,
        "train_dataset": Dataset.from_list(rows),
        "args": GRPOConfig(
            output_dir=str(folder),
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            per_device_train_batch_size=completions,
            num_generations=8,
            max_completion_length=12,
            generation_kwargs={"min_new_tokens": 12},
            max_steps=steps,
            learning_rate=1e-6,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            dataloader_pin_memory=False,
        ),
    }


def make_bare(folder: Path, steps: int, completions: int) -> Any:
    """TRL's trainer with the same two rewards as plain functions."""
    from transformers import PrinterCallback
    from trl import GRPOTrainer

    from trainer.rewards.library import REWARDS

    rewards = [REWARDS["exact_match"]().call, REWARDS["format_regex"](pattern="[0-9]+").call]
    trainer = GRPOTrainer(reward_funcs=rewards, **common(folder, steps, completions))
    trainer.remove_callback(PrinterCallback)
    return trainer


def make_watched(folder: Path, steps: int, completions: int) -> Any:
    """The product's trainer, writing events and rollouts as a run does."""
    from transformers import PrinterCallback
    from trl import GRPOTrainer

    from trainer import presets
    from trainer.grpo.spans import Spans
    from trainer.grpo.trainer import make_trainer_class
    from trainer.rewards.wrapper import ComponentRewardWrapper
    from trainer.run.events import EventWriter
    from trainer.run.rundir import RunDir
    from trainer.spec import Component, Reward
    from trainer.worker.observer import RunObserver

    run = RunDir(folder / "run")
    run.rollouts.mkdir(parents=True)
    spec = presets.load("tiny", [f"optim.per_device_train_batch_size={completions}", f"optim.max_steps={steps}"])
    spans = Spans()
    observer = RunObserver(
        run,
        EventWriter(run.events, 1),
        spec,
        steps,
        lambda at, step: None,
        lambda step, checkpoint: None,
        {},
    )
    reward = Reward(
        components=[
            Component(function="exact_match"),
            Component(function="format_regex", params={"pattern": "[0-9]+"}),
        ]
    )
    trainer = make_trainer_class(GRPOTrainer)(
        reward_funcs=[ComponentRewardWrapper(reward, spans, pooled=True)],
        spans=spans,
        observer=observer,
        **common(folder, steps, completions),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


if __name__ == "__main__":
    sys.exit(main())

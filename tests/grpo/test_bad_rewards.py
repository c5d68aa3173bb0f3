"""A reward that hangs, backtracks, exits or returns no number costs its rows their reward and the training nothing.

The real trainer, the real pool: the weights after two steps are those of a run whose reward says None for these rows.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.builders import tiny_trainer
from trainer.rewards.wrapper import ComponentRewardWrapper
from trainer.spec import Component, Reward

DEADLINE_S = 5.0
STEPS = 2
OWN = """
import re, sys

def texts(completions):
    return [completion[-1]["content"] for completion in completions]

def is_bad(text):
    return sum(map(ord, text)) % 7 == 0

def paid(completions, bad):
    return [bad(text) if is_bad(text) else len(set(text)) / 8 for text in texts(completions)]

def loop(text):
    while True:
        pass

def none(completions, **columns): return paid(completions, lambda text: None)
def hangs(completions, **columns): return paid(completions, loop)
def backtracks(completions, **columns): return paid(completions, lambda text: re.fullmatch("(a|aa)+", "a" * 80 + "b"))
def leaves(completions, **columns): return paid(completions, lambda text: sys.exit(3))
def infinite(completions, **columns): return paid(completions, lambda text: float("inf"))
"""


def trained(folder: Path, function: str) -> tuple[dict[str, torch.Tensor], int, float]:
    """(weights, rows that failed, seconds of the slowest batch of rewards)."""
    folder.mkdir(exist_ok=True)
    path = folder / "own_rewards.py"
    path.write_text(OWN)
    reward = Reward(components=[Component(function=function, file=str(path))], deadline_s=DEADLINE_S, workers=2)
    wrapper = ComponentRewardWrapper(reward, pooled=True)
    seconds: list[float] = []
    call = wrapper._ask

    def timed(*arguments: Any) -> Any:
        started = time.monotonic()
        answers = call(*arguments)
        seconds.append(time.monotonic() - started)
        return answers

    setattr(wrapper, "_ask", timed)  # noqa: B010  (mypy knows no assignment to methods)
    try:
        changes: dict[str, Any] = {"per_device_train_batch_size": 16, "max_steps": STEPS, "learning_rate": 1e-2}
        trainer, recorder = tiny_trainer(folder, wrapper=wrapper, **changes)
        trainer.train()
    finally:
        wrapper.close()
    failed = sum(bool(row) for _, batch in recorder.batches for row in batch.failures)
    return {name: value.detach().clone() for name, value in trainer.model.named_parameters()}, failed, max(seconds)


@pytest.fixture(scope="module")
def without_reward(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    weights, failed, _ = trained(tmp_path_factory.mktemp("none"), "none")
    assert failed == 0
    return weights


@pytest.mark.parametrize("function", ["hangs", "backtracks", "leaves", "infinite"])
def test_the_run_goes_on_in_time_and_with_the_same_weights(
    tmp_path: Path, without_reward: dict[str, torch.Tensor], function: str
) -> None:
    weights, failed, slowest = trained(tmp_path, function)
    assert 1 <= failed <= 8 * STEPS, "some rows were bad, and not most of them"
    assert slowest < DEADLINE_S + 2
    assert all(torch.equal(weights[name], value) for name, value in without_reward.items())

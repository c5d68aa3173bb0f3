"""trainer.grpo.advantages against the formulas of the papers, alone and in the trainer."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import tiny_trainer
from trainer.grpo import advantages
from trainer.spec import Component, Reward

REWARDS = st.lists(st.sampled_from([0.0, 0.5, 1.0, 1.5, -1.0, None]), min_size=8, max_size=8)


def by_hand(kind: str, group: Sequence[float | None]) -> list[float]:
    """The formula read from the paper, a completion at a time."""
    known = [reward for reward in group if reward is not None]
    found = []
    for reward in group:
        if reward is None or len(known) < 2:
            found.append(0.0)
        elif kind == "rloo":  # arXiv 2402.14740, equation 8
            others = list(known)
            others.remove(reward)
            found.append(reward - statistics.fmean(others))
        else:  # arXiv 2602.02710, algorithm 1
            mean = statistics.fmean(known)
            found.append((reward - mean) / mean if mean > 0 else 0.0)
    return found


@pytest.mark.parametrize("kind", ["rloo", "maxrl"])
@settings(deadline=None)
@given(REWARDS)
def test_the_advantages_are_those_of_the_formula(kind: advantages.Kind, rewards: list[float | None]) -> None:
    given_to = torch.tensor([math.nan if reward is None else reward for reward in rewards])
    found = advantages.of_groups(given_to, [4, 4], kind, "none")
    wanted = torch.tensor(by_hand(kind, rewards[:4]) + by_hand(kind, rewards[4:]))
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_worked_out_by_hand() -> None:
    rewards = torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0])
    rloo = advantages.of_groups(rewards, [4, 4], "rloo", "none")
    assert rloo.tolist() == pytest.approx([1, -1 / 3, -1 / 3, -1 / 3, 1 / 3, 1 / 3, 1 / 3, -1])
    # One success of four counts nine times as much as one of three of four.
    maxrl = advantages.of_groups(rewards, [4, 4], "maxrl", "none")
    assert maxrl.tolist() == pytest.approx([3, -1, -1, -1, *[1 / 3] * 3, -1])


@pytest.mark.parametrize("kind", ["rloo", "maxrl"])
def test_a_group_without_spread_teaches_nothing(kind: advantages.Kind) -> None:
    rewards = torch.tensor([0.3] * 4 + [0.0] * 4)
    assert advantages.of_groups(rewards, [4, 4], kind, "none").abs().max() < 1e-6


@pytest.mark.parametrize("kind", ["rloo", "maxrl"])
def test_the_trainer_learns_from_them_and_records_them(kind: advantages.Kind, tmp_path: Path) -> None:
    reward = Reward(components=[Component(function="format_regex", params={"pattern": "(?s)[ -P].*"})])
    trainer, recorder = tiny_trainer(
        tmp_path, reward=reward, advantage=kind, scale_rewards="none", loss_type="dr_grpo", max_steps=3
    )
    used: list[torch.Tensor] = []
    compute = trainer.compute_loss

    def watched(model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        used.append(inputs["advantages"].clone())
        return compute(model, inputs, *args, **kwargs)

    trainer.compute_loss = watched
    trainer.train()
    assert recorder.batches
    for _, batch in recorder.batches:
        groups = [batch.rewards[first : first + 4] for first in range(0, len(batch.rewards), 4)]
        wanted = [value for group in groups for value in by_hand(kind, group)]
        assert batch.advantages == pytest.approx(wanted, abs=1e-5)
    trained = sorted(value for batch in used for value in batch.tolist())
    recorded = sorted(value for _, batch in recorder.batches for value in batch.advantages)
    assert trained == pytest.approx(recorded)
    assert any(recorded)

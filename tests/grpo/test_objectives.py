"""normalize_then_sum (GDPO, arXiv:2601.05242): what TRL computes when it sees the components as separate functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from trl import GRPOTrainer

from tests.builders import rows, tiny_model, tiny_trainer
from trainer.rewards.contract import RewardFunction
from trainer.rewards.library import REWARDS
from trainer.rewards.wrapper import ComponentRewardWrapper
from trainer.run.rollouts import groups
from trainer.spec import Component, Reward

WEIGHTS = {"upper": 1.0, "vowels": 0.5, "even": 0.25}
SETTINGS: dict[str, Any] = {
    "max_steps": 1,
    "per_device_train_batch_size": 16,
    "shuffle_dataset": False,
    "multi_objective_aggregation": "normalize_then_sum",
    "reward_weights": list(WEIGHTS.values()),
}


def texts(completions: list[Any]) -> list[str]:
    return [completion[-1]["content"] for completion in completions]


def upper(completions: list[Any], **_: Any) -> list[float | None]:
    return [sum(letter.isupper() for letter in text) / 8 for text in texts(completions)]


def vowels(completions: list[Any], **_: Any) -> list[float | None]:
    """None now and then: TRL leaves it out of mean, deviation and sum."""
    return [None if len(text) % 3 == 0 else float(len(set(text) & set("aeiou"))) for text in texts(completions)]


def even(completions: list[Any], **_: Any) -> list[float | None]:
    return [None if len(text) % 3 == 0 else float(sum(map(ord, text)) % 2) for text in texts(completions)]


class Spy(GRPOTrainer):  # type: ignore[misc]
    """Keeps what TRL made of the rewards."""

    def _generate_and_score_completions(self, *args: Any, **kwargs: Any) -> Any:
        self.scored = super()._generate_and_score_completions(*args, **kwargs)
        return self.scored


def test_the_advantages_are_those_of_trl_with_separate_functions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    functions = [upper, vowels, even]
    for function in functions:
        monkeypatch.setitem(REWARDS, function.__name__, lambda call=function: RewardFunction(call))
    parts = [Component(function=name, weight=weight) for name, weight in WEIGHTS.items()]
    wrapper = ComponentRewardWrapper(Reward(components=parts))
    ours, recorder = tiny_trainer(tmp_path, base=Spy, wrapper=wrapper, fast="off", **SETTINGS)
    ours.train()

    model, tokenizer = tiny_model()
    alone = Spy(
        model=model,
        args=ours.args,
        reward_funcs=functions,
        train_dataset=Dataset.from_list(rows()),
        processing_class=tokenizer,
    )
    alone.train()
    assert torch.equal(ours.scored["completion_ids"], alone.scored["completion_ids"])
    assert torch.equal(ours.scored["advantages"], alone.scored["advantages"])
    assert len(set(ours.scored["advantages"].tolist())) > 8

    _, batch = recorder.batches[0]
    assert batch.advantages == alone.scored["advantages"].tolist()
    found, wanted = recorder.steps[0][1], alone.state.log_history[0]
    for name in ("reward", "reward_std", "frac_reward_zero_std", *(f"rewards/{name}/mean" for name in WEIGHTS)):
        assert found[name] == pytest.approx(wanted[name], abs=1e-6), name
    assert found["rewards/ComponentRewardWrapper/mean"] == pytest.approx(wanted["reward"], abs=1e-6)
    assert not [name for name in found if name.startswith("rewards/ComponentRewardWrapper.")]
    assert all(torch.equal(a, b) for a, b in zip(ours.model.parameters(), alone.model.parameters(), strict=True))


def test_a_group_of_equal_rewards_teaches_where_its_components_differ() -> None:
    from tests.builders import batch

    changed = {"rewards": [1.0] * 4, "objectives": [[0.0, 1.0, 1.0, 1.0], [1.0, 0.0, 0.0, 0.0]]}
    found = groups(batch().__class__(**{**vars(batch()), **changed}), 2)
    assert [group["outcome"] for group in found] == ["spread", "all_right"]

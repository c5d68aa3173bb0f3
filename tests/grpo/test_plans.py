"""Hierarchical GRPO: both levels' advantages worked out by hand, and the gradient they make, one text at a time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.builders import HALF, Recorder, tiny_model, tiny_trainer
from trainer.errors import EngineError
from trainer.grpo import levels
from trainer.grpo.plans import Plans
from trainer.run.groups import group_of
from trainer.run.rollouts import groups
from trainer.spec import Component, Reward
from trainer.spec.episode import Episode

NONE = float("nan")
TWO = [1.0, 0.5, 0.0, 0.5]
"""2 plans, 2 implementations of each: R = 0.75, 0.25; mean 0.5, std 0.35355; within each plan std 0.35355."""
THREE = [1.0, NONE, 0.5, 0.0, NONE, NONE]
"""3 plans: R = 1, 0.25, none; mean 0.625, std 0.53033. Of the first one way has no reward, of the last both."""
SPREAD = 0.5**0.5 / 2  # of 1 and 0.5


@pytest.mark.parametrize(
    ("scale", "of_plans", "of_ways"),
    [
        ("none", 1.0, 1.0),
        ("group", SPREAD + 1e-4, SPREAD + 1e-4),
        ("batch", SPREAD + 1e-4, (0.5 / 3) ** 0.5 + 1e-4),  # of 0.75 and 0.25; of 1, 0.5, 0 and 0.5
    ],
)
def test_two_plans_of_two_implementations(scale: Any, of_plans: float, of_ways: float) -> None:
    means, values = levels.compared(torch.tensor(TWO), 2, 2, scale)
    assert means.tolist() == [0.75, 0.25]
    assert values[:, 0].tolist() == pytest.approx([each / of_plans for each in (0.25, 0.25, -0.25, -0.25)], rel=1e-5)
    assert values[:, 1].tolist() == pytest.approx([each / of_ways for each in (0.25, -0.25, -0.25, 0.25)], rel=1e-5)


@pytest.mark.parametrize(
    ("scale", "of_plans", "of_ways"),
    [
        ("none", 1.0, 1.0),
        ("group", 1.5 * SPREAD + 1e-4, SPREAD + 1e-4),
        ("batch", 1.5 * SPREAD + 1e-4, 0.5 + 1e-4),  # of 1 and 0.25; of 1, 0.5 and 0
    ],
)
def test_three_plans_with_rows_that_were_lost(scale: Any, of_plans: float, of_ways: float) -> None:
    means, values = levels.compared(torch.tensor(THREE), 3, 2, scale)
    assert means[:2].tolist() == [1.0, 0.25] and means[2].isnan()
    plans = [0.375, 0.375, -0.375, -0.375, 0.0, 0.0]  # a lost row has the tokens of a plan that is judged
    ways = [0.0, 0.0, 0.25, -0.25, 0.0, 0.0]
    assert values[:, 0].tolist() == pytest.approx([each / of_plans for each in plans], rel=1e-5)
    assert values[:, 1].tolist() == pytest.approx([each / of_ways for each in ways], rel=1e-5)
    assert levels.spread(means, 3) == pytest.approx(1.5 * SPREAD)


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_what_is_equal_teaches_exactly_nothing(scale: Any) -> None:
    # The means are the same and are sums in different orders; inside the first plan all are equal.
    rewards = torch.tensor([0.1, 0.2, 0.7, 0.7, 0.1, 0.2, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3])
    values = levels.compared(rewards, 2, 3, scale).values
    assert values[:6, 0].tolist() == [0.0] * 6 and values[6:].tolist() == [[0.0, 0.0]] * 6
    assert values[:6, 1].all()


def test_the_prompts_of_a_batch_are_compared_by_themselves() -> None:
    both = levels.compared(torch.tensor(TWO + [5 * each for each in TWO]), 2, 2, "none").values
    assert torch.allclose(both[4:], 5 * both[:4])
    assert levels.spread(torch.tensor([1.0, 0.0, 1.0, NONE]), 2) == pytest.approx(2 * SPREAD)
    assert levels.spread(torch.tensor([NONE, 0.0]), 2) == 0.0


# ---- in the trainer


def planned(folder: Path, plans: int = 2, ways: int = 2, longest: int = 4, **options: Any) -> tuple[Any, Recorder]:
    model, tokenizer = tiny_model()
    made = Plans(plans, ways, longest, "m", tokenizer)  # one of many letters: some plans end with it
    settings: dict[str, Any] = {"reward": HALF, "num_generations": plans * ways, "max_completion_length": 8}
    return tiny_trainer(folder, model=model, tokenizer=tokenizer, plans=made, **settings | options)


def test_the_rollouts_say_which_plan_and_what_both_levels_were_worth(tmp_path: Path) -> None:
    trainer, recorder = planned(
        tmp_path, max_steps=1, per_device_train_batch_size=64, scale_rewards="none", max_completion_length=24,
        generation_kwargs={"top_k": 30}, longest=12,
    )  # fmt: skip
    trainer.train()
    ((_, batch),) = recorder.batches
    rewards = torch.tensor(batch.rewards)
    means = rewards.view(-1, 2).mean(1)
    assert torch.tensor([plan.reward for plan in batch.plans[::2]]).equal(means)
    plans = (means.view(-1, 2) - means.view(-1, 2).mean(1, keepdim=True)).flatten().repeat_interleave(2)
    assert torch.tensor([plan.advantage for plan in batch.plans]).allclose(plans)
    assert torch.tensor([plan.rest_advantage for plan in batch.plans]).allclose(rewards - means.repeat_interleave(2))
    assert [plan.number for plan in batch.plans] == [0, 0, 1, 1] * 16
    for row, (plan, text) in enumerate(zip(batch.plans, batch.completions, strict=True)):
        other = row ^ 1
        assert batch.completions[other][: plan.text_end] == text[: plan.text_end]
        assert batch.plans[other].text_end == plan.text_end and plan.tokens <= batch.completion_tokens[row]
        if plan.text_end == len(text) and plan.tokens == batch.completion_tokens[row]:
            assert batch.completions[other] == text
        assert "m" not in text[: max(0, plan.text_end - 1)]
    ended = [text[: plan.text_end].endswith("m") for plan, text in zip(batch.plans, batch.completions, strict=True)]
    assert any(ended) and not all(ended)
    metrics = recorder.steps[0][1]
    cut = [plan.tokens == 12 and not end for plan, end in zip(batch.plans, ended, strict=True)]
    assert metrics["episodes/plan_cut_frac"] == pytest.approx(sum(cut) / 64)
    assert metrics["episodes/plan_std"] == pytest.approx(means.view(-1, 2).std(1).mean().item(), rel=1e-5)
    shares = (torch.tensor([plan.tokens for plan in batch.plans]) / torch.tensor(batch.completion_tokens)).tolist()
    whole = [s * p.advantage + (1 - s) * p.rest_advantage for s, p in zip(shares, batch.plans, strict=True)]
    assert batch.advantages == pytest.approx(whole, abs=1e-6)
    line = json.loads(json.dumps(groups(batch, 4)[0]))
    group = group_of(json.dumps({"step": 1, **line}).encode(), 0)
    assert group is not None and [one.plan.number for one in group.completions if one.plan] == [0, 0, 1, 1]


@pytest.mark.parametrize("fast", ["auto", "off"])
@pytest.mark.parametrize("loss", ["grpo", "dapo"])
@pytest.mark.parametrize(("plans", "ways"), [(2, 2), (3, 2)])
def test_the_gradient_is_that_of_the_formula_one_text_at_a_time(
    tmp_path: Path, fast: str, loss: str, plans: int, ways: int
) -> None:
    size = 4 * plans * ways
    trainer, recorder = planned(
        tmp_path, plans, ways, fast=fast, loss_type=loss, beta=0.0, per_device_train_batch_size=size
    )
    trainer.model.train()
    rows = [row for row in list(trainer.train_dataset)[:4] for _ in range(plans * ways)]
    batch = trainer._generate_and_score_completions(rows)
    ((_, recorded),) = recorder.batches
    trainer.current_gradient_accumulation_steps = 1
    trainer.compute_loss(trainer.model, batch).backward()
    trainer.close_prompts()
    found = {name: value.grad.clone() for name, value in trainer.model.named_parameters()}

    values = levels.compared(torch.tensor(recorded.rewards), plans, ways, "group").values
    assert values[:, 0].any() and values[:, 1].any()
    everything = int(batch["completion_mask"].sum())
    trainer.model.zero_grad()
    for row, plan in enumerate(recorded.plans):
        prompt = batch["prompt_ids"][row][batch["prompt_mask"][row].bool()]
        tokens = batch["completion_ids"][row][batch["completion_mask"][row].bool()]
        logits = trainer.model(torch.cat([prompt, tokens])[None]).logits[0, len(prompt) - 1 : -1]
        logps = logits.log_softmax(-1).gather(1, tokens[:, None])[:, 0]
        share = len(tokens) * size if loss == "grpo" else everything
        of_plan, behind = logps[: plan.tokens], logps[plan.tokens :]
        (-(values[row, 0] * of_plan.sum() + values[row, 1] * behind.sum()) / share).backward()
    for name, value in trainer.model.named_parameters():
        gap = (found[name] - value.grad).norm() / value.grad.norm()
        assert gap < 1e-4, f"{name}: {gap}"


def test_a_resumed_run_ends_with_the_same_weights(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2}
    whole, recorder = planned(tmp_path / "whole", **settings)
    whole.train()
    again, other = planned(tmp_path / "again", **settings)
    again.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-2"))
    after = [(step, batch.completions, batch.plans) for step, batch in recorder.batches if step > 2]
    assert [(step, batch.completions, batch.plans) for step, batch in other.batches] == after
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, again.model.state_dict()[name]), name


@pytest.mark.parametrize("fast", ["auto", "off"])
def test_a_run_whose_rewards_are_all_the_same_leaves_its_weights_alone(tmp_path: Path, fast: str) -> None:
    """The mean of three times 0.11 is another number in float32."""
    anything = Component(function="format_regex", params={"pattern": r"[\s\S]*"}, weight=0.11)
    trainer, recorder = planned(
        tmp_path, 2, 3, fast=fast, reward=Reward(components=[anything]), max_steps=1, beta=0.0, optim="sgd",
        per_device_train_batch_size=12, learning_rate=1e6,
    )  # fmt: skip
    before = {name: weight.clone() for name, weight in trainer.model.state_dict().items()}
    trainer.train()
    ((_, batch),) = recorder.batches
    assert {(plan.advantage, plan.rest_advantage) for plan in batch.plans} == {(0.0, 0.0)}
    assert all(torch.equal(weight, before[name]) for name, weight in trainer.model.state_dict().items())


def test_pieces_and_a_generation_in_two_calls_keep_plans_whole(tmp_path: Path) -> None:
    for options in ({"pieces": 3}, {"pieces": 3, "fast": "off"}):
        trainer, recorder = planned(tmp_path, max_steps=1, per_device_train_batch_size=16, **options)
        trainer.train()
        ((_, batch),) = recorder.batches
        for row, plan in enumerate(batch.plans):
            assert batch.completions[row ^ 1][: plan.text_end] == batch.completions[row][: plan.text_end]


def test_plans_are_written_from_text_alone() -> None:
    settings = Episode(plans=2, implementations=2)
    assert Plans.of(Episode(), ["prompt", "images"], None) is None
    assert Plans.of(settings, ["prompt", "answer"], None) is not None
    with pytest.raises(EngineError, match="column images"):
        Plans.of(settings, ["prompt", "images"], None)

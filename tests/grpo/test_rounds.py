"""Rollout phases of a sampler on the real TRL trainer: what is thrown away, groups of several sizes, a resume."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.builders import HALF, REWARD, rows, tiny_trainer
from tests.judge_server import ranks, serving
from trainer.grpo import advantages
from trainer.run.rollouts import groups
from trainer.spec import Component

RARE = REWARD.model_copy(update={"components": [HALF.components[0].model_copy(update={"params": {"pattern": ".*z"}})]})
"""Of random text few groups earn anything: most have no spread."""


def test_groups_without_spread_are_written_anew_of_other_prompts(tmp_path: Path) -> None:
    trainer, recorder = tiny_trainer(tmp_path, reward=RARE, sampling={"max_rounds": 4}, data=rows(64), max_steps=3)
    trainer.train()
    assert len(recorder.batches) == 3
    for (_, batch), (_, logs, _) in zip(recorder.batches, recorder.steps, strict=True):
        lines = groups(batch, 4)
        kept = [line for line in lines if not line.get("thrown")]
        thrown = [line for line in lines if line.get("thrown")]
        assert sum(len(line["completions"]) for line in kept) == 8
        assert all(line["outcome"] != "spread" for line in thrown), "nothing that teaches is thrown away"
        lively = sum(line["outcome"] == "spread" for line in lines)
        assert sum(line["outcome"] == "spread" for line in kept) == min(2, lively)
        assert len({json.dumps(line["prompt"]) for line in lines}) == len(lines), "other prompts each time"
        assert logs["sampler/rounds"] > 1
        assert logs["sampler/thrown_frac"] == pytest.approx(len(thrown) / len(lines))
        lengths = [sum(one["tokens"] for one in line["completions"]) for line in thrown]
        assert logs["sampler/thrown_tokens"] == sum(lengths)
        assert logs["sampler/thrown_s"] > 0
        every = [one["reward"] for line in lines for one in line["completions"]]
        assert logs["reward"] == pytest.approx(sum(every) / len(every)), "of all that was written, not of what is kept"
        dead = sum(line["outcome"] != "spread" for line in lines) / len(lines)
        assert logs["frac_reward_zero_std"] == pytest.approx(dead)
        tokens = [one["tokens"] for line in lines for one in line["completions"]]
        assert logs["completions/mean_length"] == pytest.approx(sum(tokens) / len(tokens))
        assert logs["completions/max_length"] == max(tokens)
    written = sum(t for _, b in recorder.batches for t in (*b.prompt_tokens, *b.completion_tokens))
    assert recorder.steps[-1][1]["num_tokens"] == written, "what is thrown away was paid for"


def test_what_a_judge_costs_is_that_of_all_rounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as server:
        server.reply = ranks(len)
        params = {"model": "m", "base_url": server.url, "prompt": "Which?\n\n{completions}"}
        judge = Component(function="llm_group_judge", name="judge", weight=0, params=params)
        reward = RARE.model_copy(update={"components": [*RARE.components, judge]})
        trainer, recorder = tiny_trainer(
            tmp_path, reward=reward, sampling={"max_rounds": 4}, data=rows(64), max_steps=2
        )
        trainer.train()
        asked = len(server.asked)
    logged = [logs for _, logs, _ in recorder.steps]
    assert max(logs["sampler/rounds"] for logs in logged) > 1
    assert sum(logs["rewards/judge/calls"] for logs in logged) == asked > 2 * 2


def test_one_round_is_trls_phase_of_other_rows(tmp_path: Path) -> None:
    """The loss and gradient of the rows that a sampler brings are those that TRL has of them."""
    ours, recorder = tiny_trainer(tmp_path, reward=HALF, sampling={"max_rounds": 1, "skip_dead": True}, max_steps=1)
    ours.train()
    (batch,) = [b for _, b in recorder.batches]
    asked = [prompt[0]["content"] for prompt in batch.prompts[::4]]
    by_text = {row["prompt"][0]["content"]: row for row in rows()}
    theirs, other = tiny_trainer(
        tmp_path, reward=HALF, data=[by_text[text] for text in asked], shuffle_dataset=False, max_steps=1
    )
    theirs.train()
    assert other.batches[0][1].completions == batch.completions
    assert other.batches[0][1].advantages == batch.advantages
    assert recorder.steps[0][1]["loss"] == other.steps[0][1]["loss"]
    assert recorder.steps[0][1]["grad_norm"] == other.steps[0][1]["grad_norm"]


@pytest.mark.parametrize("fast", ["auto", "off"])
def test_each_prompt_is_compared_with_itself_over_however_many_it_got(tmp_path: Path, fast: str) -> None:
    settings = {"group_size": "spread", "max_generations": 7}
    trainer, recorder = tiny_trainer(
        tmp_path, reward=HALF, sampling=settings, data=rows(3), max_steps=4, per_device_train_batch_size=12, fast=fast
    )
    trainer.train()
    sizes = {size for _, batch in recorder.batches for size in batch.sizes}
    assert len(sizes) > 1
    assert sizes <= set(range(2, 8))
    for _, batch in recorder.batches:
        assert sum(batch.sizes) == 12
        for line in groups(batch, 4):
            count = len(line["completions"])
            rewards = [one["reward"] for one in line["completions"]]
            mean = sum(rewards) / count
            std = math.sqrt(sum((r - mean) ** 2 for r in rewards) / (count - 1))
            for one in line["completions"]:
                expected = (one["reward"] - mean) / (std + 1e-4) * (4 - 1) / (count - 1)
                assert one["advantage"] == pytest.approx(expected, abs=1e-5)
    for (_, batch), (_, logs, _) in zip(recorder.batches, recorder.steps, strict=True):
        assert logs["sampler/completions_min"] == min(batch.sizes)
        assert logs["sampler/completions_max"] == max(batch.sizes)


def test_groups_of_several_sizes_are_written_anew_too(tmp_path: Path) -> None:
    settings = {"group_size": "spread", "max_rounds": 3, "max_generations": 6}
    trainer, recorder = tiny_trainer(
        tmp_path, reward=RARE, sampling=settings, data=rows(40), max_steps=4, per_device_train_batch_size=16
    )
    trainer.train()
    for _, batch in recorder.batches:
        assert sum(batch.trained or [True] * 16) == 16
        lines = groups(batch, 4)
        assert all(not line.get("thrown") for line in lines if line["outcome"] == "spread")


def test_every_prompt_has_the_weight_that_one_size_gives_it() -> None:
    """Expectations by enumeration: a policy of one token that is right with p, its gradient of the mean reward."""
    p, mean_size = 0.3, 4
    found = []
    for size in range(2, 8):
        total = 0.0
        for rights in itertools.product([0.0, 1.0], repeat=size):
            chance = math.prod(p if right else 1 - p for right in rights)
            rewards = torch.tensor(rights)
            values = advantages.of_groups(rewards, [size], "group_mean", "none")
            values = values * advantages.weights([size], mean_size)
            # d log p / d logit: 1 - p of a right answer, -p of a wrong one
            total += chance * float((values * (rewards - p)).sum())
        found.append(total)
    assert found == pytest.approx([found[0]] * len(found))
    assert found[0] == pytest.approx((mean_size - 1) * p * (1 - p)), "(G - 1) times d E[reward] / d logit"


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_of_one_size_the_advantages_are_trls(tmp_path: Path, scale: Any) -> None:
    trainer, recorder = tiny_trainer(tmp_path, reward=HALF, scale_rewards=scale, max_steps=1, fast="off")
    trainer.train()
    batch = recorder.batches[0][1]
    rewards = torch.tensor(batch.rewards, dtype=torch.float32)
    found = advantages.of_groups(rewards, [4, 4], "group_mean", scale)
    assert found.tolist() == pytest.approx(batch.advantages, abs=1e-5)


EVERY: list[dict[str, Any]] = [
    {"max_rounds": 3},
    {"skip_dead": True, "max_rounds": 2},
    {"curriculum": "column", "mix": 0.5, "pass_bound": 0.1},
    {"curriculum": "pass_rate", "measure": 2, "levels": 2},
    {"group_size": "spread"},
    {"group_size": "threshold", "weigh": "completions"},
    {"replay": 6},
    {"replay": 8, "max_rounds": 2, "group_size": "spread", "replay_steps": 2},
]


@pytest.mark.parametrize("settings", EVERY, ids=str)
def test_a_resumed_run_ends_with_the_same_weights(tmp_path: Path, settings: dict[str, Any]) -> None:
    data = [row | {"difficulty": number % 3} for number, row in enumerate(rows(24))]
    options: dict[str, Any] = {
        "reward": HALF, "sampling": settings, "data": data, "max_steps": 6, "save_strategy": "steps", "save_steps": 3,
    }  # fmt: skip

    def trained(folder: Path, resumed: Path | None = None) -> tuple[Any, Any]:
        trainer, recorder = tiny_trainer(folder, **options)
        if resumed is not None:
            trainer.rounds.load(resumed)
        if trainer.rounds.sampler.awaits_rates:
            trainer.rounds.sampler.measured(trainer.rounds.pass_rates(2, lambda: None))
        trainer.train(resume_from_checkpoint=str(resumed) if resumed else None)
        return trainer, recorder

    whole, recorder = trained(tmp_path / "whole")
    again, other = trained(tmp_path / "again", tmp_path / "whole" / "checkpoint-3")
    after = [(step, batch.prompts, batch.completions) for step, batch in recorder.batches if step > 3]
    assert [(step, batch.prompts, batch.completions) for step, batch in other.batches] == after
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, again.model.state_dict()[name]), name


def test_measuring_leaves_nothing_but_its_tokens(tmp_path: Path) -> None:
    trainer, recorder = tiny_trainer(
        tmp_path, reward=HALF, sampling={"curriculum": "pass_rate", "levels": 2}, max_steps=1
    )
    looks: list[int] = []
    rates = trainer.rounds.pass_rates(3, lambda: looks.append(1))
    assert len(rates) == 16
    assert set(rates) <= {0.0, 1 / 3, 2 / 3, 1.0}
    assert len(looks) == 8
    trainer.rounds.sampler.measured(rates)
    trainer.train()
    assert not recorder.batches[0][1].trained
    assert recorder.steps[0][1]["sampler/level"] == 1


@pytest.mark.parametrize(
    ("sampling", "rows_each", "asked"),
    [({"max_rounds": 2}, 4, {4}), ({"curriculum": "pass_rate"}, 3, {1}), ({"group_size": "spread"}, 4, {1, 4})],
    ids=str,
)
def test_an_engine_that_counts_groups_is_told_their_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sampling: dict[str, Any], rows_each: int, asked: set[int]
) -> None:
    """vLLM takes every group-th prompt that often: with groups of another size that would be other prompts."""
    options: dict[str, Any] = {"data": rows(3), "max_steps": 4, "per_device_train_batch_size": 12}
    trainer, _ = tiny_trainer(tmp_path, reward=HALF, sampling=sampling, **options)
    base: Any = next(cls for cls in type(trainer).__mro__ if cls.__name__ == "GRPOTrainer")
    inner, seen = base._generate_single_turn, set()

    def watched(self: Any, ids: Any, images: Any, fields: Any, group: int) -> Any:
        seen.add(group)
        return inner(self, ids, images, fields, group)

    monkeypatch.setattr(base, "_generate_single_turn", watched)
    if trainer.rounds.sampler.awaits_rates:
        trainer.rounds.pass_rates(rows_each, lambda: None)
    else:
        trainer.train()
    assert seen == asked

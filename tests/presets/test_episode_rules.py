"""Rules of [episode]: what does not go with it is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from trainer import presets
from trainer.errors import SpecError
from trainer.presets.engines import why_not_unsloth

BASE: dict[str, Any] = {
    "model": {"name": "Qwen/Qwen3-0.6B"},
    "data": {"path": "rows.jsonl"},
    "reward": {"components": [{"function": "environment"}]},
    "episode": {"environment": "guess"},
}


def problems(*overrides: str, **tables: Any) -> dict[str, str]:
    try:
        presets.parse(presets.merge(BASE | tables, [*overrides]), "mine.toml")
    except SpecError as error:
        assert str(error)
        return {problem.place: problem.key for problem in error.problems}
    return {}


def test_an_episode_is_a_run_of_grpo() -> None:
    assert problems() == {}
    assert problems("episode.baseline=turn") == {}


def test_unsloth_plays_episodes_where_a_bound_on_their_length_is_set() -> None:
    """Its kernels cut what is longer, and nobody has counted what a template says of the tools."""
    spec = presets.parse(presets.merge(BASE, []), "mine.toml")
    why = why_not_unsloth(spec, on_gpu=True, has_unsloth=True)
    assert why is not None and why.key == "presets.episodes_without_unsloth"
    bound = presets.parse(presets.merge(BASE, ["model.max_seq_length=4096"]), "mine.toml")
    assert why_not_unsloth(bound, on_gpu=True, has_unsloth=True) is None
    assert problems("model.engine=unsloth") == {"model.max_seq_length": "presets.episodes_without_bound"}
    assert problems("model.engine=unsloth", "model.max_seq_length=4096", "episode.baseline=turn") == {}


@pytest.mark.parametrize(
    ("typed", "key"),
    [
        ("run.method=online_rft", "not_with_episodes"),
        ("run.method=sft", "not_with_episodes"),
        ("data.chat=false", "not_with_episodes"),
        ("sampling.max_rounds=2", "not_with_episodes"),
        ("sampling.replay=4", "not_with_episodes"),
        ("sampling.skip_dead=true", "not_with_episodes"),
        ("sampling.group_size=spread", "not_with_episodes"),
        ("sampling.curriculum=pass_rate", "not_with_episodes"),
        ("eval.pass_at=[4]", "not_with_episodes"),
        ("eval.answers=true", "not_with_episodes"),
        ("trl.use_vllm=true", "not_with_episodes"),
        ("trl.use_transformers_continuous_batching=true", "not_with_episodes"),
        ("episode.environment=gues", "no_such_environment"),
        ("model.name=builtin/tiny-qwen3", "builtin_without_tools"),
        ("episode.max_tool_calling_iterations=0", "refused"),
    ],
)
def test_what_does_not_go_with_episodes_is_named(typed: str, key: str) -> None:
    found = problems(typed)
    assert found[typed.partition("=")[0]].endswith(key)


@pytest.mark.parametrize(
    ("typed", "place", "key"),
    [
        ("grpo.advantage=rloo", "grpo.advantage", "not_with_turns"),
        ("grpo.multi_objective_aggregation=normalize_then_sum", "grpo.multi_objective_aggregation", "not_with_turns"),
        ("grpo.importance_sampling_level=sequence", "grpo.importance_sampling_level", "loss_of_whole_episodes"),
        ("reward.components.0.clip=[0,1]", "reward.components", "turns_changed"),
        ("reward.components.0.normalise=true", "reward.components", "turns_changed"),
        ("reward.components.0.function=exact_match", "episode.baseline", "turns_unpaid"),
    ],
)
def test_what_has_no_advantage_a_turn_is_named(typed: str, place: str, key: str) -> None:
    assert problems(typed, "grpo.scale_rewards=none").keys() <= {place}
    assert problems("episode.baseline=turn", "grpo.scale_rewards=none", typed)[place] == f"presets.{key}"


def test_an_environment_is_paid_in_episodes_only_and_a_file_has_a_class() -> None:
    assert problems("episode.environment=") == {"reward.components": "presets.reward_without_episode"}
    assert problems("episode.environment=", "episode.file=own.py") == {
        "reward.components": "presets.reward_without_episode",
        "episode.file": "presets.file_without_environment",
    }
    inside = {"components": [{"function": "sum", "components": [{"function": "environment"}]}]}
    assert problems("episode.baseline=turn", reward=inside) == {"episode.baseline": "presets.turns_unpaid"}


# ---- plans

PLANNED: dict[str, Any] = {
    "data": {"path": "rows.jsonl", "eval_path": "other.jsonl"},
    "reward": {"components": [{"function": "exact_match"}]},
    "episode": {"plans": 4, "implementations": 2},
    "generation": {"num_generations": 8, "max_completion_length": 128},
}


def test_plans_are_a_run_of_grpo_on_transformers_with_whole_groups() -> None:
    assert problems(**PLANNED) == {}
    for typed in ("eval.pass_at=[4]", "eval.answers=true", "data.chat=false", "grpo.scale_rewards=batch"):
        assert problems(typed, **PLANNED) == {}
    spec = presets.parse(presets.merge(BASE | PLANNED, []), "mine.toml")
    assert spec.episode.has_plans and not spec.episode.is_on
    why = why_not_unsloth(spec, on_gpu=True, has_unsloth=True)
    assert why is not None and why.key == "presets.plans_without_unsloth"


@pytest.mark.parametrize(
    ("typed", "place", "key"),
    [
        ("episode.plans=", "episode.plans", "half_of_plans"),
        ("episode.implementations=", "episode.implementations", "half_of_plans"),
        ("episode.plans=1", "episode.plans", "refused"),
        ("episode.max_plan_length=0", "episode.max_plan_length", "refused"),
        ("generation.num_generations=16", "generation.num_generations", "plans_group"),
        ("episode.max_plan_length=128", "episode.max_plan_length", "plans_too_long"),
        ("episode.environment=guess", "episode.environment", "not_with_plans"),
        ("run.method=online_rft", "run.method", "not_with_plans"),
        ("run.method=sft", "run.method", "not_with_plans"),
        ("grpo.advantage=rloo", "grpo.advantage", "not_with_plans"),
        ("grpo.advantage=maxrl", "grpo.advantage", "not_with_plans"),
        ("grpo.multi_objective_aggregation=normalize_then_sum", "grpo.multi_objective_aggregation", "not_with_plans"),
        ("grpo.importance_sampling_level=sequence", "grpo.importance_sampling_level", "loss_of_whole_plans"),
        ("sampling.max_rounds=2", "sampling.max_rounds", "not_with_plans"),
        ("sampling.replay=4", "sampling.replay", "not_with_plans"),
        ("sampling.skip_dead=true", "sampling.skip_dead", "not_with_plans"),
        ("sampling.group_size=spread", "sampling.group_size", "not_with_plans"),
        ("sampling.curriculum=pass_rate", "sampling.curriculum", "not_with_plans"),
        ("model.engine=unsloth", "model.engine", "not_with_plans"),
        ("trl.use_vllm=true", "trl.use_vllm", "not_with_plans"),
    ],
)
def test_what_does_not_go_with_plans_is_named(typed: str, place: str, key: str) -> None:
    found = problems(typed, "grpo.scale_rewards=none", **PLANNED)
    assert found[place].endswith(key), found


def test_steps_are_not_judged_beside_plans() -> None:
    steps = {"supervision": "process", "components": [{"function": "exact_match", "per_step": True}]}
    found = problems(**PLANNED | {"reward": steps})
    assert found == {"reward.supervision": "presets.not_with_plans"}


def test_the_refusal_says_the_product() -> None:
    with pytest.raises(SpecError, match="4 plans with 2 implementations each are 8 completions"):
        presets.parse(presets.merge(BASE | PLANNED, ["generation.num_generations=16"]), "mine.toml")

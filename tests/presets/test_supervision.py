"""Rules of process supervision: steps are judged where there are steps, and the loss must tell them apart."""

from __future__ import annotations

from typing import Any

import pytest

from tests import latin
from trainer import presets
from trainer.errors import SpecError
from trainer.presets import rules
from trainer.spec import RunSpec

BASE: dict[str, Any] = {
    "model": {"name": "Qwen/Qwen3-0.6B"},
    "data": {"path": "rows.jsonl"},
    "reward": {"components": [{"function": "exact_match"}]},
}
PROCESS = "reward.supervision=process"
STEP = "reward.components.0.per_step=true"
PRM = 'reward.components=[{function = "process_reward_model", params = {model = "m"}}]'
SUM = 'reward.components=[{function = "sum", per_step = true, components = [{function = "exact_match"}]}]'


def spec(*overrides: str) -> RunSpec:
    return presets.parse(presets.merge(BASE, overrides), "mine.toml")


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (["reward.components.0.per_step=true"],
         'per_step: is true with reward.supervision = "outcome"  ->  reward.supervision = "process"'),
        ([PRM], 'reward.components.0: process_reward_model judges steps with reward.supervision = "outcome"'),
        ([PRM, PROCESS, "reward.components.0.per_step=true"], "the function judges steps by itself"),
        ([SUM, PROCESS], "give it to the components of the sum"),
        ([PROCESS], 'reward.supervision: is "process", and no component judges steps'),
        ([PROCESS, STEP, "reward.step_split=x*"], "matches the empty string"),
        ([PROCESS, STEP, "reward.step_split=("], 'reward.step_split: is "(", which is not a regular expression'),
        ([PROCESS, STEP, "grpo.importance_sampling_level=sequence"], 'grpo.importance_sampling_level = "token"'),
        ([PROCESS, STEP, "grpo.multi_objective_aggregation=normalize_then_sum"],
         "grpo.multi_objective_aggregation: is"),
    ],
)  # fmt: skip
def test_is_refused(overrides: list[str], text: str) -> None:
    with pytest.raises(SpecError) as caught:
        spec(*overrides)
    assert text in str(caught.value)
    (problem,) = caught.value.problems
    assert latin.left_in(problem) == [] and problem.key != "plain"


@pytest.mark.parametrize(
    "overrides",
    [
        [PROCESS, STEP],
        [PROCESS, PRM],
        [PROCESS, STEP, r"reward.step_split='[.?!]\\s'"],
        [PROCESS, STEP, "reward.step_split=step"],
        [PROCESS, STEP, "grpo.importance_sampling_level=sequence", "grpo.loss_type=cispo"],
        [PROCESS, STEP, "grpo.multi_objective_aggregation=sum_then_normalize"],
        ["grpo.importance_sampling_level=sequence", "grpo.multi_objective_aggregation=normalize_then_sum"],
    ],
    ids=str,
)
def test_is_accepted(overrides: list[str]) -> None:
    assert rules.problems(spec(*overrides)) == []

"""[reward.learning]: what cannot learn, from what and when; and the judge that only it may start with."""

from __future__ import annotations

from typing import Any

import pytest

from trainer import launch, presets
from trainer.errors import SpecError
from trainer.presets import methods
from trainer.presets.engines import why_not_unsloth
from trainer.spec import RunSpec

MODEL = {"function": "reward_model", "name": "judge", "params": {"model": "someone/judge"}}
RULE = {"function": "exact_match", "name": "rule", "weight": 0.0}
BASE: dict[str, Any] = {
    "model": {"name": "Qwen/Qwen3-0.6B"},
    "data": {"path": "rows.jsonl"},
    "reward": {"components": [MODEL, RULE], "learning": {"component": "judge", "rule": "rule", "every_steps": 4}},
}


def parsed(*overrides: str, components: list[dict[str, Any]] | None = None) -> RunSpec:
    raw = BASE if components is None else BASE | {"reward": BASE["reward"] | {"components": components}}
    return presets.parse(presets.merge(raw, overrides), "mine.toml")


def problems(*overrides: str, components: list[dict[str, Any]] | None = None) -> list[tuple[str, str]]:
    try:
        parsed(*overrides, components=components)
    except SpecError as error:
        return [(problem.place, problem.key) for problem in error.problems]
    return []


PLACE = "reward.learning.component"
STEPS = {"function": "process_reward_model", "name": "steps", "params": {"model": "someone/judge"}}
LABELS = MODEL | {"params": {"model": "someone/judge", "activation": "softmax", "label": 1}}


@pytest.mark.parametrize(
    ("overrides", "components", "place", "key"),
    [
        (["reward.learning.component=jugde"], None, PLACE, "presets.learner_unknown"),
        (["reward.learning.component=rule", "reward.learning.rule=judge"], None, PLACE, "presets.learner_is_no_model"),
        (["reward.learning.component=rule"], [RULE | {"weight": 1.0}], PLACE, "presets.nothing_learns"),
        (["reward.learning.component=steps"], [STEPS, RULE], PLACE, "presets.nothing_learns"),
        ([], [LABELS, RULE], PLACE, "presets.learner_of_several_labels"),
        (["reward.learning.rule=ruel"], None, "reward.learning.rule", "presets.learner_without_rule"),
        (["reward.learning.rule=judge"], None, "reward.learning.rule", "presets.learner_is_its_own_rule"),
        (["reward.learning.every_steps="], None, "reward.learning.every_steps", "presets.learner_without_rounds"),
        (["reward.supervision=process"], None, "reward.supervision", "presets.learner_of_steps"),
        (["model.engine=unsloth"], None, "model.engine", "presets.learner_under_unsloth"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.startswith("presets.") else "",
)
def test_what_cannot_learn_is_refused(
    overrides: list[str], components: list[dict[str, Any]] | None, place: str, key: str
) -> None:
    assert problems() == []
    assert (place, key) in problems(*overrides, components=components)


@pytest.mark.parametrize("value", ["0.91", "-0.1", "1"])
def test_the_share_that_is_replayed_is_bounded(value: str) -> None:
    assert [place for place, _ in problems(f"reward.learning.replay={value}")] == ["reward.learning.replay"]
    assert problems("reward.learning.replay=0.9") == problems("reward.learning.replay=0") == []


def test_both_sentences_name_what_to_type() -> None:
    with pytest.raises(SpecError) as caught:
        parsed("reward.learning.component=jugde", "reward.learning.rule=ruel")
    said = str(caught.value)
    assert 'reward.learning.component = "judge"' in said and 'reward.learning.rule = "rule"' in said


def test_rounds_follow_the_reference_where_no_length_is_given() -> None:
    spec, plan = launch.prepare("tiny-iterative", ["reward.learning.every_steps=", "grpo.ref_update_steps=20"])
    assert spec.reward.learning is not None and spec.reward.learning.every_steps is None
    assert plan.reward_model_every == plan.ref_update_steps == 20


def test_a_judge_in_a_sum_can_learn() -> None:
    nested = {"function": "sum", "name": "both", "components": [MODEL, RULE | {"weight": 1.0}]}
    spec = parsed(components=[nested])
    assert spec.reward.learner is not None and spec.reward.learner.title == "judge"


@pytest.mark.parametrize("function", ["reward_model", "process_reward_model"])
def test_a_random_head_judges_only_where_it_learns(function: str) -> None:
    built_in = MODEL | {"params": {"model": "builtin/tiny-qwen3"}}
    assert problems(components=[built_in, RULE]) == []
    other = {"function": function, "name": "other", "params": {"model": "builtin/tiny-qwen3"}}
    refused = ("reward.components.2.params.model", "presets.judge_knows_nothing")
    assert refused in problems(components=[built_in, RULE, other])
    unknown = MODEL | {"params": {"model": "builtin/large"}}
    assert problems(components=[unknown, RULE]) == [("reward.components.0.params.model", "presets.no_builtin_model")]


def test_methods_that_pay_nothing_meanwhile_do_not_read_it() -> None:
    overrides = ["run.method=dpo", "reward.learning.every_steps=8"]
    spec = parsed(*overrides)
    assert spec.reward.learning is None
    (said,) = methods.unread([spec], overrides)
    assert said.values["keys"] == ["reward.learning.every_steps"]
    assert parsed("run.method=online_rft").reward.learning is not None
    assert not methods.is_unread("reward.learning.every_steps", "online_rft")
    assert not methods.is_unread("reward.correct", "dpo")


def test_auto_takes_no_unsloth() -> None:
    why = why_not_unsloth(parsed(), on_gpu=True, has_unsloth=True)
    assert why is not None and why.key == "presets.learner_without_unsloth"
    assert why_not_unsloth(parsed("reward.learning="), on_gpu=True, has_unsloth=True) is None


@pytest.mark.parametrize("language", ["en", "ko"])
def test_every_refusal_can_be_said(language: str) -> None:
    from trainer.text import words

    say = words(language)
    for overrides in (["reward.learning.component=x", "reward.learning.rule=y", "reward.learning.every_steps="],):
        with pytest.raises(SpecError) as caught:
            parsed(*overrides)
        for problem in caught.value.problems:
            said = problem.said(say)
            assert said.where and said.what and said.fix and "{" not in said.what + said.fix

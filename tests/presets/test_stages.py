"""`[[stage]]`: what each stage becomes, what is typed over them, and what of them does not fit together."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from trainer import presets
from trainer.errors import SpecError
from trainer.presets import methods, stages
from trainer.ui.train import toml

TINY = "tiny-stages"


def later(*overrides: str) -> Any:
    spec = presets.load(TINY, overrides)
    return spec, stages.later(spec)[0]


def wrong(*stage: dict[str, Any], overrides: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    raw = presets.tables(presets.find(TINY)) | ({"stage": list(stage)} if stage else {})
    found = presets.draft(raw, overrides, "test")
    assert found.spec is None
    return [(problem.place, problem.key) for problem in found.problems]


def test_each_stage_is_the_preset_with_its_own_sections() -> None:
    first, second = later()
    assert (first.run.method, second.run.method) == ("sft", "grpo")
    assert first.optim.learning_rate == 1e-3 and second.optim.learning_rate == 3e-4
    assert first.data == second.data and first.reward == second.reward
    assert first.chain is not None and (first.chain.name, first.chain.number, first.chain.count) == ("sft", 1, 2)
    assert first.chain.following[0].start == "best"


def test_a_typed_key_is_one_of_all_stages() -> None:
    first, second = later("optim.max_steps=7")
    assert first.optim.max_steps == second.optim.max_steps == 7


def test_a_key_of_one_stage() -> None:
    first, second = later("stage.1.optim.max_steps=7", "stage.1.from=last")
    assert first.optim.max_steps == 70 and second.optim.max_steps == 7
    assert first.chain is not None and first.chain.following[0].start == "last"


def test_a_key_that_no_stage_has_is_explained_as_without_stages() -> None:
    with pytest.raises(SpecError) as caught:
        presets.load(TINY, ["stage.1.optim.max_stepz=7"])
    assert "max_steps" in str(caught.value)


@pytest.mark.parametrize(("preset", "stays"), [("tiny", False), ("tiny-qlora", True)])
def test_a_warm_start_is_of_the_first_stage_and_of_what_an_adapter_lies_on(preset: str, stays: bool) -> None:
    raw = presets.tables(presets.find(preset))
    raw["stage"] = [{"name": "a", "run": {"method": "sft"}}, {"name": "b"}]
    spec = presets.parse(raw, "test")
    assert spec.model.warm_start is not None
    assert (stages.later(spec)[0].model.warm_start is not None) == stays


def test_an_adapter_needs_the_same_base_in_every_stage() -> None:
    raw = presets.tables(presets.find("tiny-qlora"))
    raw["stage"] = [{"name": "a"}, {"name": "b", "run": {"seed": 7}}]
    found = presets.draft(raw, (), "test")
    assert [problem.place for problem in found.problems] == ["stage.1.run.seed"]


def test_a_typed_key_reaches_a_list_that_a_stage_has_of_its_own() -> None:
    raw = presets.tables(presets.find(TINY))
    raw["stage"][1]["reward"] = {"components": [{"function": "exact_match", "name": "correct", "weight": 1.0}]}
    spec = presets.draft(raw, ("reward.components.0.weight=2",), "test").spec
    assert spec is not None
    assert spec.reward.components[0].weight == stages.later(spec)[0].reward.components[0].weight == 2.0


def test_what_is_written_as_toml_is_read_as_the_same_stages() -> None:
    spec = presets.load(TINY, ["stage.1.from=last"])
    again = presets.parse(tomllib.loads(toml.written(spec, [])), "test")
    assert again == spec


def test_a_chain_is_not_typed() -> None:
    raw = presets.tables(presets.find("tiny")) | {"chain": {"name": "a"}}
    assert [problem.key for problem in presets.draft(raw, (), "test").problems] == ["presets.chain_typed"]


def test_a_key_that_one_of_the_stages_reads_is_read() -> None:
    spec = presets.load(TINY, ["grpo.beta=0.1"])
    assert methods.unread([spec, *stages.later(spec)], ["grpo.beta=0.1"]) == []
    assert methods.unread([spec], ["grpo.beta=0.1"]) != []


def test_weights_are_handed_on_between_the_same_models_only() -> None:
    assert wrong({"name": "a"}, {"name": "b", "model": {"name": "builtin/tiny-korean"}}) == [
        ("stage.1.model.name", "presets.stage_other")
    ]
    assert wrong({"name": "a", "lora": {"enabled": True}}, {"name": "b", "lora": {"enabled": True, "r": 4}}) == [
        ("stage.1.lora.r", "presets.stage_other")
    ]
    assert wrong({"name": "a"}, {"name": "b", "lora": {"enabled": True}}) == [
        ("stage.1.lora.enabled", "presets.stage_other")
    ]


def test_what_is_wrong_in_a_stage_is_said_with_its_key() -> None:
    assert wrong({"name": "a"}, {"name": "b", "optim": {"max_steps": 0}})[0][0] == "stage.1.optim.max_steps"
    assert [place for place, _ in wrong({"name": "a"}, {"name": "b"}, overrides=("optim.max_steps=0",))] == [
        "optim.max_steps"
    ]


@pytest.mark.parametrize(
    ("given", "place", "key"),
    [
        (({"name": "A b"},), "stage.0.name", "presets.stage_name"),
        (({},), "stage.0.name", "presets.stage_name"),
        (({"name": "a"}, {"name": "a"}), "stage.1.name", "presets.stage_twice"),
        (({"name": "a"}, {"name": "b", "from": "newest"}), "stage.1.from", "presets.stage_from"),
        (({"name": "a", "from": "best"},), "stage.0.from", "presets.stage_from_first"),
    ],
)
def test_names_and_beginnings(given: tuple[dict[str, Any], ...], place: str, key: str) -> None:
    assert wrong(*given) == [(place, key)]


def test_stages_that_are_no_tables() -> None:
    for stage in ("sft", [], ["sft"]):
        raw = presets.tables(presets.find(TINY)) | {"stage": stage}
        assert presets.draft(raw, (), "test").problems[0].key == "presets.stages_no_list"


JUDGED = "tiny-two-stages"


def judged(*stage: dict[str, Any]) -> list[tuple[str, str]]:
    raw = presets.tables(presets.find(JUDGED)) | {"stage": list(stage)}
    return [(problem.place, problem.key) for problem in presets.draft(raw, (), "test").problems]


def rewarded_by(name: str, model: str) -> dict[str, Any]:
    return {
        "name": name,
        "reward": {
            "correct": "j",
            "components": [{"function": "reward_model", "name": "j", "params": {"model": model}}],
        },
    }


def test_a_reward_names_an_earlier_stage_that_trains_a_reward_model() -> None:
    judge = {"name": "judge", "run": {"method": "reward_model"}}
    place = "reward.components.0.params.model"
    assert judged(judge, rewarded_by("rl", "stage:judge")) == []
    assert judged(judge, rewarded_by("rl", "stage:jugde")) == [(f"stage.1.{place}", "presets.judge_of_no_stage")]
    assert judged(rewarded_by("rl", "stage:judge"), judge) == [(f"stage.0.{place}", "presets.judge_before_any")]
    assert judged({"name": "sft", "run": {"method": "sft"}}, rewarded_by("rl", "stage:sft")) == [
        (f"stage.1.{place}", "presets.judge_before_any")
    ]


def test_the_warm_start_stays_until_a_stage_has_trained_a_policy() -> None:
    judge = {"name": "judge", "run": {"method": "reward_model"}}
    raw = presets.tables(presets.find(JUDGED))
    raw["stage"] = [judge, rewarded_by("rl", "stage:judge"), judge | {"name": "again"}]
    spec = presets.parse(raw, "test")
    assert spec.model.warm_start is not None
    assert [each.model.warm_start is not None for each in stages.later(spec)] == [True, False]

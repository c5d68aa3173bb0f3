"""run.method: what a method does not read goes and is said, what it cannot do is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trainer import launch, presets
from trainer.data import sources
from trainer.errors import DataError, SpecError
from trainer.presets import methods
from trainer.presets.engines import why_not_unsloth
from trainer.run import settings
from trainer.spec import training_arguments, trl_table

BASE: dict[str, Any] = {
    "model": {"name": "Qwen/Qwen3-0.6B"},
    "data": {"path": "rows.jsonl"},
    "reward": {"components": [{"function": "exact_match"}]},
}


def pairs(method: str, *overrides: str, **tables: Any) -> list[tuple[str, str]]:
    """(place, key) of what is wrong."""
    try:
        presets.parse(presets.merge(BASE | tables, [f"run.method={method}", *overrides]), "mine.toml")
    except SpecError as error:
        return [(problem.place, problem.key) for problem in error.problems]
    return []


def problems(method: str, *overrides: str, **tables: Any) -> dict[str, str]:
    return dict(pairs(method, *overrides, **tables))


@pytest.mark.parametrize("method", ["sft", "rft", "dpo", "reward_model"])
def test_an_argument_that_the_trainer_has_not_is_refused_by_name(method: str) -> None:
    refused = ("trl.use_vllm=true", "trl.entropy_coef=0.1", "trl.top_entropy_quantile=0.8")
    assert problems(method, *refused) == dict.fromkeys((each.split("=")[0] for each in refused), "presets.trl_of_grpo")
    assert problems("grpo", "trl.top_entropy_quantile=0.8") == {}
    read = ("trl.weight_decay=0.1", "trl.adam_beta2=0.99", "trl.neftune_noise_alpha=5.0")
    home = [each for each in read if each.split("=")[0].removeprefix("trl.") in training_arguments()]
    assert not set(problems(method, *home).values()) & {"presets.trl_of_grpo"}
    assert problems(method, "trl.generation_kwargs.top_p=0.9", "trl.chat_template_kwargs.enable_thinking=false") == {}


def test_the_arguments_of_every_training_are_some_of_grpos() -> None:
    assert {"weight_decay", "adam_beta1", "dataloader_num_workers"} <= training_arguments() < trl_table().keys()
    assert not training_arguments() & {"use_vllm", "beta", "num_generations", "shuffle_dataset"}


@pytest.mark.parametrize("method", ["sft", "rft", "dpo", "reward_model"])
def test_vllm_writes_no_examples(method: str) -> None:
    found = problems(method, "model.fast_inference=true", "model.engine=transformers", "lora.enabled=true")
    assert found["model.fast_inference"].startswith("presets.vllm_")
    with pytest.raises(SpecError, match="vLLM writes completions for GRPO only"):
        presets.parse(presets.merge(BASE, [f"run.method={method}", "model.fast_inference=true"]), "mine.toml")


@pytest.mark.parametrize("method", ["dpo", "reward_model"])
def test_dpo_and_reward_models_do_without_unsloth(method: str) -> None:
    assert problems(method, "model.engine=unsloth") == {"model.engine": f"presets.{method}_under_unsloth"}
    for chosen, wanted in ((method, f"presets.{method}_without_unsloth"), ("sft", None)):
        spec = presets.parse(presets.merge(BASE, [f"run.method={chosen}"]), "mine.toml")
        why = why_not_unsloth(spec, on_gpu=True, has_unsloth=True)
        assert (why.key if why is not None else None) == wanted


def test_a_reward_model_is_not_made_in_4_bits() -> None:
    refused = {"model.load_in_4bit": "presets.reward_model_in_4bit"}
    assert problems("reward_model", "model.load_in_4bit=true") == refused
    assert problems("dpo", "model.load_in_4bit=true") == {}


@pytest.mark.parametrize(
    ("typed", "place", "key"),
    [
        ("generation.steps_per_generation=4", "generation.steps_per_generation", "presets.online_rft_off_policy"),
        ("generation.generation_batch_size=64", "generation.generation_batch_size", "presets.online_rft_off_policy"),
        ("sampling.replay=4", "sampling.replay", "presets.not_with_online_rft"),
        ("sampling.max_rounds=3", "sampling.max_rounds", "presets.not_with_online_rft"),
        ("sampling.skip_dead=true", "sampling.skip_dead", "presets.not_with_online_rft"),
        ("sampling.group_size=spread", "sampling.group_size", "presets.not_with_online_rft"),
        ("reward.supervision=process", "reward.supervision", "presets.not_with_online_rft"),
    ],
)
def test_what_online_rft_cannot_do(typed: str, place: str, key: str) -> None:
    batch = {"optim": {"per_device_train_batch_size": 16, "gradient_accumulation_steps": 2}}
    assert problems("online_rft", **batch) == {}
    assert (place, key) in pairs("online_rft", typed, **batch)
    assert (place, key) not in pairs("grpo", typed, **batch)


def test_whole_phases_in_an_update_are_allowed() -> None:
    batch = {"optim": {"per_device_train_batch_size": 16, "gradient_accumulation_steps": 4}}
    assert problems("online_rft", "generation.steps_per_generation=4", **batch) == {}
    assert problems("online_rft", "generation.steps_per_generation=2", **batch) == {}
    assert problems("online_rft", "generation.generation_batch_size=64", **batch) == {}


@pytest.mark.parametrize(
    ("method", "typed", "unread"),
    [
        ("sft", "grpo.beta=0.1", True),
        ("sft", "sampling.max_rounds=2", True),
        ("sft", "generation.steps_per_generation=2", True),
        ("sft", "generation.temperature=0.7", False),
        ("sft", "dpo.beta=0.2", True),
        ("dpo", "dpo.beta=0.2", False),
        ("dpo", "lora.dropout=0.1", True),
        ("sft", "lora.dropout=0.1", False),
        ("reward_model", "lora.dropout=0.1", True),
        ("reward_model", "eval.pass_at=[1]", True),
        ("reward_model", "eval.eval_steps=5", False),
        ("reward_model", "reward_model.objective=pointwise", False),
        ("dpo", "reward_model.objective=pointwise", True),
        ("online_rft", "grpo.beta=0.1", True),
        ("online_rft", "grpo.loss_type=dapo", False),
        ("grpo", "grpo.beta=0.1", False),
        ("grpo", "rft.per_prompt=2", True),
        ("sft", "grpo.beta=", False),
    ],
)
def test_a_typed_setting_that_nothing_reads_is_said(method: str, typed: str, unread: bool) -> None:
    overrides = [f"run.method={method}", typed]
    said = methods.unread([presets.load("tiny", overrides)], overrides)
    assert [message.values["keys"] for message in said] == ([[typed.split("=")[0]]] if unread else [])


def test_it_stands_in_the_plan_and_a_presets_own_values_do_not() -> None:
    spec, plan = launch.prepare("tiny", ["run.method=sft", "grpo.beta=0.1"])
    assert [said.values["keys"] for said in plan.warnings if said.key == "presets.advice.unread_of_method"] == [
        ["grpo.beta"]
    ]
    assert spec.grpo.beta == 0
    _, plan = launch.prepare("tiny", ["run.method=sft"])
    assert "presets.advice.unread_of_method" not in [said.key for said in plan.warnings]


def test_what_a_recipe_sets_and_nothing_reads_is_said() -> None:
    _, plan = launch.prepare("tiny", ["run.method=sft"], ["dapo"])
    (said,) = [said for said in plan.warnings if said.key == "presets.advice.unread_of_method"]
    assert "grpo.epsilon_high" in said.values["keys"]


# ---- rows


def sft(tmp_path: Path, rows: list[dict[str, Any]], *overrides: str) -> Any:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
    raw = BASE | {"data": {"path": str(file)}}
    return sources.inspect(presets.parse(presets.merge(raw, ["run.method=sft", *overrides]), "mine.toml"))


ROWS = [{"prompt": "a?", "answer": "1", "thought": "so"}, {"prompt": "b?", "answer": "2", "thought": "thus"}]


def test_rows_need_the_columns_of_what_is_taught(tmp_path: Path) -> None:
    assert sft(tmp_path, ROWS, "sft.completion_template={thought}: {answer}").rows == 2
    with pytest.raises(DataError, match=r"rows.jsonl:1: has no column though\b.*data\.columns\.though=thought"):
        sft(tmp_path, ROWS, "sft.completion_template={though}: {answer}")
    with pytest.raises(DataError, match="has no column solution"):
        sft(tmp_path, ROWS, "reward.gold_template={solution}")
    assert sft(tmp_path, ROWS, "reward.gold_template={solution}", "sft.completion_template={answer}").rows == 2


def test_a_row_without_a_value_would_teach_the_word_none(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        sft(tmp_path, [*ROWS, {"prompt": "c?", "answer": "3", "thought": None}], "sft.completion_template={thought}")
    assert [problem.key for problem in caught.value.problems] == ["data.null"]


def test_a_template_that_cannot_be_read_or_names_no_column(tmp_path: Path) -> None:
    wrong = {"{answer": "presets.template_unreadable", "yes": "presets.template_without_column"}
    for template, key in wrong.items():
        assert problems("sft", f"sft.completion_template={template}") == {"sft.completion_template": key}
        assert problems("grpo", f"sft.completion_template={template}") == {}
    key = "sft.completion_template"
    assert problems("sft", f"{key}={{answer!r}}") == {key: "presets.template_field"}


# ---- what decides the weights


@pytest.mark.parametrize(
    ("method", "key", "decides"),
    [
        ("grpo", "correct_at", False),
        ("rft", "correct_at", True),
        ("online_rft", "correct_at", True),
        ("dpo", "correct_at", False),
        ("sft", "correct_at", False),
        ("sft", "gold_template", True),
        ("grpo", "gold_template", False),
    ],
)
def test_settings_that_choose_the_examples_decide_the_weights(method: str, key: str, decides: bool) -> None:
    spec = presets.load("tiny", [f"run.method={method}"])
    assert (key in settings.recorded(spec)["settings"]["reward"]) == decides

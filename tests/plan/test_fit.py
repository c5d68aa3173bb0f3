"""Suggestions: each one, typed as it is shown, gives a legal run that fits; and what is said when none does."""

from __future__ import annotations

import math
import re
import shlex
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from trainer import memory, plan, presets
from trainer.errors import PlanError
from trainer.memory import known
from trainer.plan import card, estimate, fit, levers
from trainer.plan.estimate import Machine
from trainer.spec import RunSpec
from trainer.text import words as words_of

EN = words_of("en")

RAW: dict[str, Any] = {
    "model": {"name": "Qwen/Qwen3-8B", "device": "cuda"},
    "data": {"path": "rows.jsonl"},
    "reward": {"components": [{"function": "exact_match"}]},
}


def spec(*overrides: str, raw: dict[str, Any] = RAW) -> RunSpec:
    return presets.parse(presets.merge(raw, overrides), "mine.toml")


def typed(suggestion: fit.Suggestion) -> list[str]:
    """The overrides as a shell hands them over."""
    words = shlex.split(" ".join(suggestion.typed()))
    assert words[::2] == ["--set"] * len(suggestion.changes)
    return words[1::2]


def flat(text: str) -> str:
    return re.sub(r"\s+", " ", text)


# ---- every suggestion is legal and fits

MODELS = (
    "unsloth/gemma-3-27b-it-unsloth-bnb-4bit", "google/gemma-3-4b-it", "Qwen/Qwen3-8B", "Qwen/Qwen3-4B-Instruct-2507",
    "unsloth/Qwen3-14B-bnb-4bit", "Qwen/Qwen3-8B-FP8", "openai/gpt-oss-20b", "meta-llama/Llama-3.2-3B-Instruct",
    "Qwen/Qwen2.5-7B-Instruct",
)  # fmt: skip
CHOSEN = st.fixed_dictionaries(
    {
        "model.name": st.sampled_from(MODELS),
        "model.engine": st.sampled_from(["auto", "transformers", "unsloth"]),
        "model.device": st.sampled_from(["auto", "cpu", "cuda"]),
        "model.gradient_checkpointing": st.sampled_from(["true", "false"]),
        "lora.enabled": st.sampled_from(["true", "true", "false"]),
        "lora.r": st.sampled_from([4, 17, 64]),
        "optim.optim": st.sampled_from(["adamw_torch", "adamw_8bit", "sgd"]),
        "generation.max_completion_length": st.sampled_from([17, 512, 4096]),
        "data.max_prompt_length": st.sampled_from([17, 512, 4096]),
        "data.eval_fraction": st.sampled_from(["", 0.1]),
        "grpo.num_iterations": st.integers(1, 3),
        "grpo.beta": st.sampled_from([0, 0.1]),
        "grpo.scale_rewards": st.sampled_from(["group", "batch"]),
    }
)
VLLM_OF_TRL = st.fixed_dictionaries(
    {
        "trl.use_vllm": st.just("true"),
        "model.engine": st.just("transformers"),
        "trl.vllm_gpu_memory_utilization": st.sampled_from([0.2, 0.45, 0.95]),
    }
)
VLLM = st.fixed_dictionaries(
    {
        "model.engine": st.just("unsloth"),
        "model.device": st.just("cuda"),
        "model.fast_inference": st.just("true"),
        "lora.enabled": st.just("true"),
        "model.standby": st.sampled_from(["true", "false"]),
        "model.gpu_memory_utilization": st.sampled_from([0.2, 0.45, 0.6, 0.95]),
    }
)


@st.composite
def batches(draw: st.DrawFn) -> dict[str, Any]:
    """Batches with whole groups: phases of one update, of several, or updates of several phases."""
    group, micro = draw(st.sampled_from([2, 4, 6, 8, 16])), draw(st.integers(1, 48))
    steps = group // math.gcd(group, micro) * draw(st.integers(1, 6))
    made = {"optim.per_device_train_batch_size": micro, "generation.num_generations": group}
    several = draw(st.integers(1, 4))
    kind = draw(st.sampled_from(["default", "phases", "updates", "size"]))
    made["optim.gradient_accumulation_steps"] = steps * several if kind == "phases" else steps
    if kind in ("phases", "updates"):
        made["generation.steps_per_generation"] = steps if kind == "phases" else steps * several
    if kind == "size":
        made["generation.generation_batch_size"] = micro * steps * several
    if draw(st.booleans()):
        made["optim.max_steps"] = 12 * draw(st.integers(1, 3))
    return made


MACHINES = st.fixed_dictionaries(
    {
        "gpu_total_gib": st.sampled_from([None, 4.0, 7.8, 11.8, 15.0, 23.6, 47.0, 79.6]),
        "ram_gib": st.sampled_from([None, 4.0, 31.3, 251.0]),
        "has_unsloth": st.booleans(),
        "world_size": st.sampled_from([1, 1, 2]),
    }
)


@settings(max_examples=150, deadline=None)
@given(CHOSEN, st.just({}) | VLLM | VLLM_OF_TRL, batches(), st.sampled_from([None, 64, 5000]), MACHINES)
def test_every_suggestion_typed_as_shown_is_legal_and_fits(
    chosen: dict[str, Any], vllm: dict[str, Any], batch: dict[str, Any], rows: int | None, machine: dict[str, Any]
) -> None:
    overrides = [f"{key}={value}" for key, value in (chosen | vllm | batch).items()]
    try:
        before = plan.make(spec(*overrides), rows, **machine)
    except PlanError:
        assume(False)
        raise
    assert before.memory_verdict in ("tight", "does not fit") or not before.suggestions
    assert len(before.suggestions) <= fit.MOST
    for suggestion in before.suggestions:
        after = plan.make(spec(*overrides, *typed(suggestion)), rows, **machine)
        assert after.memory_verdict in ("fits", "tight")
        assert after.memory_verdict == "fits" or before.memory_verdict == "does not fit"
        assert after.memory_total_gib == pytest.approx(suggestion.total_gib, rel=1e-4)
        assert suggestion.changes and suggestion.effects
    if before.memory_verdict == "does not fit" and not before.suggestions:
        assert any(
            "no change of settings makes it fit" in str(note) or "vLLM would not start" in str(note)
            for note in before.notes
        )


# ---- which suggestions


def first(*overrides: str, gpu: float, rows: int | None = 5000) -> fit.Suggestion:
    return plan.make(spec(*overrides), rows, gpu_total_gib=gpu, has_unsloth=False).suggestions[0]


def test_smaller_micro_batch_with_the_same_optimizer_step_comes_first() -> None:
    sizes = ("optim.per_device_train_batch_size=16", "optim.gradient_accumulation_steps=2")
    found = first(*sizes, gpu=31.0)
    changed = dict(found.changes)
    assert set(changed) == {"optim.per_device_train_batch_size", "optim.gradient_accumulation_steps"}
    before = plan.make(spec(*sizes), 5000)
    after = plan.make(spec(*sizes, *typed(found)), 5000)
    assert after.completions_per_update == before.completions_per_update == 32
    assert after.completions_per_phase == before.completions_per_phase
    assert found.effect(EN) == "the same optimizer step in more, smaller passes"


def test_fewer_completions_at_once_where_generation_is_the_peak() -> None:
    sizes = ("optim.per_device_train_batch_size=2", "optim.gradient_accumulation_steps=256")
    found = first(*sizes, gpu=31.0)
    assert "generation.steps_per_generation" in dict(found.changes)
    after = plan.make(spec(*sizes, *typed(found)), 5000)
    assert after.completions_per_update == 512
    assert after.on_policy


def test_generation_batch_size_stays_the_key_that_was_used() -> None:
    sizes = ("optim.per_device_train_batch_size=2", "optim.gradient_accumulation_steps=256")
    found = first(*sizes, "generation.generation_batch_size=512", gpu=31.0)
    assert "generation.generation_batch_size" in dict(found.changes)
    assert "generation.steps_per_generation" not in dict(found.changes)


def test_four_bit_only_with_adapters() -> None:
    keys = {key for each in plan.make(spec(), 500, gpu_total_gib=15.0).suggestions for key, _ in each.changes}
    assert "model.load_in_4bit" in keys
    full = plan.make(spec("lora.enabled=false"), 500, gpu_total_gib=79.6)
    assert full.memory_verdict == "does not fit"
    assert "model.load_in_4bit" not in {key for each in full.suggestions for key, _ in each.changes}


def test_eight_bit_states_are_for_a_gpu() -> None:
    full = ("lora.enabled=false", "model.name=Qwen/Qwen3-1.7B")
    gpu = list(levers._optimizer(spec(*full), plan.batch_of(spec(*full), 10), Machine(gpu_total_gib=24.0)))
    cpu = spec(*full, "model.device=cpu")
    assert gpu == [{"optim.optim": "adamw_8bit"}]
    assert list(levers._optimizer(cpu, plan.batch_of(cpu, 10), Machine(ram_gib=31.0))) == []


def test_smaller_adapters_keep_their_scale() -> None:
    made = spec("lora.r=64", "lora.alpha=32")
    steps = list(levers._rank(made, plan.batch_of(made, 10), Machine()))
    assert [step["lora.r"] for step in steps] == [32, 16, 8, 4]
    assert all(step["lora.alpha"] == step["lora.r"] / 2 for step in steps)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("name", "smaller"),
    [
        ("unsloth/gemma-3-12b-it-unsloth-bnb-4bit",
         ["unsloth/gemma-3-4b-it-unsloth-bnb-4bit", "unsloth/gemma-3-1b-it-unsloth-bnb-4bit"]),
        ("Qwen/Qwen3-4B", ["Qwen/Qwen3-1.7B", "Qwen/Qwen3-0.6B"]),
        ("meta-llama/Llama-3.2-3B-Instruct", ["meta-llama/Llama-3.2-1B-Instruct"]),
        ("Qwen/Qwen3-4B-Instruct-2507", []),
        ("openai/gpt-oss-20b", []),
        ("somebody/Qwen3-8B", []),
        ("builtin/tiny-qwen3", []),
    ],
)  # fmt: skip
def test_smaller_models_of_the_family(name: str, smaller: list[str]) -> None:
    assert levers.smaller_models(name) == smaller
    assert all(known.of(each) is not None for each in smaller)


def test_prompts_are_not_shortened_where_a_longer_one_is_an_error() -> None:
    made = spec("data.overlong=error")
    assert list(levers._prompt(made, plan.batch_of(made, 10), Machine())) == []


def test_revision_of_another_repository_is_taken_out() -> None:
    made = spec("model.revision=abc123", "optim.per_device_train_batch_size=1", "optim.gradient_accumulation_steps=8")
    planned = plan.make(made, 500, gpu_total_gib=7.8, has_unsloth=False)
    words = next(typed(each) for each in planned.suggestions if "model.name" in dict(each.changes))
    assert "model.revision=" in words


# ---- what is compared with what


def test_a_run_on_a_cpu_is_compared_with_ram() -> None:
    planned = plan.make(spec("model.device=cpu"), 500, gpu_total_gib=79.6, ram_gib=15.6)
    assert (planned.memory_on, planned.memory_limit_gib, planned.memory_verdict) == ("RAM", 15.6, "does not fit")
    assert planned.fits_gb == []
    assert "RAM: 15.6 GiB -> does not fit" in card.render(spec(), planned, EN)


def test_without_a_gpu_the_sizes_that_hold_it_are_named() -> None:
    planned = plan.make(presets.load("gemma27b"), 7473)
    assert planned.fits_gb == [24, 48, 80]
    text = card.render(presets.load("gemma27b"), planned, EN)
    assert "no GPU here" in text
    assert "fits GPUs of 24, 48, 80 GB (counted as 0.98 GiB for each GB)" in flat(text)
    assert planned.suggestions == []


def test_auto_is_unsloth_only_on_a_gpu_and_where_it_is_installed() -> None:
    made, gpu = spec("model.device=auto"), Machine(gpu_total_gib=24.0)
    assert estimate.runs_unsloth(made, gpu)
    assert not estimate.runs_unsloth(made, Machine(gpu_total_gib=24.0, has_unsloth=False))
    assert not estimate.runs_unsloth(made, Machine(ram_gib=24.0))
    assert not estimate.runs_unsloth(spec("model.name=builtin/tiny-qwen3"), gpu)  # as the worker decides
    assert not estimate.runs_unsloth(spec("model.dtype=float32"), gpu)


def test_original_gpt_oss_is_unpacked_by_plain_transformers() -> None:
    made = spec("model.name=openai/gpt-oss-20b", "model.engine=transformers")
    weights = {part.name: part.gib for part in plan.make(made, 500).memory}["weights"]
    assert weights == pytest.approx(20_914_757_184 * 2 / memory.GIB, rel=0.02)
    packed = {part.name: part.gib for part in plan.make(spec("model.name=openai/gpt-oss-20b"), 500).memory}["weights"]
    assert packed < weights / 2.5


def test_name_of_the_repository_makes_it_4_bit() -> None:
    name = "model.name=unsloth/gemma-3-27b-it-unsloth-bnb-4bit"
    off, on = (plan.make(spec(name, f"model.load_in_4bit={value}"), 500) for value in ("false", "true"))
    assert off.memory == on.memory


def test_vllm_that_would_not_start_is_said() -> None:
    made = spec("model.engine=unsloth", "model.fast_inference=true", "model.standby=false",
                "model.gpu_memory_utilization=0.3")  # fmt: skip
    planned = plan.make(made, 500, gpu_total_gib=47.0)
    assert planned.memory_verdict == "does not fit"
    assert any("vLLM would not start" in str(note) for note in planned.notes)
    assert planned.suggestions


def test_a_vllm_of_trl_that_would_not_start_is_said_by_its_own_keys() -> None:
    made = spec("model.engine=transformers", "trl.use_vllm=true", "trl.vllm_gpu_memory_utilization=0.2")
    planned = plan.make(made, 500, gpu_total_gib=23.6)
    assert any("Raise trl.vllm_gpu_memory_utilization" in str(note) for note in planned.notes)
    changed = {name for each in planned.suggestions for name, _ in each.changes}
    assert {"trl.use_vllm", "trl.vllm_gpu_memory_utilization"} & changed


def test_when_nothing_helps_the_smallest_is_said() -> None:
    planned = plan.make(spec("model.name=openai/gpt-oss-20b"), 500, gpu_total_gib=7.8)
    assert planned.suggestions == []
    note = next(str(note) for note in planned.notes if "no change of settings makes it fit" in str(note))
    least = fit.smallest(spec("model.name=openai/gpt-oss-20b"), plan.batch_of(spec(), 500), Machine(gpu_total_gib=7.8))
    assert f"{least:.1f} GiB" in note
    assert least is not None and 7.8 < least < planned.memory_total_gib  # type: ignore[operator]


def test_unknown_model_has_no_suggestions() -> None:
    planned = plan.make(spec("model.name=somebody/new"), 500, gpu_total_gib=8.0)
    assert (planned.suggestions, planned.fits_gb, planned.memory_verdict) == ([], [], "")


# ---- on the card


def test_card_says_what_a_repositorys_name_says_about_its_weights() -> None:
    for name, words in (("Qwen/Qwen3-8B-FP8", "FP8 weights"), ("unsloth/Qwen3-8B-bnb-4bit", "4-bit weights")):
        made = spec(f"model.name={name}")
        assert words in card.render(made, plan.make(made, 500), EN)


@pytest.mark.parametrize("gpu", [7.8, 15.0, 23.6])
def test_card_shows_suggestions_as_lines_to_type(gpu: float) -> None:
    made = presets.load("gemma27b")
    planned = plan.make(made, 7473, gpu_total_gib=gpu)
    text = card.render(made, planned, EN)
    assert planned.suggestions
    assert [line for line in text.splitlines() if len(line) > 80] == []
    shown = flat(text.replace("\\\n", " "))
    for suggestion in planned.suggestions:
        assert " ".join(suggestion.typed()) in shown
        assert f"-> {suggestion.total_gib:.1f} GiB: {suggestion.effect(EN)}" in shown


def test_long_suggestions_are_continued_for_the_shell() -> None:
    sizes = ("optim.per_device_train_batch_size=16", "optim.gradient_accumulation_steps=2")
    made = spec(*sizes)
    text = card.render(made, plan.make(made, 500, gpu_total_gib=31.0, has_unsloth=False), EN)
    assert "  --set optim.per_device_train_batch_size=" in text
    assert " \\\n  --set optim.gradient_accumulation_steps=" in text

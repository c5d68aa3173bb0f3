"""Smaller batches are legal and the same optimizer step; and wherever a legal plan fits, a suggestion is given."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from trainer import plan, presets
from trainer.errors import PlanError
from trainer.plan import batches, card, estimate, fit, smaller
from trainer.plan.batches import Batch
from trainer.plan.estimate import Machine
from trainer.spec import RunSpec
from trainer.text import words

RAW: dict[str, Any] = {
    "model": {"name": "Qwen/Qwen3-0.6B"},
    "data": {"path": "rows.jsonl"},
    "reward": {"components": [{"function": "exact_match"}]},
}
NOTHING = "no change of settings makes it fit"


def every_batch(batch: Batch) -> Iterator[Batch]:
    """Legal ones with the same optimizer step, passes and a phase that are not larger: tried one by one."""
    update, phase = batch.micro * batch.accumulation, batch.micro * batch.steps_per_generation
    for micro in (each for each in range(1, batch.micro + 1) if update % each == 0):
        for steps in range(1, phase // micro + 1):
            size = {"steps": steps} if batch.size is None else {"size": steps * micro * batch.devices}
            made = replace(batch, micro=micro, accumulation=update // micro, **size)
            repeats = steps < made.accumulation and batch.steps_per_generation >= batch.accumulation
            if batches.is_possible(made) and not (batch.iterations > 1 and repeats):
                yield made


@st.composite
def legal(draw: st.DrawFn) -> Batch:
    """Whole groups, whatever the micro-batch: phases of one step, of several, and steps of several phases."""
    group, micro = draw(st.sampled_from([2, 3, 4, 6, 8, 10, 16])), draw(st.integers(1, 36))
    steps, several = group // math.gcd(group, micro) * draw(st.integers(1, 4)), draw(st.integers(1, 4))
    kind = draw(st.sampled_from(["default", "phases", "updates", "size"]))
    batch = Batch(
        micro=micro,
        accumulation=steps * several if kind == "phases" else steps,
        group=group,
        iterations=draw(st.sampled_from([1, 1, 2, 3])),
        devices=draw(st.sampled_from([1, 1, 2, 4])),
        steps=steps if kind == "phases" else steps * several if kind == "updates" else None,
        max_steps=draw(st.sampled_from([None, 12, 50])),
        rows=draw(st.sampled_from([None, 64, 5000])),
    )
    batch = replace(batch, size=micro * steps * several * batch.devices) if kind == "size" else batch
    assume(batches.is_possible(batch))
    return batch


@given(legal())
def test_smaller_batches_are_legal_and_the_same_optimizer_step(batch: Batch) -> None:
    for made in (*smaller.passes(batch), *smaller.phases(batch)):
        assert batches.is_possible(made)
        assert made.completions_per_update == batch.completions_per_update
        assert (made.size is None) == (batch.size is None)
    for made in smaller.passes(batch):
        assert made.micro < batch.micro
        assert made.completions_per_phase == batch.completions_per_phase
    for made in smaller.phases(batch):
        assert made.micro <= batch.micro
        assert made.completions_per_phase < batch.completions_per_phase
    for made in smaller.groups(batch, whole_phase=False):
        assert batches.is_possible(made)
        assert 2 <= made.group < batch.group
        assert made.completions_per_phase <= batch.completions_per_phase
    for made in smaller.groups(batch, whole_phase=True):
        assert made.prompts_per_phase == batch.prompts_per_phase


@given(legal())
def test_no_legal_batch_is_smaller_than_the_smallest_one(batch: Batch) -> None:
    every = list(every_batch(batch))
    phases = [*smaller.phases(batch), batch]
    assert min(made.completions_per_phase for made in phases) == min(made.completions_per_phase for made in every)
    assert min(made.micro for made in (*smaller.passes(batch), batch)) == 1


def test_divisors_are_all_and_huge_numbers_take_no_time() -> None:
    for number in (1, 2, 12, 97, 128, 720):
        assert smaller.divisors(number) == [each for each in range(number, 0, -1) if number % each == 0]
    assert {1, 10**18 + 9} <= set(smaller.divisors(10**18 + 9))
    huge = Batch(micro=10**9, accumulation=1, group=8)
    assert all(batches.is_possible(made) for made in (*smaller.passes(huge), *smaller.phases(huge)))


# ---- wherever a legal plan fits, a suggestion is given

MODELS = ("Qwen/Qwen3-0.6B", "Qwen/Qwen3-8B", "unsloth/Qwen3-14B-bnb-4bit", "google/gemma-3-4b-it")
CHOSEN = st.fixed_dictionaries(
    {
        "model.name": st.sampled_from(MODELS),
        "model.gradient_checkpointing": st.sampled_from(["true", "false"]),
        "lora.enabled": st.sampled_from(["true", "true", "false"]),
        "generation.max_completion_length": st.sampled_from([33, 700, 4096, 30000]),
        "data.eval_fraction": st.sampled_from(["", 0.1]),
        "eval.batch_size": st.sampled_from([1, 32, 100]),
        "grpo.scale_rewards": st.sampled_from(["group", "batch"]),
        "grpo.multi_objective_aggregation": st.sampled_from(["sum_then_normalize", "normalize_then_sum"]),
    }
)
DEVICES = st.sampled_from(
    [
        {"model.device": "cpu", "model.engine": "transformers"},
        {"model.device": "cuda", "model.engine": "transformers"},
        {"model.device": "cuda", "model.engine": "unsloth"},
    ]
    + [
        {"model.device": "cuda", "model.engine": "unsloth", "model.fast_inference": "true", "lora.enabled": "true",
         "model.standby": standby, "model.gpu_memory_utilization": share}
        for standby, share in (("true", 0.6), ("false", 0.3), ("false", 0.9))
    ]
)  # fmt: skip


def fits(made: RunSpec, batch: Batch, machine: Machine) -> bool:
    """In some legal batch with the same optimizer step, or with vLLM switched off as well: tried one by one."""
    specs = [made.model_copy(update={"eval": made.eval.model_copy(update={"batch_size": 1})})]
    if made.model.fast_inference:
        specs.append(specs[0].model_copy(update={"model": made.model.model_copy(update={"fast_inference": False})}))
    limit = estimate.limit_gib(made, machine)
    assert limit is not None
    whole = made.grpo.looks_at_the_batch
    every = (
        other for other in every_batch(batch) if not whole or other.completions_per_phase == batch.completions_per_phase
    )
    return any(
        max(estimate.peaks_gib(each, other, machine) or (math.inf,)) <= limit
        and estimate.vllm_starts(each, other, machine)
        for other in every
        for each in specs
    )


@settings(max_examples=150, deadline=None)
@given(CHOSEN, DEVICES, legal(), st.sampled_from([5.0, 11.8, 23.5, 79.6]))
def test_wherever_a_legal_plan_fits_a_suggestion_is_given(
    chosen: dict[str, Any], device: dict[str, Any], batch: Batch, limit: float
) -> None:
    numbers = {key: getattr(batch, name) for name, key in batches.KEYS.items()}
    overrides = [f"{key}={'' if value is None else value}" for key, value in (chosen | device | numbers).items()]
    made = presets.parse(presets.merge(RAW, overrides), "mine.toml")
    machine = Machine(gpu_total_gib=limit, ram_gib=limit)
    try:
        planned = plan.make(made, batch.rows, world_size=batch.devices, gpu_total_gib=limit, ram_gib=limit)
    except PlanError:
        assume(False)
        raise
    if planned.memory_verdict != "does not fit":
        return
    assert planned.suggestions or not fits(made, batch, machine)
    least = fit.smallest(made, batch, machine)
    assert least is not None
    assert planned.suggestions or least > limit
    if least <= limit:
        assert not any(NOTHING in str(note) for note in planned.notes)


# ---- as typed

EIGHT_B = ("model.device=cpu", "model.engine=transformers", "model.gradient_checkpointing=true",
           "generation.num_generations=8", "optim.gradient_accumulation_steps=1")  # fmt: skip
LONG = ("generation.num_generations=16", "generation.max_completion_length=200000")


@pytest.mark.parametrize(
    ("preset", "overrides"),
    [
        *(("qwen3-8b", (*EIGHT_B, f"optim.per_device_train_batch_size={micro}")) for micro in (64, 128, 136, 1000)),
        ("tiny", (*LONG, "optim.per_device_train_batch_size=16")),
        ("tiny", (*LONG, "optim.per_device_train_batch_size=16", "generation.num_generations=8")),
        ("tiny", ("optim.per_device_train_batch_size=4096", "generation.max_completion_length=2000")),
    ],
)  # fmt: skip
def test_free_levers_together_are_enough(preset: str, overrides: tuple[str, ...]) -> None:
    before = plan.make(presets.load(preset, overrides), 5000, ram_gib=23.5)
    assert before.memory_verdict == "does not fit"
    assert not any(NOTHING in str(note) for note in before.notes)
    changed = [f"{key}={value}" for key, value in before.suggestions[0].changes]
    after = plan.make(presets.load(preset, [*overrides, *changed]), 5000, ram_gib=23.5)
    assert after.memory_verdict in ("fits", "tight")


def test_phases_are_cut_no_further_than_the_memory_asks_for() -> None:
    planned = plan.make(
        presets.load("qwen3-8b", [*EIGHT_B, "optim.per_device_train_batch_size=128"]), 5000, ram_gib=23.5
    )
    first = dict(planned.suggestions[0].changes)
    assert first["optim.per_device_train_batch_size"] == 8
    assert first["generation.steps_per_generation"] == 8


def test_a_prime_micro_batch_is_not_cut_to_one() -> None:
    made = [(each.micro, each.accumulation) for each in smaller.passes(Batch(micro=7, accumulation=4, group=2))]
    assert made == [(4, 7), (2, 14), (1, 28)]


def test_thousands_of_gib_are_written_with_a_comma() -> None:
    made = presets.load("tiny", ["optim.per_device_train_batch_size=8192", "generation.max_completion_length=200000"])
    text = card.render(made, plan.make(made, None, ram_gib=1.0), words("en"))
    assert "42,189" in text
    assert not any(part.isdigit() and len(part) > 3 for line in text.splitlines() if "GiB" in line
                   for part in line.split(".")[0].split())  # fmt: skip

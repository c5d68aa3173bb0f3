"""Expected seconds of a step, against what was measured, and what makes them more or less."""

from __future__ import annotations

import pytest

from trainer import plan, presets
from trainer.machine.gpu_models import gpu_model_named
from trainer.machine.speed import CpuSpeed
from trainer.plan import batch_of, duration
from trainer.plan.duration import TYPICAL, Duration, Processor
from trainer.plan.estimate import Machine
from trainer.text import Message, words

# Of the machine whose times the headers of the presets and these tests have: 2 CPU cores, 2026-11-30.
SPEED = CpuSpeed(core_gflops=97.0, bandwidth_gb_s=26.0)
HERE, BOTH_CORES = Processor.of_cpu(SPEED, 1), Processor.of_cpu(SPEED, 2)


def seconds(preset: str, *changes: str, on: Processor = HERE, gpu_gib: float | None = None) -> float:
    spec = presets.load(preset, changes)
    found = duration.step_seconds(spec, batch_of(spec, None), Machine(gpu_gib, 23.5), on)
    assert found is not None
    return found


def card(name: str) -> Processor:
    found = gpu_model_named(name)
    assert found is not None
    return Processor.of_card(found)


@pytest.mark.parametrize(
    ("preset", "fast", "on", "measured_s"),
    [
        ("tiny", "off", HERE, 0.41), ("tiny-qlora", "off", HERE, 0.45), ("smollm2", "off", BOTH_CORES, 7.7),
        ("tiny", "auto", HERE, 0.18),
    ],
)  # fmt: skip
def test_what_is_counted_is_within_half_of_what_was_measured(
    preset: str, fast: str, on: Processor, measured_s: float
) -> None:
    assert measured_s / 1.5 < seconds(preset, f"run.fast={fast}", on=on) < 1.5 * measured_s


def test_more_completions_longer_ones_and_a_reference_take_longer() -> None:
    base = seconds("tiny")
    assert seconds("tiny", "optim.per_device_train_batch_size=512") > 1.5 * base
    assert seconds("tiny", "generation.max_completion_length=24") > 1.3 * base
    assert seconds("tiny", "grpo.beta=0.1") > base
    assert seconds("tiny", "model.gradient_checkpointing=true") > base


def test_prompts_that_are_computed_once_take_less() -> None:
    long = "data.max_prompt_length=512"
    assert seconds("tiny", long) < 0.3 * seconds("tiny", long, "run.fast=off")
    assert seconds("tiny", long, "grpo.beta=0.1") < 0.3 * seconds("tiny", long, "grpo.beta=0.1", "run.fast=off")
    alone = ("optim.per_device_train_batch_size=1", "generation.steps_per_generation=256")  # nothing to share there
    assert seconds("tiny", long, *alone) > 0.8 * seconds("tiny", long, *alone, "run.fast=off")


def test_what_may_come_again_costs_another_pass() -> None:
    assert seconds("tiny", "sampling.replay=8") > seconds("tiny", "sampling.skip_dead=true")


def test_a_phase_shared_by_several_updates_is_counted_once() -> None:
    small = "optim.per_device_train_batch_size=64"
    shared = seconds("tiny", small, "generation.steps_per_generation=4")
    alone = seconds("tiny", small)
    assert shared < alone + seconds("tiny") / 4  # a quarter of its phase, and what the policy said before


def test_a_faster_card_and_unsloth_take_less() -> None:
    slow, fast = (seconds("gemma3-4b", on=card(name), gpu_gib=24.0) for name in ("RTX 3060", "H100"))
    other = ("model.engine=transformers", "model.gradient_checkpointing=true")
    plain = seconds("gemma3-4b", *other, on=card("H100"), gpu_gib=24.0)
    assert fast < slow
    assert fast < plain


def test_nothing_is_said_of_a_model_nobody_knows() -> None:
    spec = presets.load("tiny", ["model.name=somebody/else", "model.warm_start="])
    assert duration.step_seconds(spec, batch_of(spec, None), Machine(), HERE) is None
    assert duration.on_a_card(spec, None, 100, 24) is None


def test_every_usual_card_is_one_of_the_table_and_says_its_size() -> None:
    spec = presets.load("gemma3-1b")
    steps = plan.make(spec, None).optimizer_steps
    for gb in TYPICAL:
        found = duration.on_a_card(spec, None, steps, gb)
        assert found is not None and found.about() is not None
        assert f"on a card of {gb} GB, estimated" in words("en").said(found.about() or Message("plain.text", text=""))


def test_the_whole_of_it_is_the_steps_and_what_is_around_them() -> None:
    said = Message("plan.duration.from_cpu")
    assert Duration(0.5, 100, 10.0, "cpu", said).total_s == 60.0
    assert Duration(0.5, None, 10.0, "cpu", said).total_s is None
    assert Duration(0.5, None, 10.0, "cpu", said).about() is None


def test_a_run_of_months_is_told_so() -> None:
    source = Message("plan.duration.from_cpu")
    assert Duration(60.0, 100, 0.0, "cpu", source).too_long is None
    assert "That is 69 days" in str(Duration(60.0, 100_000, 0.0, "cpu", source).too_long)


def test_days_are_days() -> None:
    assert words("en").duration(99 * 3600) == "99 h 00 min" and words("en").duration(1085 * 3600) == "45 d 5 h"
    assert words("ko").duration(1085 * 3600) == "45일 5시간"


def test_runs_are_alike_whatever_the_learning_rate_and_the_number_of_steps() -> None:
    base = presets.load("tiny")
    assert duration.alike(base, presets.load("tiny", ["optim.learning_rate=1e-5", "optim.max_steps=9"]))
    longer = presets.load("tiny", ["generation.max_completion_length=24"])
    assert not duration.alike(base, longer)
    assert duration.same_kind(base, longer)
    assert not duration.same_kind(base, presets.load("tiny-qlora"))

"""The plan against a simulation of TRL's sampler and micro-steps, its refusals, and the card."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from trainer import plan, presets
from trainer.errors import PlanError, SpecError
from trainer.plan import batches, card
from trainer.spec import RunSpec
from trainer.text import Message
from trainer.text import words as words_of

EN = words_of("en")

BASE: dict[str, Any] = {
    "model": {"name": "Qwen/Qwen3-0.6B"},
    "data": {"path": "rows.jsonl", "eval_fraction": 0.1},
    "reward": {"components": [{"function": "exact_match"}]},
}


def spec(*overrides: str) -> RunSpec:
    return presets.parse(presets.merge(BASE, overrides), "mine.toml")


def batch_spec(B: int, A: int, G: int, *more: str) -> RunSpec:
    return spec(
        f"optim.per_device_train_batch_size={B}",
        f"optim.gradient_accumulation_steps={A}",
        f"generation.num_generations={G}",
        *more,
    )


def refused(made: RunSpec, rows: int | None = 1000, **more: Any) -> str:
    with pytest.raises(PlanError) as caught:
        plan.make(made, rows, **more)
    return str(caught.value)


# ---- against a simulation


def simulate(made: RunSpec, rows: int, devices: int, epochs: int) -> dict[str, int]:
    """What TRL 1.14.2 and transformers 5.17 do, by brute force: one loop per level, no division.

    RepeatSampler yields chunks of whole phases; the loader hands the same phase out S * n times;
    `_prepare_inputs` generates at each S * n-th micro-step; `_run_epoch` steps the optimizer every
    A micro-steps and at the end of an epoch.
    """
    S = batches.Batch.steps_per_generation.fget(plan.batch_of(made, rows, devices))  # type: ignore[attr-defined]
    B, A = made.optim.per_device_train_batch_size, made.optim.gradient_accumulation_steps
    G, n = made.generation.num_generations, made.grpo.num_iterations
    counts = {"phases": 0, "steps": 0, "completions": 0, "inside": 0, "step_of_last_phase": 0}
    micro_step = 0
    for _ in range(epochs):
        indexes, chunk, loader = list(range(rows)), [], []
        for index in indexes:
            chunk.append(index)
            if B * S * devices == len(chunk) * G:
                loader += [chunk] * (S * n)
                chunk = []
        for place in range(len(loader)):
            pending = place % A
            if micro_step % (S * n) == 0:
                counts["phases"] += 1
                counts["completions"] += len(loader[place]) * G
                # Generated while an optimizer step is under way, with a phase begun before it not
                # yet used up.
                counts["inside"] += int(pending != 0 and S * n > A)
            micro_step += 1
            if (place + 1) % A == 0 or place + 1 == len(loader):
                counts["steps"] += 1
    return counts


@st.composite
def possible(draw: st.DrawFn) -> tuple[RunSpec, int, int]:
    """A legal combination, built from its divisors: (spec, rows, devices)."""
    G, P, n, devices = (draw(st.integers(low, high)) for low, high in ((2, 6), (1, 4), (1, 3), (1, 2)))
    whole = math.lcm(G, devices) * P  # completions of a phase
    B = draw(st.sampled_from([size for size in range(1, whole + 1) if whole % (size * devices) == 0]))
    S = whole // (B * devices)
    divisors = [part for part in range(1, S * n + 1) if S * n % part == 0]
    A = draw(st.sampled_from([*divisors, 2 * S * n, 3 * S * n]))
    more = [f"grpo.num_iterations={n}"]
    ways = ["steps_per_generation", "generation_batch_size"] + (["default"] if S == A else [])
    way = draw(st.sampled_from(ways))
    if way != "default":
        more.append(f"generation.{way}={S if way == 'steps_per_generation' else whole}")
    rows = draw(st.integers(whole // G, 40 + whole // G))
    return batch_spec(B, A, G, *more), rows, devices


@given(possible(), st.integers(1, 3))
def test_plan_counts_what_trl_would_do(case: tuple[RunSpec, int, int], epochs: int) -> None:
    made, rows, devices = case
    made = made.model_copy(update={"optim": made.optim.model_copy(update={"num_train_epochs": float(epochs)})})
    planned = plan.make(made, rows, world_size=devices)
    counted = simulate(made, rows, devices, epochs)
    assert planned.optimizer_steps == counted["steps"]
    assert planned.rollout_phases == counted["phases"]
    assert planned.completions_total == counted["completions"]
    assert counted["inside"] == 0
    assert planned.epochs == epochs
    assert planned.rows_unused_per_epoch == rows - counted["phases"] // epochs * planned.prompts_per_phase
    assert planned.save_steps % planned.updates_per_phase == 0
    assert planned.on_policy == (planned.updates_per_phase == 1)


@given(possible(), st.integers(1, 12))
def test_max_steps_stops_the_same_simulation(case: tuple[RunSpec, int, int], steps: int) -> None:
    made, rows, devices = case
    steps *= plan.batch_of(made, rows, devices).updates_per_phase
    made = made.model_copy(update={"optim": made.optim.model_copy(update={"max_steps": steps})})
    planned = plan.make(made, rows, world_size=devices)
    epochs, rest = divmod(steps, planned.optimizer_steps_per_epoch or 1)
    counted = simulate(made, rows, devices, epochs)["phases"] if epochs else 0
    partial = simulate(made, rows, devices, 1)["phases"] if rest else 0
    per_step = planned.phases_per_update if planned.updates_per_phase == 1 else 1 / planned.updates_per_phase
    assert planned.rollout_phases == counted + min(rest * per_step, partial)


settings_of = st.fixed_dictionaries(
    {
        "micro": st.integers(1, 70),
        "accumulation": st.integers(1, 40),
        "group": st.integers(2, 40),
        "iterations": st.integers(1, 4),
        "devices": st.integers(1, 4),
        "steps": st.none() | st.integers(1, 600),
        "size": st.none() | st.integers(1, 5000),
        "max_steps": st.none() | st.integers(1, 5000),
        "rows": st.none() | st.integers(1, 5000),
    }
)


@given(settings_of)
def test_every_suggestion_is_itself_accepted(values: dict[str, Any]) -> None:
    if values["size"] is not None:
        values["steps"] = None
    batch = batches.Batch(**values)
    assume(not batches.is_possible(batch))
    found = batches.nearest_possible(batch)
    if batch.rows is None or batch.rows * batch.group >= math.lcm(batch.devices, batch.group):
        assert found
    names = {key: name for name, key in batches.KEYS.items()}
    for change in found:
        assert change
        fixed = dataclasses.replace(batch, **{names[key]: value for key, value in change.items()})
        assert batches.is_possible(fixed)
        assert 2 <= fixed.group <= batches.MAX_GROUP


def test_what_the_error_says_to_type_is_accepted() -> None:
    made = batch_spec(3, 5, 8, "optim.max_steps=7")
    text = refused(made)
    fixes = text.split("  ->  ")[1].split(", or ")
    assert len(fixes) >= 2
    for fix in fixes:
        overrides = [part.replace(" ", "") for part in fix.split(" and ")]
        assert plan.make(batch_spec(3, 5, 8, "optim.max_steps=7", *overrides), 1000)


@pytest.mark.parametrize("micro", [1, 10**9])
def test_suggestions_for_enormous_numbers_come_at_once(micro: int) -> None:
    batch = batches.Batch(micro, accumulation=10**9 + 7, group=8, steps=10**9 + 9, rows=100)
    assert all(change for change in batches.nearest_possible(batch))


# ---- named combinations


def test_batch_guide_of_512_rollouts_gives_32_updates() -> None:
    made = batch_spec(1, 16, 8, "generation.generation_batch_size=512")
    planned = plan.make(made, 640)
    assert planned.prompts_per_phase == 64
    assert planned.completions_per_phase == 512
    assert planned.updates_per_phase == 32
    assert planned.optimizer_steps == 320
    assert not planned.on_policy
    assert planned.verl.train_batch_size == 64
    assert planned.verl.ppo_mini_batch_size == 2  # verl counts prompts: 16 there would be 4 updates of 128


def test_verl_mini_batch_of_16_prompts_is_4_updates() -> None:
    planned = plan.make(batch_spec(1, 128, 8, "generation.generation_batch_size=512"), 64)
    assert planned.verl.ppo_mini_batch_size == 16
    assert planned.updates_per_phase == 4


def test_verl_has_no_word_for_part_of_a_group() -> None:
    planned = plan.make(batch_spec(1, 4, 8, "generation.generation_batch_size=16"), 64)
    assert planned.prompts_per_update == 0.5
    assert planned.verl.ppo_mini_batch_size is None


def test_step_of_several_phases_ends_the_epoch_with_a_smaller_one() -> None:
    planned = plan.make(batch_spec(4, 3, 4, "generation.steps_per_generation=1"), 10)
    assert (planned.phases_per_update, planned.updates_per_phase) == (3, 1)
    assert planned.optimizer_steps == 4
    assert planned.rollout_phases == 10


def test_part_of_an_epoch_is_raised_to_whole_phases() -> None:
    made = batch_spec(1, 4, 4, "generation.steps_per_generation=16", "optim.num_train_epochs=0.6")
    planned = plan.make(made, 12)
    assert planned.optimizer_steps == 8  # 0.6 x 3 phases x 4 updates = 7.2, 8 is 2 phases
    planned = plan.make(made, 4)
    assert planned.optimizer_steps == 4
    assert any("raised to 4" in str(note) for note in planned.notes)


def test_save_steps_are_raised_to_whole_phases() -> None:
    made = batch_spec(1, 4, 4, "generation.steps_per_generation=16", "checkpoint.save_steps=50")
    planned = plan.make(made, 400)
    assert planned.save_steps == 52
    assert any("raised from 50 to 52" in str(note) for note in planned.notes)


def test_the_reference_moves_between_whole_phases() -> None:
    phases = ("generation.steps_per_generation=16", "grpo.beta=0.04")
    planned = plan.make(batch_spec(1, 4, 4, *phases, "grpo.ref_update_steps=50"), 400)
    assert planned.ref_update_steps == 52
    assert any("grpo.ref_update_steps raised from 50 to 52" in str(note) for note in planned.notes)
    planned = plan.make(batch_spec(1, 4, 4, *phases, "grpo.ref_update_steps=8", "optim.max_steps=8"), 400)
    assert any("the reference stays" in str(note) for note in planned.notes)
    assert plan.make(batch_spec(1, 4, 4, *phases), 400).ref_update_steps is None


@pytest.mark.parametrize("language", ["en", "ko"])
def test_the_card_says_where_a_run_starts_and_when_its_reference_moves(language: str) -> None:
    made = presets.load("tiny-qlora", ["grpo.beta=0.05", "grpo.ref_update_steps=3"])
    say = words_of(language)
    planned = plan.make(made, 100).model_copy(update={"start": Message("run.start.run", run="sft", step=40)})
    shown = card.render(made, planned, say)
    assert say("run.start.run", run="sft", step=40) in shown
    for key in ("plan.part.reference_adapter", "plan.card.name.ref_update_steps", "plan.card.name.start"):
        assert say(key) in shown, key


def test_a_reference_that_nothing_reads_cannot_move() -> None:
    with pytest.raises(SpecError) as caught:
        batch_spec(1, 4, 4, "grpo.ref_update_steps=8")
    assert [(one.place, one.key) for one in caught.value.problems] == [
        ("grpo.ref_update_steps", "presets.reference_without_beta")
    ]


def test_checkpoints_further_apart_than_the_run_are_noted() -> None:
    planned = plan.make(batch_spec(8, 1, 8, "optim.max_steps=10"), 100)
    assert any("only the final checkpoint is written" in str(note) for note in planned.notes)


def test_evaluations_without_held_out_rows_are_idle_and_said_to_be() -> None:
    idle = plan.make(batch_spec(8, 1, 8, "eval.eval_steps=5", "data.eval_fraction="), 100)
    assert any(str(note).startswith("eval.eval_steps = 5 changes nothing") for note in idle.notes)
    held_out = plan.make(batch_spec(8, 1, 8, "eval.eval_steps=5"), 100)
    assert not any("eval.eval_steps" in str(note) for note in held_out.notes)


def test_steps_are_not_known_before_the_data_is_read() -> None:
    planned = plan.make(batch_spec(8, 1, 8), None)
    assert planned.optimizer_steps is None
    assert any("known once the data is read" in str(note) for note in planned.notes)
    planned = plan.make(batch_spec(8, 1, 8, "optim.max_steps=10"), None)
    assert (planned.optimizer_steps, planned.rollout_phases, planned.epochs) == (10, 10, None)


def test_rows_that_fill_no_phase_are_counted() -> None:
    planned = plan.make(batch_spec(32, 1, 8), 10)
    assert planned.rows_unused_per_epoch == 2
    assert any("2 of 10 rows are left out of each epoch" in str(note) for note in planned.notes)


def test_sequence_level_on_policy_is_noted_as_the_same_gradient() -> None:
    planned = plan.make(batch_spec(8, 1, 8, "grpo.importance_sampling_level=sequence"), 10)
    assert any("every ratio is 1" in str(note) for note in planned.notes)


@pytest.mark.parametrize(
    ("overrides", "rows", "text"),
    [
        (["optim.per_device_train_batch_size=6"], 100,
         "generation.num_generations: a rollout phase has 6 completions = 6 x 1 device(s) x 1"),
        (["generation.generation_batch_size=20"], 100,
         "generation.generation_batch_size: is 20: not a whole number of micro-batches"),
        (["optim.gradient_accumulation_steps=3", "generation.steps_per_generation=2"], 100,
         "optim.gradient_accumulation_steps: is 3 micro-batches, and a rollout phase has 2"),
        (["optim.per_device_train_batch_size=64"], 7, "7 rows are fewer than the 8 prompts"),
        ([], 0, "data: has no training rows"),
        (["generation.steps_per_generation=4", "optim.max_steps=10"], 100,
         "optim.max_steps: is 10: not a whole number of rollout phases of 4 steps (8 or 12"),
        (["model.max_seq_length=100"], 100,
         "model.max_seq_length: is 100 tokens: max_prompt_length 512 + max_completion_length 512"),
    ],
)  # fmt: skip
def test_impossible_combination_is_refused(overrides: list[str], rows: int, text: str) -> None:
    assert text in refused(spec(*overrides), rows)


def test_all_problems_of_a_plan_are_listed() -> None:
    text = refused(spec("optim.per_device_train_batch_size=6", "model.max_seq_length=600"))
    assert "a rollout phase has 6 completions" in text
    assert "model.max_seq_length = 1024, or generation.max_completion_length = 88" in text


def test_max_steps_error_offers_the_two_nearest() -> None:
    text = refused(spec("generation.steps_per_generation=4", "optim.max_steps=10"))
    assert "optim.max_steps = 8" in text
    assert "optim.max_steps = 12" in text


# ---- memory in the plan, and the card


def test_unknown_model_is_not_estimated() -> None:
    planned = plan.make(spec("model.name=somebody/new-model"), 100)
    assert planned.memory_total_gib is None
    assert str(planned.memory_unknown) == "not estimated: unknown model somebody/new-model"


def test_micro_batch_costs_the_update_and_rows_cost_generation() -> None:
    one = plan.make(batch_spec(8, 2, 8, "model.device=cuda"), 100)
    half = plan.make(batch_spec(4, 4, 8, "model.device=cuda"), 100)
    assert half.memory_update_gib < one.memory_update_gib  # type: ignore[operator]
    assert half.memory_generation_gib == one.memory_generation_gib


@pytest.mark.parametrize(("gpu", "word"), [(80.0, "fits"), (23.6, "tight"), (16.0, "does not fit")])
def test_verdict_for_gemma27b(gpu: float, word: str) -> None:
    made = presets.load("gemma27b")
    planned = plan.make(made, 7473, gpu_total_gib=gpu, gpu_name="A GPU")
    text = card.render(made, planned, EN)
    assert f"A GPU: {gpu:.1f} GiB -> {word}" in text
    assert bool(planned.suggestions) == (word != "fits")


def test_plan_survives_json() -> None:
    planned = plan.make(presets.load("gemma27b"), 7473, gpu_total_gib=24.0)
    assert plan.RunPlan.model_validate_json(planned.model_dump_json()) == planned


CASES = [
    (presets.load("gemma27b"), 7473, {"gpu_total_gib": 80.0, "gpu_name": "NVIDIA H100"}),
    (presets.load("gemma27b"), None, {}),
    (batch_spec(1, 16, 8, "generation.generation_batch_size=512"), 640, {"world_size": 1}),
    (
        batch_spec(4, 3, 4, "generation.steps_per_generation=1", "title=" + "long " * 40),
        10,
        {"world_size": 2},
    ),
    (spec("model.name=somebody/" + "n" * 100), None, {}),
]


@pytest.mark.parametrize(("made", "rows", "more"), CASES)
def test_card_fits_80_columns_and_names_every_part(made: RunSpec, rows: int | None, more: dict[str, Any]) -> None:
    planned = plan.make(made, rows, **more)
    text = card.render(made, planned, EN)
    assert [line for line in text.splitlines() if len(line) > 80] == []
    for word in (
        "One optimizer step",
        "One rollout phase",
        "prompts",
        "completions",
        "tokens",
        "ppo_mini_batch_size",
    ):
        assert word in text
    for part in planned.memory:
        assert part.name in text
    flat = re.sub(r"\s+", " ", text)
    assert all(re.sub(r"\s+", " ", str(note)) in flat for note in planned.notes + planned.warnings)
    assert ("no GPU here" in text) == (planned.gpu_total_gib is None)


def test_card_says_what_group_and_micro_batch_cost() -> None:
    made = presets.load("gemma27b")
    flat = re.sub(r"\s+", " ", card.render(made, plan.make(made, 7473), EN))
    words = "One more in num_generations, with the same prompts, is 1 more completion per rollout phase"
    assert f"{words}: up to 762 more tokens" in flat
    assert re.search(r"one more in per_device_train_batch_size is \d\.\d\d GiB in the update", flat)


def test_the_card_says_how_many_plans_and_ways_on_make_a_group() -> None:
    made = presets.load("tiny-plans")
    text = card.render(made, plan.make(made, 1024), EN)
    assert re.search(r"group size +16  completions per prompt: 8 plans x 2 ways each", text)
    plain = presets.load("tiny")
    assert "ways each" not in card.render(plain, plan.make(plain, 1024), EN)


def test_a_plan_is_written_by_one_process() -> None:
    sizes = ["episode.plans=3", "episode.implementations=4", "generation.num_generations=12"]
    made = presets.load("tiny-plans", [*sizes, "optim.per_device_train_batch_size=6"])
    assert plan.make(made.model_copy(update={"episode": type(made.episode)()}), 1024, world_size=2)
    with pytest.raises(PlanError, match=r"each process writes 6 completions .* plans with 4 .*batch_size = 12"):
        plan.make(made, 1024, world_size=2)
    assert plan.make(presets.load("tiny-plans"), 1024, world_size=2).completions_per_phase == 512

"""The plan of each method: what it says of batches, what is written first, memory and time."""

from __future__ import annotations

from typing import Any

import pytest

from trainer import plan, presets
from trainer.machine.speed import CpuSpeed
from trainer.plan import batch_of, card, duration, fit
from trainer.plan.duration import Processor
from trainer.plan.estimate import Machine
from trainer.spec import RunSpec
from trainer.text import words

EN, KO = words("en"), words("ko")
HERE = Processor.of_cpu(CpuSpeed(core_gflops=97.0, bandwidth_gb_s=26.0), 1)


def spec(method: str, *changes: str) -> RunSpec:
    return presets.load("tiny", [f"run.method={method}", *changes])


def seconds(method: str, *changes: str) -> float:
    chosen = spec(method, *changes)
    found = duration.step_seconds(chosen, batch_of(chosen, 1024), Machine(None, 23.5), HERE)
    assert found is not None
    return found


@pytest.mark.parametrize("say", [EN, KO], ids=["en", "ko"])
@pytest.mark.parametrize("method", ["sft", "rft", "dpo", "reward_model"])
def test_the_card_of_supervised_training_has_examples_and_no_groups(method: str, say: Any) -> None:
    chosen = spec(method)
    text = card.render(chosen, plan.make(chosen, 1024), say)
    assert say("plan.card.name.examples") in text and say(f"plan.card.rows_{method}")[:12] in text
    for gone in ("name.group", "phase", "name.phases", "verl", "fast", "sampling"):
        assert say(f"plan.card.{gone}") not in text.splitlines()
    assert (say("plan.card.first") in text) == (method != "sft")
    assert (say("plan.part.reference_model") in text) == (method == "dpo")
    assert "8,192" in text or method == "sft"


def test_what_is_written_first_is_known_with_the_rows_and_its_examples_afterwards() -> None:
    chosen = spec("rft", "optim.max_steps=", "optim.num_train_epochs=2")
    before, after = plan.make(chosen, 1024), plan.make(chosen, 1024, examples=512)
    assert (before.rows, before.written_first, before.examples, before.optimizer_steps) == (1024, 8192, None, None)
    assert (after.rows, after.written_first, after.examples, after.optimizer_steps) == (1024, 8192, 512, 4)
    said = " ".join(card.render(chosen, before, EN).split())
    assert "how many the model's completions make is not known before" in said
    sft = plan.make(spec("sft"), 1024)
    assert (sft.rows, sft.examples, sft.written_first) == (1024, 1024, None)
    assert plan.make(spec("grpo"), 1024).examples is None


def test_a_pair_takes_the_memory_and_the_tokens_of_two_examples() -> None:
    sft, dpo = plan.make(spec("sft"), 1024), plan.make(spec("dpo"), 1024)
    gib = {part.name: part.gib for part in sft.memory}
    both = {part.name: part.gib for part in dpo.memory}
    assert both["logits"] == pytest.approx(2 * gib["logits"]) and "reference model" not in gib
    assert dpo.max_tokens_per_update == 2 * sft.max_tokens_per_update


def test_a_judge_of_pairs_reads_two_texts_an_example_and_has_no_logits_of_prompts() -> None:
    pairs, points = (
        plan.make(spec("reward_model"), 1024),
        plan.make(spec("reward_model", "reward_model.objective=pointwise"), 1024),
    )
    assert pairs.max_tokens_per_update == 2 * points.max_tokens_per_update
    gib = {part.name: part.gib for part in points.memory}
    assert gib["logits"] < {part.name: part.gib for part in plan.make(spec("sft"), 1024).memory}["logits"]


def test_nothing_is_written_for_sft_but_what_is_evaluated() -> None:
    alone = plan.make(spec("sft", "eval.at_start=false", "eval.at_end=false", "eval.eval_steps="), 1024)
    assert [part.name for part in alone.memory if part.phase == "generation"] == []
    assert EN("plan.card.while.evaluation") not in card.render(spec("sft"), alone, EN)


def test_a_pair_takes_longer_than_an_example_and_an_example_does_not_take_a_generation() -> None:
    assert seconds("dpo") > 2 * seconds("sft")
    longer = "generation.num_generations=16"
    assert seconds("sft", longer) == seconds("sft")
    chosen, machine = spec("rft"), Machine(None, 23.5)
    first, none = (duration.other_seconds(chosen, batch_of(chosen, 1), machine, HERE, n) for n in (8192, None))
    assert first > none


def test_a_supervised_step_says_nothing_about_one_that_writes() -> None:
    assert not duration.same_kind(spec("sft"), spec("grpo")) and duration.same_kind(spec("online_rft"), spec("grpo"))


LARGE = (
    "model.name=Qwen/Qwen3-8B", "model.device=cuda", "model.engine=transformers", "model.warm_start=",
    "lora.enabled=true", "generation.max_completion_length=4096", "optim.per_device_train_batch_size=1",
    "optim.gradient_accumulation_steps=4", "eval.batch_size=256", "eval.at_start=false", "eval.at_end=false",
    "eval.eval_steps=",
)  # fmt: skip


def cuts(method: str, *changes: str) -> list[dict[str, Any]]:
    chosen = spec(method, *LARGE, *changes)
    return [dict(one.changes) for one in fit.suggestions(chosen, batch_of(chosen, 1024), Machine(80, 64))]


@pytest.mark.parametrize("method", ["rft", "dpo"])
def test_what_is_written_first_is_cut_into_smaller_parts_although_nothing_is_evaluated(method: str) -> None:
    found = cuts(method)
    assert found and found[0]["eval.batch_size"] == 64
    assert all(not key.startswith(("grpo.", "generation.steps")) for one in found for key in one)


def test_a_row_whose_completions_are_too_many_at_once_gets_fewer() -> None:
    """Whole groups are written: smaller parts alone cannot help."""
    assert any(one.get("generation.num_generations") == 64 for one in cuts("rft", "generation.num_generations=256"))


def test_sft_writes_nothing_and_nothing_of_it_is_cut() -> None:
    """178 GiB in the update alone."""
    found = cuts("sft", "optim.per_device_train_batch_size=4", "optim.gradient_accumulation_steps=1")
    assert found and all("eval.batch_size" not in one and "generation.num_generations" not in one for one in found)

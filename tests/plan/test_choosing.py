"""trainer.plan.choosing: what the card says of [sampling], in numbers that a run can come to at most."""

from __future__ import annotations

import pytest

from trainer import plan, presets
from trainer.plan import RunPlan, batch_of, card, duration, sharing
from trainer.plan.duration import Duration, Processor
from trainer.plan.estimate import Machine
from trainer.spec import RunSpec
from trainer.text import Message, words

NOTES = ("nothing_to_skip", "levels_never_learnt", "replay_forgets")
TWO_UPDATES = ("optim.per_device_train_batch_size=128", "generation.steps_per_generation=2")
SHORT = "optim.max_steps=20"  # of 32 prompts x 8 completions of 12 tokens at most


def of(*changes: str) -> RunSpec:
    return presets.load("tiny", changes)


def made(*changes: str, rows: int | None = 1024) -> RunPlan:
    return plan.make(of(*changes), rows)


def keys(found: list[Message]) -> list[str]:
    return [message.key.rpartition(".")[2] for message in found]


def test_a_run_without_it_has_nothing_to_say() -> None:
    found = made()
    assert found.sampling == [] and found.max_rounds == 1 and found.least_generations is None
    assert words("en")("plan.card.sampling") not in card.render(of(), found, words("en"))


@pytest.mark.parametrize(
    ("changes", "rows", "said"),
    [
        (["curriculum=column"], 1024, ["levels_column", "pace_success"]),
        (["curriculum=pass_rate"], 1024, ["levels_measured_rows", "pace_success"]),
        (["curriculum=pass_rate"], None, ["levels_measured", "pace_success"]),
        (["curriculum=pass_rate", "measure=0", "pace=steps"], 1024, ["levels_learnt", "pace_steps"]),
        (["max_rounds=3"], 1024, ["rounds_run"]),
        (["replay=64"], 1024, ["replay"]),
        (["skip_dead=true"], 1024, ["skip_from"]),
        (["skip_dead=true"], None, ["skip"]),
        (["skip_dead=true", "max_rounds=2"], 1024, ["rounds_run", "skip"]),
        (["group_size=spread"], 1024, ["sizes_spread"]),
        (["group_size=threshold"], 1024, ["sizes_threshold"]),
    ],
    ids=str,
)
def test_each_part_has_its_sentence(changes: list[str], rows: int | None, said: list[str]) -> None:
    found = made(SHORT, *(f"sampling.{change}" for change in changes), rows=rows)
    assert keys(found.sampling) == said
    for language in ("en", "ko"):
        assert "{" not in words(language).every(found.sampling)


def test_steps_of_all_levels_are_not_known_before_the_number_of_steps_is() -> None:
    changes = ("optim.max_steps=", "optim.num_train_epochs=2", "sampling.curriculum=column", "sampling.pace=steps")
    assert keys(made(*changes, rows=None).sampling) == ["levels_column", "pace_half"]
    assert made(*changes).sampling[1].values["steps"] == 64 // (2 * 4)


def test_rounds_cost_so_many_times_the_completions_at_most() -> None:
    found = made(SHORT, "sampling.max_rounds=3")
    (said,) = found.sampling
    assert said.values == {
        "rounds": 3, "size": 256, "most": 768, "tokens": 9216, "all": 15_360, "all_tokens": 184_320,
    }  # fmt: skip
    assert found.completions_total == 5120  # of one round, which is what is trained on
    text = " ".join(card.render(of(SHORT, "sampling.max_rounds=3"), found, words("en")).split())
    assert "in up to 3 rounds: at most 768" in text
    assert "up to 61,440 tokens to generate, with 3 rounds each time up to 184,320" in text


def test_measuring_pass_rates_has_a_price() -> None:
    (said, _) = made(SHORT, "sampling.curriculum=pass_rate", "sampling.measure=8").sampling
    assert (said.values["count"], said.values["tokens"]) == (8192, 98_304)


def test_prompts_come_again_when_all_rows_have_come() -> None:
    (said,) = made("sampling.skip_dead=true").sampling
    assert said.values["step"] == 1024 // 32 + 1


def test_a_sampler_leaves_no_row_out_of_an_epoch() -> None:
    plain, chosen = made(rows=1030), made("sampling.skip_dead=true", rows=1030)
    assert (plain.rows_unused_per_epoch, chosen.rows_unused_per_epoch) == (6, 0)
    assert "plan.note.rows_unused_others" in {note.key for note in plain.notes}
    assert "plan.note.rows_unused_others" not in {note.key for note in chosen.notes}


@pytest.mark.parametrize(
    ("changes", "noted"),
    [
        ([SHORT, "sampling.skip_dead=true"], ["nothing_to_skip"]),
        (["sampling.skip_dead=true"], []),
        ([SHORT, "sampling.skip_dead=true", "sampling.max_rounds=2"], []),  # 1,280 prompts may be drawn
        ([SHORT, "sampling.curriculum=pass_rate", "sampling.measure=0"], ["levels_never_learnt"]),
        ([SHORT, "sampling.curriculum=pass_rate"], []),
        (["sampling.replay=16"], []),
        (["sampling.replay=16", "sampling.replay_steps=1", *TWO_UPDATES], ["replay_forgets"]),
        (["sampling.replay=16", "sampling.replay_steps=2", *TWO_UPDATES], []),
    ],
    ids=str,
)
def test_what_a_short_run_never_comes_to_is_noted(changes: list[str], noted: list[str]) -> None:
    found = keys(list(made(*changes).notes))
    assert [key for key in found if key in NOTES] == noted


# ---- several sizes, memory and time


def test_groups_of_several_sizes_may_be_split_over_micro_batches() -> None:
    def shared(*changes: str) -> sharing.Sharing:
        spec = of("optim.per_device_train_batch_size=16", "optim.gradient_accumulation_steps=16", *changes)
        return sharing.of(spec, batch_of(spec, None), unsloth=False, on_gpu=False)

    even, uneven = shared(), shared("sampling.group_size=spread", "sampling.min_generations=4")
    assert (even.at_once, even.opened) == (2, 2)
    assert (uneven.at_once, uneven.opened) == ((16 - 1) // 4 + 2, 2 * 5)
    # Of several rounds the small groups may be those that are kept.
    spec = ("optim.per_device_train_batch_size=256", "sampling.group_size=spread", "sampling.min_generations=4")
    one, three = (
        sharing.of(s, batch_of(s, None), False, False) for s in (of(*spec), of(*spec, "sampling.max_rounds=3"))
    )
    assert (one.at_once, three.at_once) == (32, 64)


def test_rounds_need_no_more_memory_than_a_phase() -> None:
    assert made("sampling.max_rounds=4").memory_total_gib == made().memory_total_gib


HERE = Processor("CPU", 26.0, 0.06, False)


def test_rounds_multiply_generation_and_nothing_else() -> None:
    spec = of()
    batch, machine = batch_of(spec, 1024), Machine(None, 23.5)
    one, two, three = (duration.step_seconds(spec, batch, machine, HERE, rounds) or 0.0 for rounds in (1, 2, 3))
    assert 0 < two - one < one
    assert three - two == pytest.approx(two - one)


def test_measuring_comes_before_the_first_step() -> None:
    specs = of(), of("sampling.curriculum=pass_rate")
    plain, measured = (duration.other_seconds(s, batch_of(s, 1024), Machine(None, 23.5), HERE) for s in specs)
    assert measured > plain


def test_the_time_of_all_rounds_is_said_beside_the_plain_one() -> None:
    source = Message("plan.duration.from_cpu")
    assert Duration(0.5, 100, 10.0, "cpu", source).at_most is None
    assert Duration(0.5, 100, 10.0, "run", source, rounds=3).at_most is None  # it was measured with its rounds
    found = Duration(0.5, 100, 10.0, "cpu", source, rounds=3, most_step_s=1.2)
    assert found.total_s == 60.0
    assert str(found.at_most) == ("With all 3 rounds in every phase (sampling.max_rounds): 1.2 s a step, 2 min in all.")
    unknown = Duration(0.5, None, 10.0, "cpu", source, rounds=3, most_step_s=1.2).at_most
    assert unknown is not None and unknown.key == "plan.duration.rounds_step"


def test_a_run_of_several_rounds_is_no_measure_of_another_one() -> None:
    assert duration.same_kind(of("sampling.max_rounds=3"), of())
    assert not duration.same_kind(of(), of("sampling.max_rounds=3"))

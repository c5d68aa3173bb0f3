"""Notes and warnings of a plan: stored with it, and said in the language of who reads them."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests import latin
from trainer import plan, presets
from trainer.errors import PlanError, Problem
from trainer.plan import RunPlan, card
from trainer.run.events import LINE_BYTES
from trainer.text import Message, words
from trainer.text.layout import shortened, width, wrapped

EN, KO = words("en"), words("ko")


def made(name: str = "gemma27b", *overrides: str, **more: Any) -> RunPlan:
    return plan.make(presets.load(name, overrides), 7473, **more)


def old_plan() -> dict[str, Any]:
    """plan.json as it was when notes were sentences."""
    stored = made(gpu_total_gib=15.0, gpu_name="GPU").model_dump(mode="json")
    stored["notes"] = ["One prompt per optimizer step: whenever its 4 completions are paid the same, that step learns."]
    stored["warnings"] = ["rows.jsonl:3: is there twice"]
    stored["memory_unknown"] = ""
    for part in stored["memory"]:
        part["how"] = "as it was worked out"
    for suggestion in stored["suggestions"]:
        del suggestion["effects"]
        suggestion["effect"] = "slower; another model"
    return stored


def test_a_plan_of_the_version_before_is_read_and_shown() -> None:
    stored = old_plan()
    assert stored["suggestions"]
    read = RunPlan.model_validate_json(json.dumps(stored))
    assert read.memory_unknown is None
    for say in (EN, KO):
        text = card.render(presets.load("gemma27b"), read, say)
        flat = re.sub(r"\s+", " ", text)
        for sentence in (*stored["notes"], *stored["warnings"], "slower; another model", "as it was worked out"):
            assert sentence in flat
    assert RunPlan.model_validate_json(read.model_dump_json()) == read


def test_notes_are_stored_as_keys_without_their_english() -> None:
    stored = made("gspo").model_dump(mode="json")["notes"]
    assert stored and all(note.keys() == {"key", "values"} for note in stored)
    assert [KO.said(Message.read(note)) for note in stored] == [KO.said(note) for note in made("gspo").notes]


def test_a_problem_of_the_rows_can_be_a_warning_of_the_plan() -> None:
    problem = Problem("presets.no_data", "data")
    warned = made().model_copy(update={"warnings": [problem.message()]})
    (read,) = RunPlan.model_validate_json(warned.model_dump_json()).warnings
    assert EN.said(read) == str(problem)
    assert KO.said(read) == str(problem.said(KO))
    plain = Problem.plain("rows.jsonl:3", "is there twice").message()
    assert EN.said(plain) == KO.said(plain) == "rows.jsonl:3: is there twice"


@pytest.mark.parametrize("info", presets.list_presets(), ids=lambda info: info.name)
@pytest.mark.parametrize("gpu", [None, 7.8, 23.6])
def test_the_card_is_said_in_korean(info: presets.PresetInfo, gpu: float | None) -> None:
    spec = presets.load(info.name)
    planned = plan.make(spec, 7473, gpu_total_gib=gpu, ram_gib=2.0)
    text = card.render(spec, planned, KO)
    assert latin.in_text(text.replace(spec.reward.formula(), "")) == []
    assert [line for line in text.splitlines() if width(line) > card.WIDTH] == []


@pytest.mark.parametrize("info", presets.list_presets(), ids=lambda info: info.name)
@pytest.mark.parametrize("gpu", [None, 3.0, 7.8, 15.0, 23.6])
def test_a_plan_fits_into_an_event(info: presets.PresetInfo, gpu: float | None) -> None:
    planned = plan.make(presets.load(info.name), 7473, gpu_total_gib=gpu, ram_gib=2.0)
    rest = 1200  # of the event: data, engine, classes
    assert len(planned.model_dump_json()) < LINE_BYTES - rest


def test_what_is_impossible_is_said_in_korean() -> None:
    base = ("generation.num_generations=8", "optim.per_device_train_batch_size=8", "optim.max_steps=8")
    for overrides in (
        ["optim.per_device_train_batch_size=6"],
        ["generation.generation_batch_size=20"],
        ["optim.gradient_accumulation_steps=3", "generation.steps_per_generation=2"],
        ["generation.steps_per_generation=4", "optim.max_steps=10"],
        ["optim.per_device_train_batch_size=80000"],
        ["model.max_seq_length=10"],
    ):
        with pytest.raises(PlanError) as caught:
            made("tiny", *base, *overrides)
        for problem in caught.value.problems:
            assert problem.key.startswith("plan.")
            assert latin.in_text(str(problem.said(KO))) == []


def test_a_letter_of_korean_takes_two_columns() -> None:
    word = "\ud559\uc2b5"
    assert width(f"a{word}") == 5
    assert shortened(word * 9, 11) == word * 2 + "..."
    lines = wrapped(f"{word} " * 9, 12, "- ", "  ").splitlines()
    assert lines[0] == f"- {word} {word}" and all(width(line) <= 12 for line in lines)

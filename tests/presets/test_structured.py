"""What is wrong with a spec and what fixes it, as data: for a form that has to apply it."""

from __future__ import annotations

import pytest

from trainer import presets
from trainer.errors import PresetError, SpecError
from trainer.plan.checks import length_changes, length_problems
from trainer.presets import explain


@pytest.mark.parametrize(
    ("key", "limits"),
    [
        ("optim.learning_rate", [(">", 0.0), ("<=", 1.0)]),
        ("model.cpu_threads", [(">=", 1.0), ("<=", 1024.0)]),
        ("model.name", []),
        ("grpo.beta", [(">=", 0.0), ("<=", 100.0)]),
    ],
)
def test_the_bounds_of_a_field_are_known_as_numbers(key: str, limits: list[tuple[str, float]]) -> None:
    field = explain.field_at(tuple(key.split(".")))
    assert field is not None and explain.limits(field) == limits


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("optim.learning_rate", 5, "1"),
        ("optim.learning_rate", "1e-5", "1e-5"),
        ("optim.max_steps", 2.6, "3"),
        ("grpo.loss_type", "dapoo", '"dapo"'),
        ("lora.r", 0, "1"),
        ("model.revision", 12, '"12"'),
        ("optim.max_steps", "abc", ""),
    ],
)
def test_the_nearest_value_a_field_takes_is_one_it_takes(key: str, value: object, text: str) -> None:
    field = explain.field_at(tuple(key.split(".")))
    assert field is not None and explain.instead(value, field)[0] == text
    if text:
        presets.load("tiny", [f"{key}={text}"])


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("optim.learning_rat", ("optim.learning_rate", False)),
        ("grpo.learning_rate", ("optim.learning_rate", True)),
        ("nowhere.zzzzzzzzzz", ("", False)),
    ],
)
def test_an_unknown_key_is_known_by_its_nearest_name(key: str, meant: tuple[str, bool]) -> None:
    assert explain.meant(tuple(key.split("."))) == meant


def test_a_draft_is_the_spec_or_every_problem() -> None:
    raw = presets.tables(presets.find("tiny"))
    sound = presets.draft(raw, ["optim.max_steps=5"], "tiny")
    assert sound.spec == presets.load("tiny", ["optim.max_steps=5"]) and not sound.problems
    assert raw == presets.tables(presets.find("tiny"))
    wrong = presets.draft(raw, ["optim.max_steps=0", "nowhere.key=1"], "tiny")
    with pytest.raises(SpecError) as refused:
        presets.load("tiny", ["optim.max_steps=0", "nowhere.key=1"])
    assert wrong.spec is None and wrong.problems == refused.value.problems
    assert wrong.raw["optim"]["max_steps"] == 0
    with pytest.raises(PresetError):
        presets.tables(presets.find("no-such-preset"))


def test_every_change_of_a_length_makes_prompt_and_completion_fit() -> None:
    spec = presets.load("tiny", ["model.max_seq_length=40"])
    found = length_changes(spec)
    assert len(found) == 3 and any(length_problems(spec))
    for change in found:
        fitting = presets.load(
            "tiny", ["model.max_seq_length=40", *(f"{key}={value}" for key, value in change.items())]
        )
        assert not list(length_problems(fitting)) and length_changes(fitting) == []

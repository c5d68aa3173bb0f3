"""A reward model that learns, in the plan: when, its memory, its line on the card."""

from __future__ import annotations

from typing import Any

import pytest

from trainer import memory, plan, presets
from trainer.memory import known
from trainer.plan import card
from trainer.plan.estimate import Machine, batch_of, memory_load
from trainer.preflight import disk
from trainer.spec import RunSpec
from trainer.text import words

PRESET = "tiny-iterative"


def spec(*overrides: str) -> RunSpec:
    return presets.load(PRESET, overrides)


def sizes(planned: Any) -> dict[str, float]:
    return {part.name: part.gib for part in planned.memory}


def test_rounds_are_between_whole_phases() -> None:
    phases = ["generation.steps_per_generation=4", "optim.max_steps=40"]
    planned = plan.make(spec(*phases, "reward.learning.every_steps=5"), 1024)
    assert planned.reward_model_every == 8
    assert any("reward.learning.every_steps raised from 5 to 8" in str(note) for note in planned.notes)
    planned = plan.make(spec(*phases, "reward.learning.every_steps=44"), 1024)
    assert any("the run has 40: it never does" in str(note) for note in planned.notes)
    assert plan.make(presets.load("tiny"), 1024).reward_model_every is None


def test_its_weights_gradients_and_moments_are_counted() -> None:
    """float32: 4 bytes a weight and 8 of AdamW all the time, 4 of a gradient in the update."""
    shape = known.of("builtin/tiny-qwen3")
    assert shape is not None
    planned, without = plan.make(spec(), 1024), plan.make(spec("reward.components.1.params.model=someone/judge"), 1024)
    more = {name: gib - sizes(without).get(name, 0.0) for name, gib in sizes(planned).items()}
    assert {name: round(gib * memory.GIB) for name, gib in more.items() if gib} == {
        "reward model": 12 * shape.params(), "reward model gradients": 4 * shape.params(),
    }  # fmt: skip
    assert disk.checkpoint_bytes(spec(), planned) - disk.checkpoint_bytes(spec(), without) == 12 * shape.params()
    assert any("memory of the reward model someone/judge" in str(note) for note in without.notes)
    made = spec()
    load = memory_load(made, batch_of(made, 1024), Machine())
    assert load is not None and load.judge_params == shape.params()


@pytest.mark.parametrize("language", ["en", "ko"])
def test_the_card_has_a_line_for_it(language: str) -> None:
    say = words(language)
    shown = card.render(spec(), plan.make(spec(), 1024), say)
    assert say("plan.card.name.reward_model_every") in shown and say("plan.part.reward_model") in shown
    assert "letters" in shown and "10%" in shown

"""A preset of several stages in Train: the plan says that it is of the first, and the card how long all take."""

from __future__ import annotations

import pytest

from trainer.text import words
from trainer.ui.train import actions, cards, views
from trainer.ui.train.form import Form


@pytest.mark.parametrize("language", ["en", "ko"])
def test_the_plan_says_which_stages_there_are(language: str) -> None:
    checked = actions.check(Form("preset", "tiny-stages"))
    assert checked.problems == [] and checked.toml.count("[[stage]]") == 2
    shown = views.plan(checked, words(language))
    assert "<b>1 sft</b>" in shown and "<b>2 grpo</b>" in shown and 'class="g-stages"' in shown


def test_the_card_has_the_time_that_all_stages_were_measured_to_take() -> None:
    card = next(card for card in cards.cards() if card.info.name == "tiny-stages")
    assert "2 min" in cards._time(card, words("en"))

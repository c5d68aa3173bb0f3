"""trainer.rewards.scan: what is odd about the gold answers of all rows, and what a tokenizer makes of them."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from trainer.rewards import check, scan
from trainer.rewards.scan import Retelling
from trainer.rewards.wrapper import ComponentRewardWrapper
from trainer.spec import Component, Reward

TAGGED = Component(function="exact_match", params={"extract": "<a>([^<]*)</a>"})
DROPS = Retelling(lambda prompt, text: text.replace("<a>", "").replace("</a>", ""), ["<a>", "</a>", "<pad>"])


def rows(*golds: Any) -> list[dict[str, Any]]:
    return [{"prompt": [{"role": "user", "content": "?"}], "answer": gold} for gold in golds]


def said(wrapper: ComponentRewardWrapper, golds: list[Any], told: Retelling | None = None) -> list[str]:
    return [str(note) for note in scan.scan(wrapper, rows(*golds), told)]


def test_sound_golds_leave_nothing_to_say() -> None:
    wrapper = ComponentRewardWrapper(Reward(components=[TAGGED], gold_template="<a>{answer}</a>"))
    same = Retelling(lambda prompt, text: f" {text}\n", ["<pad>"])
    assert said(wrapper, ["x"] * 3000, same) == []


def test_the_one_odd_row_of_thousands_is_found() -> None:
    wrapper = ComponentRewardWrapper(Reward(components=[TAGGED], gold_template="<a>{answer}</a>"))
    (note,) = said(wrapper, [*["x"] * 2000, "1 < 2", *["x"] * 50])
    assert note == "exact_match: 1 of 2051 gold answers are not right (row 2000: <a>1 < 2</a> gets 0)"


def test_golds_that_a_function_cannot_read_are_counted() -> None:
    wrapper = ComponentRewardWrapper(Reward(components=[Component(function="math")]))
    (note,) = said(wrapper, ["1/2", "none", "4", "no idea"])
    assert note.startswith("math: 2 of 4 gold answers have no value (row 1: cannot compare with the gold answer")


def test_a_file_of_ones_own_is_asked_too_and_may_leave_rows_out(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "def mine(completions, answer, **columns):\n"
        "    return [None if a == 'skip' else 1 / (a != 'bad') for a in answer]\n"
    )
    wrapper = ComponentRewardWrapper(Reward(components=[Component(function="mine", file=str(path))]))
    (note,) = said(wrapper, ["a", "skip", "bad", "b"])
    assert note.startswith("mine: 1 of 4 gold answers have no value (row 2: raised ZeroDivisionError")


def test_lost_tags_are_named_and_other_changes_shown() -> None:
    wrapper = ComponentRewardWrapper(Reward(components=[TAGGED], gold_template="<a>{answer}</a>"))
    (note,) = said(wrapper, ["x", "y"], DROPS)
    assert note.startswith("<a>, </a>: special tokens of this model") and "(2 of 2 gold answers hold them)" in note
    plain = ComponentRewardWrapper(Reward(components=[Component(function="exact_match")]))
    lower = Retelling(lambda prompt, text: text.lower())
    (note,) = said(plain, ["x", "Ab", "C"], lower)
    assert note == "2 of 3 gold answers are other texts after the tokenizer: in row 1 Ab becomes ab"


def test_the_trial_shows_what_the_tokenizer_costs() -> None:
    wrapper = ComponentRewardWrapper(Reward(components=[TAGGED], gold_template="<a>{answer}</a>"))
    found = check.trial(wrapper, rows("x"), retelling=DROPS)
    told = [one for one in found.tries if one.what == check.RETOLD]
    assert [(one.completion, one.reward) for one in told] == [("x", 0.0)]
    assert "row 0: as the tokenizer gives it back, the gold answer gets 0 instead of 1" in map(str, found.warnings)


def test_the_scan_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "SCAN_S", 0.05)
    wrapper = ComponentRewardWrapper(Reward(components=[TAGGED]))
    endless = itertools.count()
    scan.scan(wrapper, (rows("x")[0] for _ in endless))
    assert next(endless) > 0


FORM = Component(function="format_regex", params={"pattern": "(?s).*"})


@pytest.mark.parametrize(
    ("components", "said"),
    [
        ([TAGGED, FORM], "row 0: the reward of empty is 1, 50 % of the gold answer's 2. "),
        ([TAGGED, FORM.model_copy(update={"weight": 0.4})], None),
        ([TAGGED, FORM.model_copy(update={"weight": 3.0})], "row 0: the reward of empty is 3, 75 % of"),
        ([FORM], "row 0: the reward of empty is 1, that of the gold answer 1"),
    ],
)
def test_form_that_is_paid_without_content_is_said_first(components: list[Component], said: str | None) -> None:
    wrapper = ComponentRewardWrapper(Reward(components=components, gold_template="<a>{answer}</a>"))
    warnings = [str(note) for note in check.trial(wrapper, rows("x")).warnings]
    if said is None:
        assert not any("gold answer" in note for note in warnings)
    else:
        assert warnings[0].startswith(said)

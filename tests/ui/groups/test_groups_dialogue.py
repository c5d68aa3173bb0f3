"""A completion of several turns is a transcript, and all of its text is inert."""

from __future__ import annotations

from typing import Any

from tests.ui.groups.made import HOSTILE, completion, group
from trainer.text import words
from trainer.ui.groups import cards
from trainer.ui.groups.safe_text import inert

EN, KO = words("en"), words("ko")


def dealt(one: dict[str, Any], whole: frozenset[int] = frozenset(), say: Any = EN) -> str:
    return cards.cards(group(completions=[one]), "written", whole, cards.Paid({}, {}, {}), say)


def turn(said: str = "", calls: Any = (), reward: float | None = 0.5, advantage: float | None = 0.25) -> dict[str, Any]:
    return {"said": said, "calls": [list(one) for one in calls], "tokens": 9, "reward": reward, "advantage": advantage}


def test_every_turn_stands_under_its_reward_and_advantage() -> None:
    shown = dealt(
        completion("all", turns=[turn("so", [("guess(number=4)", "higher")]), turn("won", reward=None, advantage=-1.0)])
    )
    first, second = shown.split('<div class="gg-step">')[1:]
    assert "turn 1: 0.500" in first and "+0.25 more likely" in first
    assert first.index("so") < first.index("guess(number=4)") < first.index("higher")
    assert '<div class="gg-call">guess(number=4)</div><div class="gg-answer">higher</div>' in first
    assert "turn 2<" in second and "\u22121.00 less likely" in second and "won" in second
    assert "1\ubc88\uc9f8 \ucc28\ub840: 0.500" in dealt(completion("all", turns=[turn("so")]), say=KO)


def test_a_call_that_was_not_answered_says_so_and_an_empty_turn_is_one() -> None:
    shown = dealt(completion("", turns=[turn(calls=[("guess(number=4)", None)]), turn()]))
    assert "(not answered)" in shown
    assert shown.count('<div class="gg-step">') == 2


def test_what_an_environment_says_stays_text() -> None:
    shown = dealt(completion(HOSTILE, turns=[turn(HOSTILE, [(HOSTILE, HOSTILE)])]))
    assert shown.count(inert(HOSTILE)) == 3
    assert "<script" not in shown and "<img" not in shown


def test_a_long_transcript_is_cut_until_asked_for() -> None:
    one = completion("x" * 9000, turns=[turn("a" * 4000, [("b" * 4000, "c" * 1000)]), turn("end of it")])
    shown = dealt(one)
    assert "data-whole" in shown and len(shown) < 5000 and "end of it" not in shown
    assert "end of it" in dealt(one, frozenset({0})) and "data-whole" not in dealt(one, frozenset({0}))


def test_turns_of_the_wrong_kind_are_left_out() -> None:
    odd = [3, {"said": 1, "calls": [["a"], "b", ["c", 4]], "reward": "x", "advantage": None, "thought": 5}]
    (found,) = group(completions=[completion("text", turns=odd)]).completions
    assert [(one.said, list(one.calls), one.reward, one.thought) for one in found.turns] == [
        ("", [("c", None)], None, "")
    ]
    assert "text" in dealt(completion("text", turns="none"))


def test_what_the_model_thought_is_a_piece_of_its_own() -> None:
    thinking = turn("I guess four", [("guess(number=4)", "higher")]) | {"thought": HOSTILE}
    shown = dealt(completion("all", turns=[thinking, turn("won")]))
    first, second = shown.split('<div class="gg-step">')[1:]
    assert f'<div class="gg-thought"><b>thought</b>{inert(HOSTILE)}</div>' in first and "gg-thought" not in second
    assert first.index("gg-thought") < first.index("I guess four") < first.index("guess(number=4)")
    assert "<script" not in shown
    assert "<b>\uc0dd\uac01</b>" in dealt(completion("all", turns=[thinking]), say=KO)
    alone = dealt(completion("", turns=[turn() | {"thought": "only that"}]))
    assert "only that" in alone and "gg-said" not in alone


def test_a_long_thought_can_be_shown_to_its_end() -> None:
    """The text of a completion is without it."""
    one = completion("short", turns=[turn("short") | {"thought": "t" * 8000}])
    assert "Show all 8,005 characters" in dealt(one) and "short" in dealt(one, frozenset({0}))

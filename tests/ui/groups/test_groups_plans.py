"""A group of plans is a tree: each plan once, and under it what was made of it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.ui.groups.made import HOSTILE, carried, completion, group, two_plans
from trainer.text import words
from trainer.ui.groups import cards, panel
from trainer.ui.groups.safe_text import inert

EN, KO = words("en"), words("ko")
MINUS = "\u2212"


def dealt(rows: list[dict[str, Any]], whole: frozenset[int] = frozenset(), say: Any = EN, order: str = "best") -> str:
    return cards.cards(group(completions=rows), order, whole, cards.Paid({}, {}, {}), say)


def sections(html: str) -> list[str]:
    return html.split("<section ")[1:]


def test_a_plan_is_drawn_once_by_number_with_its_mean_and_its_advantage() -> None:
    shown = dealt(two_plans())
    first, second = sections(shown)
    assert shown.count("count back. ") == shown.count("guess. ") == 1
    for section, name, mean, chip in ((first, 1, "0.250", f"{MINUS}0.71 less"), (second, 2, "0.750", "+0.71 more")):
        head = section[: section.index("</header>")]
        assert f'aria-label="Plan {name}"' in head and f"mean {mean}" in head and chip in head
        assert "completions: 2" in head
    assert "best plan" in second and "best plan" not in first
    assert 'class="gg-plan gg-down"' in first and 'class="gg-plan gg-up"' in second


def test_under_it_stands_what_was_made_of_it_with_the_advantage_of_the_rest() -> None:
    rows = two_plans()
    rows[0] |= {"truncated": True, "failed": {"exact_match": "it hung"}, "correct": True}
    second = sections(dealt(rows))[1]
    made = re.findall(r"<article.*?</article>", second)
    assert len(made) == 2  # best first, as the list says
    assert "it is nine" in made[0] and "+0.50 more likely" in made[0] and "it is eight" in made[1]
    assert f"{MINUS}0.50 less likely" in made[1]
    for told in ("cut", "right", "it hung", "exact_match", "tokens", "#1"):
        assert told in made[0]
    worst = re.findall(r"<article.*?</article>", sections(dealt(rows, order="worst"))[1])
    assert "it is eight" in worst[0]


@pytest.mark.parametrize("rewards", [(0.5, 0.5), (None, None)])
def test_of_equal_plans_and_of_one_alone_none_is_the_best(rewards: tuple[float | None, float | None]) -> None:
    rows = [carried(n, f"plan {n}", " done", 1.0, reward=reward) for n, reward in enumerate(rewards)]
    assert "best plan" not in dealt(rows)
    assert "best plan" not in dealt(rows[:1])
    assert ("no reward" in dealt(rows)) == (rewards[0] is None)


def test_of_more_completions_than_are_shown_all_count() -> None:
    """The worst first: of the best plan, paid last, one is shown."""
    rows = [carried(0, "guess. ", f"{n}", 0.0, reward=0.25) for n in range(cards.MOST_CARDS - 1)]
    rows += [carried(1, "count. ", f"{n}", 0.5, reward=0.5) for n in range(3)]
    rows += [carried(2, "think. ", f"{n}", 1.0, reward=1.0) for n in range(2)]
    first, second = sections(dealt(rows, order="worst"))
    assert f"completions: {cards.MOST_CARDS - 1}" in first and "completions: 3" in second
    assert "best plan" not in first + second  # it is the third


def test_plans_in_korean() -> None:
    shown = dealt(two_plans(), say=KO)
    assert 'aria-label="\uacc4\ud68d 1"' in shown and "\uac00\uc7a5 \uc88b\uc740 \uacc4\ud68d" in shown


def test_what_a_plan_says_stays_text() -> None:
    shown = dealt([carried(0, HOSTILE, HOSTILE, 1.0), carried(0, HOSTILE, "other", 0.0)])
    assert shown.count(inert(HOSTILE)) == 2
    assert "<script" not in shown and "<img" not in shown


def test_the_end_of_a_long_plan_is_folded_and_a_long_rest_is_cut_until_asked_for() -> None:
    shown = dealt([carried(0, "p" * 9000, "r" * 9000 + "end of it", 1.0)])
    assert "Show the other 6,000 characters" in shown and shown.count("p" * 3000) == 3
    assert 'data-whole="0"' in shown and "Show all 9,009 characters" in shown and "r" * 3000 not in shown
    assert "r" * 9000 in dealt([carried(0, "p", "r" * 9000, 1.0)], frozenset({0}))


def test_an_empty_plan_and_an_empty_rest_say_so() -> None:
    shown = dealt([carried(0, "", "rest", 1.0), carried(1, "plan", "", 0.0)])
    assert "(the plan is empty)" in shown and "(nothing was written)" in shown


def test_completions_without_a_plan_stand_behind_the_plans() -> None:
    rows = [completion("alone", 0.0), *two_plans(), carried(0, "longer than", "", 0.0, text_end=99)]
    shown = dealt(rows)
    assert len(sections(shown)) == 2
    assert shown.index("alone") > shown.rindex("</section>") < shown.index("longer than")
    assert len(re.findall("<article", shown)) == 6


def test_two_texts_under_one_number_are_shown_both() -> None:
    shown = dealt([carried(0, "first", " a", 1.0), carried(0, "second", " b", 0.0)])
    assert len(sections(shown)) == 2 and "first" in shown and "second" in shown


def test_a_group_whose_plans_alone_pushed_taught_something() -> None:
    """The sum over the tokens of a completion may be 0 where plan and rest are not."""
    assert panel.band(group(completions=two_plans()), EN) == ""
    still = [carried(0, "p", "q", 1.0, advantage=0.0, rest_advantage=0.0)] * 2
    assert "taught nothing" in panel.band(group(completions=still, outcome="all_right"), EN)

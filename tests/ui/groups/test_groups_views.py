"""What the Groups tab says of a step, a group and a completion."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ui.groups.made import HOSTILE, completion, group
from trainer.rewards.library.extract import finder
from trainer.run.groups import Completion
from trainer.run.rundir import RunDir
from trainer.spec import Component
from trainer.text import words
from trainer.ui.groups import appearances, cards, credit, listing, panel, strip
from trainer.ui.groups.choice import GroupChoice, chosen
from trainer.ui.groups.index import Appearance
from trainer.ui.groups.known import Known
from trainer.ui.groups.safe_text import inert

EN = words("en")
ANSWER = "<answer>([^<]*)</answer>"
LEAVES = {
    "right": Component(function="exact_match", name="right", params={"extract": ANSWER}),
    "form": Component(function="format_regex", name="form", params={"pattern": "<answer>.*</answer>"}),
}


def known(**more: Any) -> Known:
    given: dict[str, Any] = {"steps": [1, 2, 3], "std": [0.1, None, 0.3], "dead": [0.0, None, 1.0], "last_step": 3}
    return Known(RunDir(Path("/nowhere/a")), "finished", **(given | {"leaves": LEAVES} | more))


def first(**more: Any) -> Completion:
    return group(completions=[completion(**more)]).completions[0]


# ---- what a browser asks


def test_what_a_browser_asks_is_checked() -> None:
    asked = '{"run": "a", "step": 4, "group": 2, "whole": [0, -1, -9, "x"], "follow": true, "left": 1, "key": "zz"}'
    found = chosen("a", asked, "best", "dead", "longest", "  word ")
    assert found == GroupChoice(4, 2, None, frozenset({0, -1}), True, (1, None), "best", "dead", "longest", "word")
    assert chosen("b", asked, "best", "all", "best", "").step is None


@given(st.one_of(st.none(), st.text(), st.integers(), st.just('{"run": "a", "step": 1e999}'), st.just("[" * 1999)))
def test_junk_counts_as_not_asked(junk: Any) -> None:
    assert chosen("a", junk, junk, junk, junk, None) == GroupChoice()


# ---- the scrubber


@given(st.lists(st.integers(0, 10**6), unique=True, max_size=60).map(sorted))
def test_steps_come_back_from_their_stretches(steps: list[int]) -> None:
    told = [first + distance * n for first, distance, count in strip.runs(steps) for n in range(count)]
    assert told == steps


def test_a_long_run_has_few_marks_and_uneven_steps_few_stretches() -> None:
    found = strip.marks([0.5] * 100_000, [0.5] * 100_000)
    assert len(found) == strip.MOST_MARKS
    assert sum(mark.count for mark in found) == 100_000
    assert len(strip.offered([n * n for n in range(5000)])) <= strip.MOST_RUNS
    assert strip.offered(range(1, 5001)) == [(1, 1, 5000)]


def test_a_step_that_said_nothing_has_a_mark_of_its_own() -> None:
    shown = strip.strip(known(), 0, True, EN)
    assert shown.count("<rect") == 4 and "gg-untold" in shown
    assert 'data-runs="1,1,3"' in shown and 'data-following="1"' in shown
    assert "spread 0.100, 0 % taught nothing" in shown


def test_a_step_without_a_file_shows_the_one_before() -> None:
    found = known(steps=[1, 5, 9])
    assert [found.place(step) for step in (None, 0, 1, 4, 5, 8, 99)] == [2, 0, 0, 0, 1, 1, 2]


# ---- the list


def test_prompts_are_sorted_filtered_and_searched() -> None:
    groups = [
        group(0, prompt="low", mean=0.1, std=0.3),
        group(1, prompt="high", mean=0.9, std=0.0, outcome="all_right"),
        group(2, prompt="long", mean=None, std=None, outcome="constant", completions=[completion("a NEEDLE" * 99)]),
    ]
    places = {order: [g.place for g in listing.listed(groups, GroupChoice(order=order))] for order in listing._ORDERS}
    expected = {"written": [0, 1, 2], "best": [1, 0, 2], "worst": [0, 1, 2], "spread": [0, 1, 2], "longest": [2, 0, 1]}
    assert places == expected
    assert [g.place for g in listing.listed(groups, GroupChoice(kind="dead", order="written"))] == [1, 2]
    assert [g.place for g in listing.listed(groups, GroupChoice(kind="alive"))] == [0]
    assert [g.place for g in listing.listed(groups, GroupChoice(search="needle"))] == [2]


def test_the_list_marks_the_chosen_and_is_bounded() -> None:
    groups = [group(n, prompt=HOSTILE) for n in range(listing.MOST_ROWS + 3)]
    shown = listing.rows(groups, 1, 7, EN)
    assert shown.count("<li>") == listing.MOST_ROWS and "3 more prompts" in shown
    assert shown.count("aria-current") == 1 and 'data-of="7"' in shown
    assert "<img" not in shown and "<script" not in shown
    assert EN("groups.list_none") in listing.rows([], None, 1, EN)


# ---- one group


def test_a_group_that_taught_nothing_says_so_and_why() -> None:
    same = [completion(f"<answer>{n}</answer>", reward=0.0) for n in range(4)]
    shown = panel.band(group(completions=same, outcome="all_wrong"), EN)
    assert "All four got the same reward. This group taught nothing." in shown
    assert EN("groups.why_all_wrong").split("'")[0][:40] in shown
    assert "All 40 got" in panel.band(group(completions=same * 10, outcome="constant"), EN)
    alike = panel.band(group(completions=[completion(reward=0.0)] * 4, outcome="all_wrong"), EN)
    assert "the same text" in alike and "too hard" not in alike
    assert panel.band(group(), EN) == ""
    nobody = [completion(reward=None, failed={"right": "it raised"}) for _ in range(2)]
    assert "No component could judge" in panel.band(group(completions=nobody, outcome="constant"), EN)
    assert "nothing to compare" in panel.band(group(completions=same[:1], outcome="all_wrong"), EN)
    masked = [completion(reward=1.0), completion(reward=0.0)]
    assert "mask_truncated_completions" in panel.band(group(completions=masked), EN)


def test_korean_counts_too() -> None:
    same = [completion(reward=0.0) for _ in range(4)]
    assert "4\uac1c" in panel.band(group(completions=same, outcome="constant"), words("ko"))


def test_the_last_question_is_shown_and_what_came_before_is_folded() -> None:
    prompt = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "an example"},
        {"role": "assistant", "content": "its answer"},
        {"role": "user", "content": [{"type": "text", "text": "the question"}]},
    ]
    shown = panel.asked(group(prompt=prompt), frozenset(), EN)
    before, _, after = shown.partition("</details>")
    assert all(text in before for text in ("Be brief.", "an example", "its answer", "(3)"))
    assert "the question" in after and "<dt>answer</dt>" in after


def test_what_the_model_saw_is_folded_and_is_no_markup() -> None:
    seen = "<bos><user>What is 1?<end><assistant>"
    shown = panel.asked(group(prompt="What is 1?", seen=seen), frozenset(), EN)
    assert "As the model saw it" in shown and inert(seen) in shown and seen not in shown
    for nothing in ("What is 1?", None, 3):
        assert "As the model saw it" not in panel.asked(group(prompt="What is 1?", seen=nothing), frozenset(), EN)


def test_a_long_prompt_is_folded_beyond_its_first_lines() -> None:
    lines = "\n".join(f"line {n}" for n in range(40))
    head, _, rest = panel.asked(group(prompt=lines), frozenset(), EN).partition("<details")
    assert "line 11" in head and "line 20" not in head and "line 39" in rest
    head, _, rest = panel.asked(group(prompt="x" * 100_000), frozenset(), EN).partition("<details")
    assert len(head) < 2500 and "data-whole" in rest
    assert "x" * 90_000 in panel.asked(group(prompt="x" * 100_000), frozenset({-1}), EN)


# ---- the cards


def dealt(group: Any, whole: frozenset[int] = frozenset(), order: str = "best", leaves: Any = None) -> str:
    found = LEAVES if leaves is None else leaves
    return cards.cards(group, order, whole, cards.Paid({"right": "c1", "form": "c2"}, found, {"form": 0.5}), EN)


def test_a_card_says_what_was_paid_by_sign_word_and_colour() -> None:
    paid = completion(reward=1.5, advantage=0.39, components={"right": 1.0, "form": -2.0}, truncated=True,
                      unpaid={"right": 0.5})  # fmt: skip
    lost = completion("x", None, advantage=-0.5, components={"right": None}, failed={"right": "<b>it raised"})
    shown = dealt(group(completions=[lost, paid, completion(advantage=0.0)]))
    assert shown.index("1.50") < shown.index("no reward")  # best first
    assert '<span class="gg-chip gg-up">+0.39 more likely</span>' in shown
    assert '<span class="gg-chip gg-down">\u22120.50 less likely</span>' in shown
    assert '<span class="gg-chip gg-zero">0 no change</span>' in shown
    assert "0.500, not paid: its only_if does not hold" in shown
    assert "\u2702 cut" in shown and "\u2713 right" in shown and "\u2715 wrong" in shown
    assert "gg-minus" in shown and "\u22122.00" in shown and "\u00d70.5" in shown
    assert "not judged" in shown and "&lt;b&gt;it raised" in shown
    assert "#3 = #2" in shown  # the same text


def test_long_texts_are_cut_in_their_middle_until_asked_for() -> None:
    long = group(completions=[completion("a" * 50_000 + "<answer>1</answer>")])
    shown = dealt(long)
    assert len(shown) < 6000 and 'data-whole="0"' in shown and "&lt;answer&gt;" in shown
    whole = dealt(long, frozenset({0}))
    assert "a" * 50_000 in whole and "data-whole" not in whole


def test_sixty_four_completions_stay_bounded() -> None:
    many = group(completions=[completion("y" * 100_000, n / 64) for n in range(64)])
    shown = dealt(many)
    assert shown.count("<article") == 64 and "gg-many" in shown
    assert len(shown) < 64 * 3000


def test_no_text_of_a_card_is_markup() -> None:
    odd = completion(HOSTILE, components={HOSTILE: 1.0}, failed={HOSTILE: HOSTILE})
    shown = dealt(group(completions=[odd, odd], columns={HOSTILE: HOSTILE}, prompt=HOSTILE), leaves={})
    shown += panel.asked(group(prompt=HOSTILE, columns={HOSTILE: [HOSTILE]}), frozenset(), EN)
    assert not re.search("<img|<script|\\{\\{|\\$\\{|[\u202e\u200b]", shown)


def test_steps_are_shown_with_their_pay() -> None:
    text = "first\nsecond\nrest"
    steps = [
        {"text_end": 6, "tokens": 2, "reward": 0.5, "advantage": 0.3},
        {"text_end": 13, "tokens": 4, "reward": None, "advantage": -0.3},
    ]
    shown = dealt(group(completions=[completion(text, steps=steps)]))
    assert shown.count('class="gg-step"') == 2
    assert "step 1: 0.500" in shown and "+0.30 more likely" in shown and "\u22120.30 less likely" in shown
    assert re.sub("<[^>]*>", "", shown).endswith("second\nrest")


# ---- credit


@given(st.text(alphabet="<>/answer1 \n", max_size=60))
def test_what_is_marked_is_what_the_reward_read(text: str) -> None:
    found = credit.spans(first(text=text, components={"right": 1.0}), LEAVES)
    read = finder(ANSWER)(text)
    assert [text[span.start : span.end].strip() for span in found] == ([read] if read or found else [])


def test_credit_is_marked_where_it_was_earned() -> None:
    earned = first(text="so <answer>1</answer>", components={"right": 1.0, "form": 0.0})
    assert credit.spans(earned, LEAVES) == [credit.Span(11, 12, "right", True)]
    shown = dealt(group(completions=[completion("so <answer>1</answer>", components={"right": 1.0})]))
    assert '<mark class="gg-read gg-earned gg-c1" title="right rewarded this">1</mark>' in shown
    missed = dealt(group(completions=[completion("so <answer>1</answer>", components={"right": 0.0})]))
    assert "gg-read gg-read gg-c1" in missed


@pytest.mark.parametrize(
    "params", [{"extract": "(a|aa)+$"}, {"extract": "("}, {"extract": 7}, {"extract": ANSWER, "normalise": True}, {}]
)
def test_nothing_is_marked_where_it_can_not_be_known(params: dict[str, Any]) -> None:
    leaves = {"right": Component(function="exact_match", name="right", params=params)}
    assert credit.spans(first(text="a" * 60 + "b", components={"right": 1.0}), leaves) == []


# ---- one prompt through the run


def seen(step: int, mean: float | None = 0.5) -> Appearance:
    return Appearance(step, 0, 0, mean, 0.1, "spread", 0)


def test_a_prompt_is_told_through_the_run() -> None:
    found = [seen(n) for n in range(1, 201)]
    shown = appearances.history(found, 1.0, 200, (None, 5), lambda one: group(completions=[completion(HOSTILE)]), EN)
    assert "<svg" in shown and "24 of 200 times" in shown
    assert shown.count("<tr") == 1 + appearances.MOST_ROWS
    assert "<img" not in shown and "Step 1<" in shown and "Step 5<" in shown


def test_an_index_that_is_being_read_says_so() -> None:
    assert "Still reading: 40 %" in appearances.history([], 0.4, 1, (None, None), lambda one: None, EN)
    once = appearances.history([seen(3)], 1.0, 3, (None, None), lambda one: None, EN)
    assert "once so far, at step 3" in once
    gone = appearances.history([seen(3), seen(4, None)], 1.0, 3, (None, None), lambda one: None, EN)
    assert EN("groups.history_gone") in gone


# ---- groups that were not trained on


ALIKE = [completion("a", 0.0), completion("b", 0.0)]


@pytest.mark.parametrize(("code", "said"), [("en", "replaced: not trained on"), ("ko", "바꾼 그룹: 학습에 쓰지 않음")])
def test_a_group_that_was_replaced_says_so_in_the_list_and_beside_its_prompt(code: str, said: str) -> None:
    say = words(code)
    thrown = group(completions=ALIKE, outcome="all_wrong", thrown=True)
    kept = group(completions=ALIKE, outcome="all_wrong")
    for one, there in ((thrown, True), (kept, False)):
        shown = listing.rows([one], None, 1, say), panel.panel(known(), one, 1, GroupChoice(), say)
        assert [said in html for html in shown] == [there, there]
    assert say("groups.why_thrown") in panel.band(thrown, say)
    assert say("groups.why_thrown") not in panel.band(kept, say)


def test_a_group_with_spread_that_found_no_room_is_left_over() -> None:
    paid = [completion("a", 1.0), completion("b", 0.0)]
    left = group(completions=paid, thrown=True)
    assert "left over: not trained on" in listing.rows([left], None, 1, EN)
    assert EN("groups.why_left_over") in panel.band(left, EN)
    assert "mask_truncated" not in panel.band(left, EN)

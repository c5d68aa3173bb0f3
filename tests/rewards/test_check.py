"""trainer.rewards.check: what the trial of a reward finds before a training trusts it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trainer.rewards import check
from trainer.rewards.wrapper import ComponentRewardWrapper
from trainer.spec import Component, Reward
from trainer.text import words

ROWS: list[dict[str, Any]] = [{"prompt": [{"role": "user", "content": "6 * 7"}], "answer": "42", "level": 1}]


def trial(*components: Component, rows: list[dict[str, Any]] = ROWS, typed: tuple[str, ...] = (), **reward: Any) -> Any:
    wrapper = ComponentRewardWrapper(Reward(components=list(components), **reward), pooled=True)
    try:
        return check.trial(wrapper, rows, typed)
    finally:
        wrapper.close()


@pytest.fixture
def own(tmp_path: Path) -> Any:
    """own(text): a component from a file with this function body."""

    def make(body: str) -> Component:
        path = tmp_path / "mine.py"
        head = "import random\nt, CALLS = lambda c: c[-1]['content'], []\n"
        path.write_text(f"{head}def mine(completions, answer, **columns):\n    {body}\n")
        return Component(function="mine", file=str(path))

    return make


def test_a_sound_reward_rewards_gold_and_nothing_else() -> None:
    found = trial(Component(function="exact_match"), typed=("42", "41"))
    assert (found.problems, found.warnings) == ([], [])
    paid = {one.what if one.what != check.TYPED else one.completion: one.reward for one in found.tries}
    assert paid == {"gold": 1.0, **dict.fromkeys(check.JUNK, 0.0), "42": 1.0, "41": 0.0}
    assert found.seconds["exact_match"] < 1


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (
            "return [1 / (len(c) - 2) for c in completions]",
            "reward component mine: fails on the gold answer of row 0: raised ZeroDivision",
        ),
        ("raise KeyError('x')", "reward component mine: fails on the gold answer of row 0: raised KeyError"),
    ],
)
def test_a_reward_that_fails_on_the_gold_answer_can_not_be_used(own: Any, body: str, problem: str) -> None:
    body = body.replace("len(c)", "len(c[-1]['content'])")
    assert str(trial(own(body)).problems[0]).startswith(problem)


@pytest.mark.parametrize(
    ("body", "warning"),
    [
        ("return [0.5] * len(completions)", "mine: gives 0.5 to gold and junk alike: it can teach nothing"),
        ("return [random.random() for _ in completions]", "two calls gave different values"),
        (
            "return [float(len(c[-1]['content'])) for c in completions]",
            "row 0: the reward of junk is 19, that of the gold answer 2",
        ),
        (
            "return [1 / len(c[-1]['content']) for c in completions]",
            "mine: fails on empty: raised ZeroDivisionError",
        ),
    ],
)
def test_what_makes_a_reward_doubtful_is_said(own: Any, body: str, warning: str) -> None:
    found = trial(own(body))
    assert found.problems == []
    assert any(str(note).startswith(warning) for note in found.warnings), found.warnings


@pytest.mark.parametrize(
    ("body", "problem", "warning"),
    [
        ("CALLS.append(1); return [1 / (len(CALLS) % 9 == 1)] * len(completions)", "at the second call", ""),
        (
            "CALLS.append(1); return [1 / (bool(t(c)) or len(CALLS) < 2) for c in completions]",
            "",
            "mine: judged empty once",
        ),
    ],
)
def test_what_works_once_only_is_found(own: Any, body: str, problem: str, warning: str) -> None:
    found = check.trial(ComponentRewardWrapper(Reward(components=[own(body)])), ROWS)
    assert [problem in str(one) for one in found.problems] == [True] * bool(problem)
    assert any(str(note).startswith(warning) for note in found.warnings) or not warning


def test_the_gold_template_says_what_is_perfect() -> None:
    tags = Component(function="exact_match", params={"extract": "<a>(.*)</a>"})
    assert "gold_template" in str(trial(tags).warnings[-1])
    assert trial(tags, gold_template="<a>{answer}</a>").warnings == []


def test_rows_without_the_gold_columns_are_tried_without_gold() -> None:
    form = Component(function="format_regex", params={"pattern": "[a-z ]+"})
    rows: list[dict[str, Any]] = [{"prompt": "p"}]
    assert {one.what for one in trial(form, rows=rows).tries} == set(check.JUNK)
    assert any(
        "gold answers were not tried" in str(note) for note in trial(form, rows=rows, gold_template="{gold}").warnings
    )


def test_the_table_shows_why_a_row_failed(own: Any) -> None:
    lines = check.table(
        trial(own("return [1 / len(c[-1]['content']) for c in completions]"), typed=("hello",)), words("en")
    )
    assert lines[0] == ["ROW", "COMPLETION", "REWARD", "mine"]
    assert lines[2][:3] == ["0", "empty", "nothing"]
    assert lines[2][3].startswith("! raised ZeroDivisionError")
    assert lines[-1] == ["0", "typed: hello", "0.2", "0.2"]


def test_a_function_that_takes_messages_for_text_is_told(own: Any) -> None:
    hint = 'text = completion[-1]["content"]'
    assert hint in str(trial(own("return [float(a in c) for c, a in zip(completions, answer)]")).warnings[0])
    assert hint in str(trial(own("return [float(c.strip() == a) for c, a in zip(completions, answer)]")).problems[0])
    assert hint not in str(trial(own("return [1 / 0 for c in completions]")).problems[0])


def test_the_line_named_is_of_the_persons_file(own: Any) -> None:
    assert "(mine.py:4)" in str(trial(own("import re; return [re.search('(', 'x') for c in completions]")).problems[0])

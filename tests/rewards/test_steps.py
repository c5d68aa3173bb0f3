"""trainer.rewards.steps: where steps end, and what each is worth, against tables worked out by hand."""

import time

import pytest
import regex  # type: ignore[import-untyped]

from trainer.rewards.steps import advantages_of_steps, has_spread, normalised, split

TABLE: list[tuple[str, str, list[str]]] = [
    ("line", "", [""]),
    ("line", "one", ["one"]),
    ("line", "one\ntwo", ["one\n", "two"]),
    ("line", "one\ntwo\n", ["one\n", "two\n"]),
    ("line", "one\n\n \ntwo", ["one\n\n \n", "two"]),  # blank lines belong to the step before
    ("line", "\n\none\ntwo", ["\n\none\n", "two"]),  # before the first step there is none
    ("line", " \n ", [" \n "]),
    ("line", "하나\r\n둘", ["하나\r\n", "둘"]),
    ("step", "", [""]),
    ("step", "no marker", ["no marker"]),
    ("step", "Step 1: a\nStep 2: b", ["Step 1: a\n", "Step 2: b"]),
    ("step", "Well. \nStep 1: a\nSTEP 2 : b\nc", ["Well. \nStep 1: a\n", "STEP 2 : b\nc"]),
    ("step", "단계 1: 가\n2단계: 나\n3 단계\uff1a다", ["단계 1: 가\n", "2단계: 나\n", "3 단계\uff1a다"]),
    ("step", "### Step 1\na\n## 2단계 나\n**Step 3:** c", ["### Step 1\na\n", "## 2단계 나\n", "**Step 3:** c"]),
    ("step", "Step 1: see Step 2: x\nStep 2 is next", ["Step 1: see Step 2: x\nStep 2 is next"]),
    ("step", "\n\nStep 1: a\n\nStep 2: b", ["\n\nStep 1: a\n\n", "Step 2: b"]),
    (r"\.", "a.b.", ["a.", "b."]),
    (r"\.", "a. \n b", ["a.", " \n b"]),
    (r"\.", "a.b. ", ["a.", "b. "]),
    (r"\n\n+", "a\nb\n\n\nc", ["a\nb\n\n\n", "c"]),
    (r"(?=b)", "abab", ["a", "ba", "b"]),  # a match without length ends a step where it stands
    (r"(?=a)", "ab", ["ab"]),
    (r"[.?!]|다", "간다 온다", ["간다", " 온다"]),
]


@pytest.mark.parametrize(("rule", "text", "steps"), TABLE)
def test_a_text_is_split_into_steps(rule: str, text: str, steps: list[str]) -> None:
    assert split(text, rule) == steps


@pytest.mark.parametrize(("rule", "text", "steps"), TABLE)
def test_steps_joined_are_the_text(rule: str, text: str, steps: list[str]) -> None:
    assert "".join(split(text, rule)) == text
    assert split(text, rule)


def test_an_expression_that_takes_for_ever_leaves_one_step() -> None:
    text = "." + "a" * 40 + "b"
    started = time.process_time()  # the limit is one of processor time
    assert split(text, r"\.|(a|aa)+(?=c)") == [text]
    assert 0.9 < time.process_time() - started < 3


def test_an_expression_that_is_none_is_said() -> None:
    with pytest.raises(regex.error):
        split("a", "(")


def test_rounding_is_no_spread() -> None:
    assert not has_spread([0.1 + 0.2, 0.3, 0.3])
    assert not has_spread([1.0])
    assert not has_spread([])
    assert has_spread([0.0, 0.01])


# One group of two completions with 3 and 2 steps: mean of (1, 0, 1, 0, 3) = 5/5 = 1,
# deviations 0, -1, 0, -1, 2, their squares add up to 6, of the sample 6/4 = 1.5, whose root is 1.2247449;
# with TRL's 1e-4 the divisor is 1.2248449, so -1 becomes -0.8164299 and 2 becomes 1.6328598.
GROUP = [[1.0, 0.0, 1.0], [0.0, 3.0]]
UNIT = 0.8164299


def test_step_rewards_are_normalised_over_all_steps_of_the_group() -> None:
    first, second = normalised(GROUP, 2, "group")
    assert first == pytest.approx([0.0, -UNIT, 0.0], abs=1e-6)
    assert second == pytest.approx([-UNIT, 2 * UNIT], abs=1e-6)


def test_the_advantage_of_a_step_is_the_sum_from_it_on() -> None:
    first, second = advantages_of_steps(normalised(GROUP, 2, "group"))
    assert first == pytest.approx([-UNIT, -UNIT, 0.0], abs=1e-6)  # 0 - u + 0, -u + 0, 0
    assert second == pytest.approx([UNIT, 2 * UNIT], abs=1e-6)  # -u + 2u, 2u


# A second group of (5, 5, 7): mean 17/3, deviations -2/3, -2/3, 4/3, squares 24/9, root of 12/9 = 1.1547005.
# Over both groups the mean is 22/8 = 2.75, the
# squares of the deviations 1.75, 2.75, 1.75, 2.75, 0.25, 2.25, 2.25, 4.25 add up to 49.5: root of 49.5/7 = 2.6592158.
@pytest.mark.parametrize(
    ("scale", "divisors"),
    [("group", (1.2248449, 1.1548005)), ("batch", (2.6593158, 2.6593158)), ("none", (1.0, 1.0))],
)
def test_what_the_deviation_is_divided_by(scale: str, divisors: tuple[float, float]) -> None:
    rows = normalised([*GROUP, [5.0], [5.0, 7.0]], 2, scale)  # type: ignore[arg-type]
    assert [value * divisors[0] for row in rows[:2] for value in row] == pytest.approx([0, -1, 0, -1, 2], abs=1e-5)
    assert [value * divisors[1] for row in rows[2:] for value in row] == pytest.approx(
        [-2 / 3, -2 / 3, 4 / 3], abs=1e-5
    )


def test_a_step_without_a_reward_counts_for_nothing() -> None:
    assert normalised([[1.0, None, 0.0, 1.0], [0.0, 3.0], [None, None]], 3, "group") == [
        [normalised(GROUP, 2, "group")[0][0], 0.0, *normalised(GROUP, 2, "group")[0][1:]],
        normalised(GROUP, 2, "group")[1],
        [0.0, 0.0],
    ]


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
@pytest.mark.parametrize("group", [[[0.1, 0.1], [0.1]], [[0.1 + 0.2], [0.3]], [[2.0], [None]], [[None], [None]]])
def test_a_group_without_spread_teaches_nothing(group: list[list[float | None]], scale: str) -> None:
    rows = normalised([*group, *GROUP], 2, scale)  # type: ignore[arg-type]
    assert [value for row in rows[:2] for value in row] == [0.0] * sum(map(len, group))
    assert any(rows[3])

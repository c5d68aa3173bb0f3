"""Few points of a long column: nothing that stands out is lost, means are right, values taken back are gone."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from trainer.run.columns import Column
from trainer.show.downsampling import SIZES, picture, smooth

Values = list[float | None]


def made(chance: random.Random, count: int, missing: float) -> Values:
    return [None if chance.random() < missing else chance.gauss(0, 1) for _ in range(count)]


def mean(values: Sequence[float | None], absent: float | None = None) -> float | None:
    found = [absent if value is None else value for value in values]
    known = [value for value in found if value is not None]
    return sum(known) / len(known) if known else None


@pytest.mark.parametrize("seed", range(60))
def test_a_picture_keeps_ends_lowest_and_highest_of_any_window(seed: int) -> None:
    chance = random.Random(seed)
    values = made(chance, chance.choice((0, 1, 7, 240, 241, 300, 5000, 70_000)), chance.choice((0.0, 0.3, 0.97, 1.0)))
    steps: list[int] = []
    for _ in values:  # of an imported run: with gaps
        steps.append((steps[-1] if steps else 0) + chance.choice((1, 1, 1, 4)))
    column = Column(values)
    for _ in range(10):
        first, last = (chance.choice((None, chance.randint(0, 2 * len(values) + 1))) for _ in range(2))
        points = chance.choice((8, 30, 240))
        found = picture(steps, column, first, last, points)
        inside = [
            (step, value)
            for step, value in zip(steps, values, strict=True)
            if value is not None and (first is None or step >= first) and (last is None or step <= last)
        ]
        assert len(found) <= points and found == sorted(found) and set(found) <= set(inside)
        assert found == picture(steps, values, first, last, points)
        if inside:
            assert (found[0], found[-1]) == (inside[0], inside[-1])
            for most in (min, max):
                assert most(value for _, value in found) == most(value for _, value in inside)


def test_a_long_history_keeps_its_ends_dips_and_spikes() -> None:
    column: Values = [1.0] * 100_000
    column[0], column[77_777], column[5], column[9], column[-1] = 0.5, -3.0, None, 9.0, 0.7
    kept = picture(range(1, 100_001), column, points=500)
    assert {(1, 0.5), (77_778, -3.0), (10, 9.0), (100_000, 0.7)} <= set(kept)
    assert picture([1, 2, 3], [0.1, None, float("nan")]) == [(1, 0.1)]


@pytest.mark.parametrize("absent", [None, 0.0])
@pytest.mark.parametrize("seed", range(20))
def test_a_smooth_line_is_the_mean_of_the_steps_before_each_point(seed: int, absent: float | None) -> None:
    chance = random.Random(seed)
    values = made(chance, chance.choice((0, 5, 100, 239, 3000)), chance.choice((0.0, 0.5)))
    steps, column = range(1, len(values) + 1), Column(values)
    for width in (1, 2, 10, 160):
        found = smooth(steps, column, width, absent=absent)
        assert len(found) <= 240
        if len(values) <= 240:  # every step has its point
            means = [(end, mean(values[end - width : end], absent)) for end in range(width, len(values) + 1)]
            expected = [(end, value) for end, value in means if value is not None]
        else:  # stretches of 16 steps, in parts of two
            expected = []
            for end, _ in found:
                back = max(width, 16 if end % 16 == 0 else end % 16)
                expected.append((end, mean(values[end - back : end], absent) or 0.0))
        assert [step for step, _ in found] == [step for step, _ in expected]
        assert [value for _, value in found] == pytest.approx([value for _, value in expected])


def test_smooth_lines_of_one_run_have_the_same_steps_and_add_up() -> None:
    chance = random.Random(1)
    one, other = made(chance, 5000, 0.0), made(chance, 5000, 0.9)
    steps = range(1, 5001)
    both = [(a or 0.0) + (b or 0.0) for a, b in zip(one, other, strict=True)]
    lines = [smooth(steps, values, 100, absent=0.0) for values in (one, other, both)]
    assert len({tuple(step for step, _ in line) for line in lines}) == 1
    for (_, a), (_, b), (_, total) in zip(*lines, strict=True):
        assert a + b == pytest.approx(total)


def test_a_spike_of_a_diverged_step_does_not_touch_the_means_after_it() -> None:
    values: Values = [0.25] * 100_000
    values[10], values[500] = 1e300, float("inf")
    steps, column = range(1, 100_001), Column(values)
    late = [value for step, value in smooth(steps, column, 5000) if step > 6000]
    assert late == pytest.approx([0.25] * len(late), abs=0)
    assert (11, 1e300) in picture(steps, column)
    assert all(value < 1e301 for _, value in picture(steps, column))


def test_points_of_the_past_stay_where_they_are_while_the_run_grows() -> None:
    chance = random.Random(2)
    column = Column(made(chance, 2000, 0.0))
    before = picture(range(1, 2001), column)
    for _ in range(40):
        column.append(chance.gauss(0, 1))
    after = picture(range(1, 2041), column)
    assert before[:-4] == after[: len(before) - 4]


@pytest.mark.parametrize("seed", range(20))
def test_a_column_that_was_cut_is_drawn_as_one_that_never_was_longer(seed: int) -> None:
    chance = random.Random(seed)
    column, values = Column(), Values()
    for _ in range(8):
        more = made(chance, chance.randint(0, 9000), 0.1)
        for value in more:
            column.append(value)
        values += more
        steps = range(1, len(values) + 1)
        assert picture(steps, column) == picture(steps, Column(values))
        assert smooth(steps, column, 40) == smooth(steps, Column(values), 40)
        kept = chance.randint(0, len(values))
        if chance.random() < 0.2:
            size = chance.choice(SIZES)
            kept = kept // size * size
        column.cut(kept)
        del values[kept:]
        steps = range(1, len(values) + 1)
        assert picture(steps, column, points=50) == picture(steps, Column(values), points=50)

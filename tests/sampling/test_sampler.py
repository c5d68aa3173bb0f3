"""Which prompts come next: no row lost, none twice, the budget kept, and a state that goes on where it was."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from trainer.sampling import levels
from trainer.sampling.history import Past, Seen
from trainer.sampling.sampler import Pick, Sampler, Size
from trainer.sampling.skipping import Skipping
from trainer.spec.sampling import Sampling

ROWS, GROUP, PROMPTS = 24, 4, 6
SIZE = Size(ROWS, GROUP, PROMPTS, steps=40)
HARD = [float(row % 3) for row in range(ROWS)]


def sampler(size: Size = SIZE, **settings: Any) -> Sampler:
    hard = HARD[: size.rows] if settings.get("curriculum") == "column" or settings.get("weigh") else None
    return Sampler(Sampling(**settings), size, seed=7, hardness=hard)


def answered(picks: list[Pick], chance: random.Random, right: float = 0.5) -> list[Seen]:
    found = []
    for pick in picks:
        count = sum(chance.random() < right for _ in range(pick.completions))
        kind = "all_right" if count == pick.completions else "spread" if count else "all_wrong"
        found.append(Seen(pick.row, pick.completions, count, 0.5 if kind == "spread" else 0.0, kind))
    return found


EVERY: list[dict[str, Any]] = [
    {"max_rounds": 3},
    {"skip_dead": True},
    {"curriculum": "column", "mix": 0.5},
    {"curriculum": "column", "pace": "steps"},
    {"curriculum": "pass_rate", "measure": 0},
    {"curriculum": "pass_rate", "measure": 2},
    {"group_size": "spread", "max_generations": 9},
    {"group_size": "spread", "weigh": "completions"},
    {"group_size": "threshold"},
    {"curriculum": "column", "skip_dead": True, "group_size": "spread", "max_rounds": 2},
]


@pytest.mark.parametrize("settings", EVERY, ids=str)
def test_a_state_that_was_read_back_goes_on_as_if_nothing_had_happened(settings: dict[str, Any]) -> None:
    one, chance = sampler(**settings), random.Random(1)
    if one.awaits_rates:
        one.measured([row / ROWS for row in range(ROWS)])
    for step in range(12):
        one.told(answered(one.next(PROMPTS * GROUP, step), chance))
    other = sampler(**settings)
    other.load(json.loads(json.dumps(one.state())))
    again = random.Random(2)
    for each, luck in ((one, random.Random(2)), (other, again)):
        each.told(answered(each.next(PROMPTS * GROUP, 12), luck))
    for step in range(13, 30):
        picks = one.next(PROMPTS * GROUP, step)
        assert other.next(PROMPTS * GROUP, step) == picks
        seen = answered(picks, again)
        one.told(seen)
        other.told(seen)
    assert one.metrics() == other.metrics()


@pytest.mark.parametrize("before", [{}, *EVERY], ids=str)
@pytest.mark.parametrize("settings", EVERY, ids=str)
def test_a_state_of_other_settings_or_rows_does_not_end_the_run(
    settings: dict[str, Any], before: dict[str, Any]
) -> None:
    """--force goes on with both: what was not known by then begins anew."""
    one, chance = sampler(**before), random.Random(1)
    if one.awaits_rates:
        one.measured([row / ROWS for row in range(ROWS)])
    for step in range(12):
        one.told(answered(one.next(PROMPTS * GROUP, step), chance))
    state = json.loads(json.dumps(one.state()))
    for size in (SIZE, Size(9, GROUP, PROMPTS, steps=40)):
        other = sampler(size, **settings)
        waits = other.awaits_rates
        other.load(state)
        known = size is SIZE and before.get("curriculum") == settings.get("curriculum")
        assert other.awaits_rates == (waits and not known)
        if other.awaits_rates:
            other.measured([row / size.rows for row in range(size.rows)])
        for step in range(12, 20):
            picks = other.next(PROMPTS * GROUP, step)
            assert all(pick.row < size.rows for pick in picks)
            other.told(answered(picks, chance))


@given(
    settings=some.sampled_from(EVERY),
    rounds=some.lists(some.tuples(some.integers(1, PROMPTS), some.floats(0, 1)), max_size=25),
)
def test_the_budget_of_completions_is_kept(settings: dict[str, Any], rounds: list[tuple[int, float]]) -> None:
    one, chance = sampler(**settings), random.Random(3)
    if one.awaits_rates:
        one.measured([0.0] * ROWS)
    for step, (prompts, right) in enumerate(rounds):
        picks = one.next(prompts * GROUP, step)
        assert len(picks) == prompts
        assert sum(pick.completions for pick in picks) == prompts * GROUP
        least, most = one.settings.min_generations, one.settings.most(GROUP)
        if one.settings.group_size != "fixed":
            assert all(least <= pick.completions <= most for pick in picks)
        one.told(answered(picks, chance, right))


@given(settings=some.sampled_from([{}, {"max_rounds": 2}, {"group_size": "spread"}]), passes=some.integers(1, 4))
def test_no_row_comes_twice_before_all_have_come(settings: dict[str, Any], passes: int) -> None:
    one = sampler(**settings)
    rows = [pick.row for _ in range(passes * ROWS) for pick in one.next(GROUP, 0)]
    for number in range(passes):
        assert sorted(rows[number * ROWS : (number + 1) * ROWS]) == list(range(ROWS))
    if passes > 1:
        assert rows[:ROWS] != rows[ROWS : 2 * ROWS], "another order in every pass"


@given(mix=some.sampled_from([0.0, 0.25, 0.5]), right=some.lists(some.floats(0, 1), min_size=60, max_size=60))
def test_inside_a_level_no_row_is_lost_or_repeated(mix: float, right: list[float]) -> None:
    """However the levels follow one another and whatever is mixed in: each level goes through its rows in passes."""
    one, chance = sampler(curriculum="column", mix=mix), random.Random(4)
    of_level: dict[int, list[int]] = {0: [], 1: [], 2: []}
    for share in right:
        level = one.metrics()["level"] - 1
        if level == 3:
            break
        picks = one.next(PROMPTS * GROUP, 0)
        for pick in picks:
            assert HARD[pick.row] <= level
            of_level[int(HARD[pick.row])].append(pick.row)
        one.told(answered(picks, chance, share))
    for number, rows in of_level.items():
        size = HARD.count(number)
        for first in range(0, len(rows), size):
            part = rows[first : first + size]
            assert len(set(part)) == len(part)


def test_the_share_of_earlier_levels_is_what_was_asked_for() -> None:
    one = sampler(curriculum="column", mix=0.25, pace="steps", level_steps=100)
    assert {HARD[pick.row] for _ in range(8) for pick in one.next(PROMPTS * GROUP, 0)} == {0.0}
    drawn = Counter(HARD[pick.row] for _ in range(100) for pick in one.next(PROMPTS * GROUP, 150))
    assert drawn[1.0] == 450
    assert drawn[0.0] == 150
    drawn = Counter(HARD[pick.row] for _ in range(100) for pick in one.next(PROMPTS * GROUP, 250))
    assert drawn[2.0] == 450
    assert abs(drawn[0.0] - 75) < 25, "each row of the earlier levels as likely as any other"


def test_steps_decide_when_the_next_level_comes_and_after_half_of_them_all_rows_do() -> None:
    one = sampler(curriculum="column", pace="steps")
    found = []
    for step in range(40):
        one.next(GROUP, step)
        found.append(int(one.metrics()["level"]))
    assert found == [1] * 6 + [2] * 6 + [3] * 6 + [4] * 22


def test_success_brings_the_next_level_and_failure_does_not() -> None:
    one, chance = sampler(curriculum="column", pass_bound=0.6), random.Random(5)
    for _ in range(20):
        one.told(answered(one.next(PROMPTS * GROUP, 0), chance, 0.3))
    assert one.metrics()["level"] == 1
    reached = []
    for _ in range(12):
        one.told(answered(one.next(PROMPTS * GROUP, 0), chance, 0.95))
        reached.append(one.metrics()["level"])
    assert reached[0] == 1
    assert reached[-1] == 4


def test_measured_rates_make_levels_and_what_was_learnt_makes_others() -> None:
    one = sampler(curriculum="pass_rate", levels=2)
    one.measured([1.0 if row < 10 else 0.0 for row in range(ROWS)])
    assert one.levels == [list(range(10)), list(range(10, ROWS))]
    learnt, chance = sampler(curriculum="pass_rate", measure=0, levels=2), random.Random(6)
    for _ in range(ROWS // PROMPTS):
        picks = learnt.next(PROMPTS * GROUP, 0)
        learnt.told([s for pick in picks for s in answered([pick], chance, 1.0 if pick.row % 2 else 0.0)])
    assert learnt.levels == [list(range(1, ROWS, 2)), list(range(0, ROWS, 2))]


@pytest.mark.parametrize(
    ("hardness", "count", "sizes"),
    [
        ([1, 1, 2, 2, 3, 3], 3, [2, 2, 2]),
        ([1, 1, 2, 2, 3, 3], 10, [2, 2, 2]),
        ([5, 5, 5], 4, [3]),
        ([*range(100)], 4, [25, 25, 25, 25]),
        ([0] * 90 + [1] * 5 + [2] * 5, 2, [90, 10]),
        ([0] * 5 + [1] * 90 + [2] * 5, 3, [5, 90, 5]),
    ],
)
def test_levels_are_of_about_the_same_size_and_split_no_value(
    hardness: list[float], count: int, sizes: list[int]
) -> None:
    found = levels.of(hardness, count)
    assert [len(rows) for rows in found] == sizes


@given(some.lists(some.integers(0, 6), min_size=1, max_size=60), some.integers(2, 8))
def test_levels_hold_every_row_once_the_easiest_first(hardness: list[float], count: int) -> None:
    found = levels.of(hardness, count)
    assert sorted(row for rows in found for row in rows) == list(range(len(hardness)))
    assert len(found) == min(count, len(set(hardness)))
    for easier, harder in itertools.pairwise(found):
        assert max(hardness[row] for row in easier) < min(hardness[row] for row in harder)


def test_prompts_without_spread_are_skipped_as_often_as_the_paper_says() -> None:
    """GRESO: with probability 1 - e^z after z groups without spread."""
    chance = random.Random(7)
    for dead, expected in ((0, 0.0), (1, 0.5), (2, 0.75), (3, 0.875)):
        skipping = Skipping(0.5)
        share = sum(skipping.skips(Past(dead=dead), chance.random()) for _ in range(4000)) / 4000
        assert share == pytest.approx(expected, abs=0.03)


def test_exploring_moves_towards_one_group_in_four_without_spread() -> None:
    skipping = Skipping(0.5)
    dead = [Seen(0, 4, 0, 0.0, "all_wrong")] * 3 + [Seen(1, 4, 2, 0.5, "spread")] * 9
    skipping.told(dead, [Past()] * 12)
    assert skipping.hard == pytest.approx(0.49)
    assert skipping.easy == pytest.approx(0.51)


def test_where_all_would_be_skipped_one_comes_all_the_same() -> None:
    one, chance = sampler(Size(4, GROUP, 2, 10), skip_dead=True, explore=0.01), random.Random(8)
    for _ in range(50):
        picks = one.next(2 * GROUP, 0)
        assert len(picks) == 2
        one.told(answered(picks, chance, 0.0))


def test_a_filter_that_brings_nothing_is_known() -> None:
    skipping = Skipping(0.5)
    lively, dead = Seen(0, 4, 2, 0.5, "spread"), Seen(0, 4, 0, 0.0, "all_wrong")
    skipping.told([lively] * 64, [Past(dead=1)] * 64)
    assert not skipping.brings_nothing()
    skipping.told([lively] * 32 + [dead] * 32, [Past()] * 64)
    assert skipping.brings_nothing()


def test_more_completions_go_where_rewards_differ_or_nothing_is_known() -> None:
    one = sampler(Size(3, GROUP, 3, 10), group_size="spread", max_generations=8)
    for _ in range(6):
        one.told([Seen(0, 4, 2, 0.5, "spread"), Seen(1, 4, 4, 0.0, "all_right"), Seen(2, 4, 0, 0.0, "all_wrong")])
    sizes = dict(one.next(3 * GROUP, 0))
    assert sizes[0] > GROUP > max(sizes[1], sizes[2])
    fresh = sampler(Size(4, GROUP, 2, 10), group_size="spread", max_generations=8)
    fresh.told([Seen(row, 4, 0, 0.0, "all_wrong") for row in (0, 1)] * 4)
    assert fresh.history.spread(2) > fresh.history.spread(0)


def test_rows_that_are_equally_hard_are_expected_to_be_alike() -> None:
    hard = [float(row // 12) for row in range(ROWS)]
    one = Sampler(Sampling(group_size="spread"), SIZE, seed=7, hardness=hard)
    one.told([Seen(row, 4, 2, 0.5, "spread") for row in range(6)])
    one.told([Seen(row, 4, 0, 0.0, "all_wrong") for row in range(12, 18)] * 3)
    assert one.history.spread(11) > 2 * one.history.spread(23), "neither was drawn"


def test_the_rule_of_a_threshold_adds_one_and_takes_one() -> None:
    one = sampler(Size(2, GROUP, 2, 10), group_size="threshold", spread_threshold=0.2)
    one.told([Seen(0, 4, 2, 0.5, "spread"), Seen(1, 4, 4, 0.1, "spread")])
    assert dict(one.next(2 * GROUP, 0)) == {0: 5, 1: 3}
    one.told([Seen(0, 5, 2, 0.5, "spread"), Seen(1, 3, 3, 0.0, "all_right")])
    assert dict(one.next(2 * GROUP, 0)) == {0: 6, 1: 2}

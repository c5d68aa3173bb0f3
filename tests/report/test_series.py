"""Statistics of series: against brute force, and how often they are wrong on noise of known kind."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.report import series
from trainer.report.series import Away, Points

SEEDS = range(200)


def points(values: Any) -> Points:
    return [(number, float(value)) for number, value in enumerate(values, 1)]


def noise(seed: int, r: float, n: int = 200) -> np.ndarray:
    """Of standard deviation 1; r: correlation from step to step."""
    fresh = np.random.default_rng(seed).normal(size=n + 50)
    found = np.zeros(n + 50)
    for place in range(1, n + 50):
        found[place] = r * found[place - 1] + fresh[place]
    return found[50:] * np.sqrt(1 - r * r)


def share(test: Any) -> float:
    return sum(map(test, SEEDS)) / len(SEEDS)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=120), st.integers(1, 61))
def test_the_rolling_median_is_that_of_the_values_on_both_sides(values: list[float], window: int) -> None:
    found = series.rolling_median(np.array(values), window)
    half = min(window // 2, (len(values) - 1) // 2)
    for place, median in enumerate(found):
        reach = min(half, place, len(values) - 1 - place)
        assert median == statistics.median(values[place - reach : place + reach + 1])


def test_the_rolling_median_of_a_long_series_is_the_same_in_parts() -> None:
    values = np.random.default_rng(0).normal(size=45_000)
    found = series.rolling_median(values)
    for place in (100, 19_990, 20_020, 39_999, 40_040, 44_950):
        assert found[place] == np.median(values[place - 20 : place + 21])


@given(st.lists(st.none() | st.floats(allow_nan=True, allow_infinity=True), max_size=30))
def test_only_finite_values_are_known(column: list[float | None]) -> None:
    found = series.known(range(1, len(column) + 1), column)
    assert all(np.isfinite(value) for _, value in found)
    assert [step for step, _ in found] == sorted({step for step, _ in found})


# ---- trend


@pytest.mark.parametrize("r", [0.0, 0.5, 0.8])
def test_noise_has_no_trend(r: float) -> None:
    assert share(lambda seed: series.trend(points(noise(seed, r))).direction != 0) <= 0.02  # type: ignore[union-attr]


@pytest.mark.parametrize("r", [0.0, 0.5])
def test_a_rise_of_two_deviations_is_seen(r: float) -> None:
    line = np.linspace(0, 2, 200)
    assert share(lambda seed: series.trend(points(noise(seed, r) + line)).direction == 1) >= 0.95  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "curve",
    [
        4 * (1 - np.exp(-np.arange(200) / 25)),  # quick at first, then level
        np.minimum(4, np.arange(200) / 15),  # a ramp, then level
        4 / (1 + np.exp(-(np.arange(200) - 100) / 8)),  # nothing, a leap, nothing
    ],
    ids=["levelling", "ramp", "leap"],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_rise_of_any_shape_is_seen(curve: np.ndarray, sign: int) -> None:
    def seen(seed: int) -> bool:
        found = series.trend(points(sign * curve + 0.5 * noise(seed, 0.5)))
        return found is not None and found.direction == sign

    assert share(seen) >= 0.98


def test_ends_are_means_that_share_no_step() -> None:
    found = series.trend(points([0.0] * 10 + [5.0] * 80 + [1.0] * 10))
    assert found is not None and (found.first, found.last) == (0.0, 1.0)
    assert series.trend(points(range(9))) is None


@given(st.floats(-1e6, 1e6), st.integers(10, 60))
def test_a_constant_has_no_trend_and_nothing_away(value: float, count: int) -> None:
    found = points([value] * count)
    trend = series.trend(found)
    assert trend is not None and trend.direction == 0
    assert series.away(found, "low") == series.away(found, "high") == []


# ---- dips


def test_planted_dips_are_found_and_noise_has_hardly_any() -> None:
    planted = (30, 77, 150)

    def dipped(seed: int) -> bool:
        values = noise(seed, 0.0)
        values[np.array(planted) - 1] -= 9
        return {one.step for one in series.away(points(values), "low")} >= set(planted)

    assert share(dipped) >= 0.95
    assert share(lambda seed: bool(series.away(points(noise(seed, 0.0)), "low"))) <= 0.01
    assert share(lambda seed: bool(series.away(points(noise(seed, 0.5)), "low"))) <= 0.03


@pytest.mark.parametrize("curve", [np.linspace(0, 3, 100), 3 * (1 - np.exp(-np.arange(100) / 8))])
def test_the_begin_of_a_rise_is_no_dip(curve: np.ndarray) -> None:
    assert series.away(points(curve + 0.02 * noise(0, 0, 100)), "low") == []
    assert series.away(points(-curve + 0.02 * noise(0, 0, 100)), "high") == []


def test_without_noise_a_dip_must_be_a_quarter_of_all_that_happens() -> None:
    values = [2.0] * 100
    values[19], values[59] = 1.0, 1.9
    assert [one.step for one in series.away(points(values), "low")] == [20]


def test_neighbours_are_one_event_and_the_farthest_stands_for_them() -> None:
    found = [Away(5, 1.0, 2.0), Away(6, 0.5, 2.0), Away(8, 0.9, 2.0), Away(20, 1.0, 2.0)]
    assert [one.step for one in series.apart(found)] == [6, 20]


@pytest.mark.parametrize(
    ("steps", "period"),
    [
        ([5, 45, 78, 115], 110 / 3),
        ([10, 20, 30, 40, 50], 10.0),
        ([10, 20, 30], None),
        ([10, 12, 50, 51], None),
        ([], None),
    ],
)
def test_a_period_needs_even_gaps(steps: list[int], period: float | None) -> None:
    found = series.period(steps)
    assert (found.steps if found else None) == (pytest.approx(period) if period else None)


def test_events_by_chance_seldom_have_a_period() -> None:
    def periodic(seed: int) -> bool:
        steps = sorted(np.random.default_rng(seed).choice(200, size=5, replace=False))
        return series.period([int(step) for step in steps]) is not None

    assert share(periodic) <= 0.03


# ---- means


def test_the_error_of_a_mean_knows_that_neighbours_are_alike() -> None:
    """Of means of 40 values with r = 0.6 about 95 % lie within two errors of the truth, fewer with the plain error."""

    def inside(seed: int) -> bool:
        found = series.mean(points(noise(seed, 0.6, 40)))
        return found is not None and abs(found.value) <= 2 * found.error

    assert 0.85 <= share(inside) <= 0.99
    assert share(lambda seed: abs(v := noise(seed, 0.6, 40)).any() and abs(v.mean()) <= 2 * v.std() / 40**0.5) < 0.8


def test_one_value_has_no_error_and_none_no_mean() -> None:
    found = series.mean(points([3.0]))
    assert found is not None and (found.value, found.error, found.count) == (3.0, float("inf"), 1)
    assert series.mean([]) is None


def test_newest_and_oldest_are_a_fifth_or_ten() -> None:
    long, short = points(range(100)), points(range(12))
    assert len(series.newest(long)) == len(series.oldest(long)) == 20
    assert len(series.newest(short)) == 10 and len(series.oldest(short)) == 6

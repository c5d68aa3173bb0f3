"""trainer.rewards.arithmetic against tables worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from trainer.rewards.arithmetic import percentile, plain, total
from trainer.rewards.contract import Failure
from trainer.spec import Component, Reward
from trainer.text import Message


def leaf(name: str, **settings: Any) -> Component:
    return Component(function="f", name=name, **settings)


def summed(*components: Component, **settings: Any) -> Component:
    return Component(function="sum", components=list(components), **settings)


CONTEST = Reward(
    components=[leaf("bert"), leaf("em"), summed(leaf("format"), leaf("rouge", weight=3.0), scale=0.5)], divide_by=3
)


@pytest.mark.parametrize(
    ("bert", "em", "form", "rouge", "wanted"),
    [
        (1.0, 1.0, 1.0, 1.0, 4 / 3),  # (1 + 1 + (1 + 3) / 2) / 3
        (0.8, 0.0, 1.0, 0.5, (0.8 + 0.0 + (1.0 + 1.5) / 2) / 3),  # 2.05 / 3
        (0.6, 1.0, 0.0, 0.2, (0.6 + 1.0 + (0.0 + 0.6) / 2) / 3),  # 1.9 / 3
        (0.0, 0.0, 1.0, 0.0, 0.5 / 3),
    ],
)
def test_the_contest_formula_is_a_sum_of_sums(bert: float, em: float, form: float, rouge: float, wanted: float) -> None:
    leaves = {"bert": [bert], "em": [em], "format": [form], "rouge": [rouge]}
    found = total(CONTEST.components, leaves, training=True)[0]
    assert isinstance(found, float)
    assert found / CONTEST.divide_by == pytest.approx(wanted, abs=1e-12)


def test_scale_then_clip_then_weight() -> None:
    component = leaf("a", scale=0.5, clip=(-1.0, 3.0), weight=0.1)
    assert total([component], {"a": [10.0, -10.0, 2.0]}, True) == pytest.approx([0.3, -0.1, 0.1])
    assert plain(component, {"a": [10.0, -10.0, 2.0]}) == [3.0, -1.0, 1.0]


def test_normalising_takes_the_mean_off_and_divides_by_the_sample_deviation() -> None:
    values = total([leaf("a", normalise=True, weight=2.0)], {"a": [1.0, 2.0, 3.0, None]}, True)
    assert values == [-2.0, 0.0, 2.0, None]  # mean 2, deviation 1
    assert total([leaf("a", normalise=True)], {"a": [5.0, 5.0]}, True) == [0.0, 0.0]


def test_percentiles_pull_the_outliers_in() -> None:
    # Of 0, 1, 2, 3, 100 the 25th and 75th percentiles are 1 and 3.
    values = total([leaf("a", clip_percentiles=(25.0, 75.0))], {"a": [0.0, 1.0, 2.0, 3.0, 100.0]}, True)
    assert values == [1.0, 1.0, 2.0, 3.0, 3.0]


@pytest.mark.parametrize("percent", [0.0, 12.5, 37.0, 50.0, 99.0, 100.0])
def test_percentiles_are_those_of_numpy(percent: float) -> None:
    values = sorted([3.0, 1.0, 4.0, 1.5, 9.0, 2.6])
    assert percentile(values, percent) == pytest.approx(float(np.percentile(values, percent)))


def test_what_is_relative_to_the_batch_is_left_out_of_an_evaluation() -> None:
    component = leaf("a", normalise=True, clip_percentiles=(25.0, 75.0), weight=2.0)
    assert total([component], {"a": [1.0, 100.0]}, training=False) == [2.0, 200.0]


def test_none_is_left_out_and_a_failure_spoils_the_whole_row() -> None:
    both = [leaf("a"), leaf("b")]
    failed = Failure(Message("plain.text", text="hung"))
    found = total(both, {"a": [1.0, None, failed, None], "b": [0.5, 0.5, 0.5, None]}, True)
    assert found == [1.5, 0.5, failed, None]


def test_a_failure_inside_a_sum_spoils_the_row_too() -> None:
    nested = [leaf("a"), summed(leaf("b"), leaf("c"), weight=0.5)]
    failed = Failure(Message("plain.text", text="hung"))
    assert total(nested, {"a": [1.0, 1.0], "b": [1.0, failed], "c": [1.0, 1.0]}, True) == [2.0, failed]


def test_many_small_parts_add_up_exactly() -> None:
    parts = [leaf(str(number), weight=0.1) for number in range(10)]
    assert total(parts, {str(number): [1.0] for number in range(10)}, True) == [math.fsum([0.1] * 10)]

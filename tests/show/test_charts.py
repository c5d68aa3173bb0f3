"""Charts as HTML: any numbers can be drawn, and what the script under the pointer reads is there."""

from __future__ import annotations

import html
import re

import pytest

from trainer.show.charts import Chart, Line, axis, render


@pytest.mark.parametrize(
    "values",
    [
        [0.0, 0.0],
        [0.3, 0.30000000000000004, 0.1 + 0.2],
        [1e-15, 3e-15],
        [5e-324, 1e-323],
        [-1e308, 1e308],
        [1e308, 1e308],
        [-2.0, -2.0],
        [1e9, 1e9 + 1],
        [0.0, 1.0],
    ],
)
def test_any_numbers_have_an_axis_and_a_chart(values: list[float]) -> None:
    low, high, marks = axis(min(values), max(values))
    assert low < high and len(marks) >= 2
    drawn = render(Chart("t", [Line("a", "strong", list(enumerate(values, 1)))]), "step", "nothing yet")
    assert not re.search(r"nan|inf\b", drawn)


def test_round_marks_hold_the_values() -> None:
    assert axis(0.0, 0.97) == (0.0, 1.0, [0.0, 0.5, 1.0])
    assert axis(0.12, 0.31) == (0.1, 0.4, [0.1, 0.2, 0.3, 0.4])


def points_of(element: str, drawn: str) -> list[list[str]]:
    found = re.findall(element + r'[^>]*data-points="([^"]*)"', drawn)
    return [html.unescape(text).split("|") for text in found]


def test_a_chart_to_hover_over_carries_its_steps_and_values() -> None:
    lines = [Line("a", "c1", [(3, 0.25), (5, 0.5)]), Line("b", "c2", [(3, 0.5), (5, 0.25)])]
    plain = render(Chart("t", lines), "step", "nothing yet")
    assert "data-" not in plain
    drawn = render(Chart("t", lines, hover=True), "s<tep", "nothing yet")
    assert 'data-first="3" data-last="5" data-step="s&lt;tep"' in drawn
    assert points_of("<span", drawn) == [["3:0.250", "5:0.500"], ["3:0.500", "5:0.250"]]
    assert points_of('<div class="g-card"', drawn) == []
    piled = render(Chart("t", lines, hover=True, stacked=True), "step", "nothing yet")
    assert points_of('<div class="g-card"', piled) == [["3:0.750", "5:0.750"]]
    assert points_of("<span", piled) == points_of("<span", drawn)


def test_an_empty_chart_has_nothing_to_hover_over() -> None:
    assert "data-" not in render(Chart("t", [Line("a", "c1", [])], hover=True), "step", "nothing yet")


def test_a_note_stands_beside_the_newest_value_as_text() -> None:
    drawn = render(Chart("t", [Line("a", "strong", [(1, 0.5)])], note="\u2191 <0.03"), "step", "nothing yet")
    assert "<b>0.500 <small>\u2191 &lt;0.03</small></b>" in drawn

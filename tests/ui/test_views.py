"""Views: RunState -> words, points and lines. No browser, no server."""

from __future__ import annotations

import string
from collections.abc import Callable

import pytest

from trainer.errors import Problem
from trainer.run.rundir import RunDir
from trainer.show import charts
from trainer.text import languages, preferred, words
from trainer.ui import elements, heading
from trainer.ui.known_runs import RunRow

EN, KO = words("en"), words("ko")
MakeRun = Callable[..., RunDir]


# ---------------------------------------------------------------------------------- words


def test_all_languages_have_the_same_keys_with_the_same_values_to_fill_in() -> None:
    def fields(text: str) -> set[str]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name}

    assert set(languages()) == {"en", "ko"}
    for code in languages():
        # In English the docstrings of the spec and the comments of the presets are the words.
        known = words(code).keys()
        assert {key for key in known if not key.startswith(("help.", "reason."))} == EN.keys()
        for key in sorted(EN.keys()):
            assert fields(words(code)(key)) == fields(EN(key)), key
            assert words(code)(key).strip(), key


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("ko-KR,ko;q=0.9,en-US;q=0.8", "ko"),
        ("en-US,en;q=0.9,ko;q=0.8", "en"),
        ("de,ko;q=0.5", "ko"),
        ("ko;q=0.2, en;q=0.7", "en"),
        ("ko;q=0", "en"),
        ("", "en"),
        ("fr-FR", "en"),
        (";;q=,,ko;q=x", "en"),
    ],
)
def test_the_language_a_browser_prefers_is_taken(header: str, language: str) -> None:
    assert preferred(header) == language


def test_an_unknown_language_falls_back_to_the_default() -> None:
    assert words("xx").language == "en"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "n/a"), (2.04, "2.0 s"), (59.4, "59 s"), (59.6, "1 min"), (8760, "2 h 26 min")],
)
def test_a_duration_is_rounded_to_what_is_meant(seconds: float | None, text: str) -> None:
    assert EN.duration(seconds) == text


# ---------------------------------------------------------------------------------- charts


@pytest.mark.parametrize(
    ("low", "high", "marks"),
    [
        (0.0, 1.0, [0.0, 0.5, 1.0]),
        (0.51, 0.65, [0.5, 0.55, 0.6, 0.65]),
        (-3.0, 9.0, [-5.0, 0.0, 5.0, 10.0]),
        (2.0, 2.0, [1.8, 2.0, 2.2]),
    ],
)
def test_an_axis_has_round_numbers(low: float, high: float, marks: list[float]) -> None:
    assert charts.axis(low, high) == (marks[0], marks[-1], marks)


# ---------------------------------------------------------------------------------- the head


def test_a_wanted_run_is_shown_else_one_that_is_going_else_the_newest() -> None:
    rows = [RunRow("new", "finished"), RunRow("going", "running"), RunRow("old", "lost")]
    assert heading.chosen(rows, "old") == "old"
    assert heading.chosen(rows, "gone") == "going"
    assert heading.chosen(rows[::2], None) == "new"
    assert heading.chosen([], "x") is None


# ---------------------------------------------------------------------------------- markup


@pytest.mark.parametrize("text", ["<img src=x onerror=alert(1)>", "${1+1}", "{{value}}", '"><i>'])
def test_what_a_model_wrote_stays_text(text: str) -> None:
    pieces = [
        elements.pre([text], ""),
        elements.alerts([(text, text, text)], ""),
        elements.problems(text, [Problem.plain(text, text, text)], text, EN),
        elements.facts([(text, text)]),
        charts.render(charts.Chart(text, [charts.Line(text, "faint", [(1, 1.0)])]), text, text),
    ]
    assert not any(text in piece for piece in pieces)

"""Views: RunState -> words, points and lines. No browser, no server."""

from __future__ import annotations

import shutil
import string
from collections.abc import Callable

import pytest

from tests.ui.events import began, finished, step, write_run
from trainer import charts
from trainer.errors import Problem, RunError
from trainer.rundir import RunDir, outputs_dir
from trainer.ui import heading, markup
from trainer.ui.known_runs import KnownRuns, Row
from trainer.ui.runs.views import cells
from trainer.ui.text import languages, preferred, words

EN, KO = words("en"), words("ko")
MakeRun = Callable[..., RunDir]


# ---------------------------------------------------------------------------------- words


def test_all_languages_have_the_same_keys_with_the_same_values_to_fill_in() -> None:
    def fields(text: str) -> set[str]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name}

    assert set(languages()) == {"en", "ko"}
    for code in languages():
        # Help on settings: in English the docstrings of the spec are the words (tests/ui/train/test_fields.py).
        known = words(code).keys()
        assert {key for key in known if not key.startswith("help.")} == EN.keys()
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


# ---------------------------------------------------------------------------------- all runs


def test_the_table_lists_every_run_newest_first_and_reads_a_broken_one_as_such(
    make_run: MakeRun,
) -> None:
    make_run("first", *finished())
    write_run(outputs_dir(), "second", [began(), step(1)], title="<b>bold</b>")
    make_run("third").spec.write_text("{")
    rows = {row.name: cells(row, EN) for row in KnownRuns().table().rows}
    assert list(rows) == ["third", "second", "first"]
    assert rows["first"][1:5] == ["finished", "A small one", "40 / 40", "0.138 \u2192 0.887"]
    assert "can not be read" in rows["third"][2]
    assert rows["second"][1] == "lost"


def test_runs_not_read_in_time_come_at_the_next_tick(make_run: MakeRun) -> None:
    for name in ("a", "b", "c"):
        make_run(name, *finished())
    runs = KnownRuns()
    assert [row.status for row in runs.table(budget_s=-1).rows] == [None, None, None]
    assert {row.status for row in runs.table().rows} == {"finished"}
    assert {row.status for row in runs.table(budget_s=-1).rows} == {"finished"}


def test_a_run_made_anew_under_the_same_name_is_read_anew(make_run: MakeRun) -> None:
    runs = KnownRuns()
    old = make_run("tiny-1", *finished())
    assert runs.table().rows[0].status == "finished"
    shutil.rmtree(old.path)
    with pytest.raises(RunError), runs.look("tiny-1"):
        pass
    make_run("tiny-1", began(), step(1, of=7), {"kind": "run_stopped", "step": 1})
    with runs.look("tiny-1") as seen:
        assert (seen.status, seen.total) == ("stopped", 7)


def test_a_wanted_run_is_shown_else_one_that_is_going_else_the_newest() -> None:
    rows = [Row("new", "finished"), Row("going", "running"), Row("old", "lost")]
    assert heading.chosen(rows, "old") == "old"
    assert heading.chosen(rows, "gone") == "going"
    assert heading.chosen(rows[::2], None) == "new"
    assert heading.chosen([], "x") is None


# ---------------------------------------------------------------------------------- markup


@pytest.mark.parametrize("text", ["<img src=x onerror=alert(1)>", "${1+1}", "{{value}}", '"><i>'])
def test_what_a_model_wrote_stays_text(text: str) -> None:
    pieces = [
        markup.pre([text], ""),
        markup.alerts([(text, text)], ""),
        markup.problems(text, [Problem(text, text, text)], text),
        markup.table(["Run", text], [("failed", [text, text])], text),
        markup.facts([(text, text)]),
        charts.render(charts.Chart(text, [charts.Line(text, "faint", [(1, 1.0)])]), text, text),
    ]
    assert not any(text in piece for piece in pieces)

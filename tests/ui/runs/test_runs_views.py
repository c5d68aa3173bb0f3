"""The table of all runs, and what a browser may ask of it. No browser, no server."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.builders import began, checkpoint, finished, step, write_run
from trainer.errors import RunError
from trainer.run import spec_file
from trainer.run.queue_place import take_place
from trainer.run.records import AlertEvent
from trainer.run.rundir import RunDir, outputs_dir
from trainer.text import Message, words
from trainer.ui import heading
from trainer.ui.known_runs import KnownRuns, RunRow, RunTable
from trainer.ui.runs import actions, choice, views
from trainer.ui.runs.choice import RunChoice
from trainer.ui.sparkline import sparkline

EN, KO = words("en"), words("ko")
MakeRun = Callable[..., RunDir]
NOTHING = RunChoice()


def deeds(run: str, language: str = "en") -> dict[str, views.Deed]:
    with KnownRuns().look(run) as seen:
        return {deed.name: deed for deed in views.deeds(seen, KnownRuns().table().queue, words(language))}


def test_the_table_lists_every_run_newest_first_and_reads_a_broken_one_as_such(make_run: MakeRun) -> None:
    make_run("first", *finished())
    write_run(outputs_dir(), "second", [began(), step(1)], title="<b>bold</b>")
    make_run("third").spec.write_text("{")
    known = KnownRuns().table()
    rows = {row.name: views.cells(row, EN) for row in known.rows}
    assert list(rows) == ["third", "second", "first"]
    assert rows["first"][1:7] == [
        "finished", "builtin/tiny-qwen3", "40 / 40", "0.138 \u2192 0.887", "25 % \u2192 75 %", "44 s"
    ]  # fmt: skip
    assert "cannot be read" in rows["third"][2]
    assert rows["second"][1] == "lost"
    shown = views.table(known, NOTHING, "", "first", [], EN)
    assert "<b>bold</b>" not in shown and "&lt;b&gt;bold&lt;/b&gt;" in shown
    assert re.findall(r'<tr class="g-chosen".*?data-run="(.*?)"', shown) == ["first"]
    assert shown.count('<svg class="g-spark"') == 2
    assert 'aria-label="Reward, first to last: 0.138 \u2192 0.887"' in shown


def test_only_many_runs_have_a_filter_by_state_and_ticked_ones_stay_in_sight() -> None:
    rows = [RunRow(f"run-{n}", "lost" if n % 2 else "finished", f"title {n}", "a/model") for n in range(10)]
    assert "g-chips" not in views.table(RunTable(rows[:3], 0), NOTHING, "", None, [], EN)
    shown = views.table(RunTable(rows, 7), NOTHING, "", None, [], EN)
    assert 'data-state="lost"' in shown and "7 older runs" in shown
    lost = RunChoice(ticked=("run-0",), state="lost")
    assert [row.name for row in views.wanted(rows, lost, "")] == ["run-0", "run-1", "run-3", "run-5", "run-7", "run-9"]
    assert [row.name for row in views.wanted(rows, NOTHING, " TITLE 4 ")] == ["run-4"]
    assert views.wanted(rows, NOTHING, "nothing like it") == []
    assert EN("runs.no_match") in views.table(RunTable(rows, 0), NOTHING, "nothing like it", None, [], EN)


@pytest.mark.parametrize("count", [0, 1, 2, 8])
def test_two_to_eight_ticked_runs_can_be_compared(count: int) -> None:
    rows = [RunRow(f"run-{n}", "finished") for n in range(9)]
    chosen = RunChoice(ticked=tuple(row.name for row in rows[:count]))
    shown = views.table(RunTable(rows, 0), chosen, "", None, [], EN)
    assert (re.search(r'data-do="compare"[^>]* disabled', shown) is None) == (count >= 2)
    assert shown.count('aria-checked="true"') == count


def test_a_run_is_called_by_its_title_in_the_language_of_the_page() -> None:
    own = "\ub2e8\uc5b4"
    row = RunRow("tiny-1", "finished", "Reverse a word", "a/model", titles={"ko": own})
    table = RunTable([row], 0)
    assert "Reverse a word" in views.table(table, RunChoice(), "", None, [], words("en"))
    assert own in views.table(table, RunChoice(), "", None, [], words("ko"))
    assert views.wanted([row], RunChoice(), own) == views.wanted([row], RunChoice(), "reverse") == [row]


def test_what_is_off_says_why_and_what_is_on_says_its_effect(make_run: MakeRun) -> None:
    make_run("done", *finished())
    make_run("gone", began(), step(1), checkpoint(1), step(2))
    make_run("broken", *finished()).spec.write_text("{")
    for language in ("en", "ko"):
        found = [*deeds("done", language).values(), *deeds("gone", language).values()]
        assert all(deed.text for deed in found)
    assert {name: deed.on for name, deed in deeds("done").items()} == {
        "open": True, "clone": True, "resume": False, "extend": True, "report": True, "delete": True
    }  # fmt: skip
    assert deeds("gone")["resume"].on and "checkpoint-1" in deeds("gone")["resume"].text
    assert [name for name, deed in deeds("broken").items() if not deed.on] == ["clone", "resume", "extend"]


def test_torn_settings_have_the_way_out_that_a_resume_names(make_run: MakeRun) -> None:
    run = make_run("torn", *finished())
    spec_file.agree(run.spec, run.spec_copy)
    run.spec.write_text(run.spec.read_text()[:40])
    with pytest.raises(RunError) as refused:
        run.read_spec()
    said = refused.value.problems[0].said(EN)
    for name in ("clone", "resume", "extend"):
        text = deeds("torn")[name].text
        assert said.what in text and str(run.spec_copy) in text and "cp " in text


def test_a_run_that_is_going_can_be_neither_extended_nor_deleted(make_run: MakeRun, start: Any) -> None:
    start(make_run("tiny-1"), "obey")
    found = deeds("tiny-1")
    assert not found["extend"].on and not found["delete"].on and not found["resume"].on
    assert found["clone"].on and found["report"].on


def test_the_actions_of_a_run_are_shown_below_its_row(make_run: MakeRun) -> None:
    make_run("tiny-1", *finished())
    shown = views.table(KnownRuns().table(), RunChoice(opened="tiny-1"), "", None, list(deeds("tiny-1").values()), EN)
    assert shown.count('<tr class="g-deeds">') == 1 and 'aria-expanded="true"' in shown
    assert re.search(r'data-do="resume" data-run="tiny-1" disabled', shown)


@pytest.mark.parametrize(
    "text",
    [None, "", "{", "[]", "7", '{"ticked": 3, "opened": 4, "state": "x"}', "[" * 100_000, '{"opened": "../up"}'],
)
def test_a_choice_that_is_none_counts_as_nothing_chosen(text: str | None) -> None:
    assert choice.read(text) == RunChoice()


def test_a_choice_comes_back_as_it_went_and_without_what_is_no_name() -> None:
    chosen = RunChoice(("a", "b"), "c", "lost")
    assert choice.read(chosen.text) == chosen
    told = {"ticked": ["a", "a", "../b", 3, *map(str, range(20))], "state": "lost"}
    assert choice.read(json.dumps(told)).ticked == ("a", *map(str, range(7)))


@pytest.mark.parametrize("points", [[], [(1, 0.5)], [(1, 0.5), (2, 0.5)], [(1, -1.0), (2, 3.0), (9, 2.0)]])
def test_a_small_line_is_drawn_for_any_points(points: list[tuple[int, float]]) -> None:
    drawn = sparkline(points, '"><script>{{x}}')
    assert ("<svg" in drawn) == bool(points)
    assert "<script>" not in drawn and "{{x}}" not in drawn and "nan" not in drawn
    assert ("<path" in drawn) == (len(points) > 1)


def test_a_run_that_waits_says_its_place_and_can_be_moved_or_taken_out(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.machine.spawn.detached", lambda *_, **__: None)
    for name in ("a", "b"):
        make_run(name)
        actions.queue(name, "queue")
    stopped = make_run("stopped", began(), {"kind": "run_stopped", "step": 1})
    assert deeds(stopped.name)["queue"].on
    table = KnownRuns().table()
    states = {row.name: views.cells(row, EN, table.queue)[1] for row in table.rows if row.name in table.queue}
    assert states == {"a": "queued, 1 of 2 in the queue", "b": "queued, 2 of 2 in the queue"}
    can = deeds("a")
    assert (can["sooner"].on, can["later"].on, can["unqueue"].on) == (False, True, True) and "queue" not in can
    actions.queue("b", "sooner")
    assert KnownRuns().table().queue == ("b", "a")
    actions.queue("b", "unqueue")
    assert KnownRuns().table().queue == ("a",)


def test_one_that_could_not_be_started_says_why(make_run: MakeRun) -> None:
    take_place(make_run("a"), 1.0, Message("plain.text", text="its data is gone"))
    assert "its data is gone" in deeds("a")["sooner"].text and deeds("a")["sooner"].on


def test_the_browser_is_told_how_runs_are_and_of_alerts(make_run: MakeRun) -> None:
    make_run("done", *finished())
    alert = AlertEvent.of("warn", "disk_almost_full", name="checkpoint-1")
    found = json.loads(heading.news(KnownRuns().table().rows, {"done": [alert]}, EN))
    state, said, count, newest = found["done"]
    assert (state, said, count) == ("finished", "done has finished its 40 steps.", 1) and newest.startswith("done: ")


def test_a_second_figure_that_is_not_there_is_to_come_or_none() -> None:
    going, ended = RunRow("a", "running", correct=(0.41, None)), RunRow("a", "stopped", correct=(0.41, None))
    both = RunRow("a", "running", correct=(0.41, 0.8))
    shown = [views.cells(row, EN)[5] for row in (going, ended, both)]
    assert shown == ["41 % \u2192 \u2026", "41 % \u2192 -", "41 % \u2192 80 %"]

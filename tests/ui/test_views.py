"""Views: RunState -> words, points and lines. No browser, no server."""

from __future__ import annotations

import shlex
import shutil
import string
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.ui.events import began, checkpoint, finished, step, write_run
from trainer import charts
from trainer.console import lines
from trainer.errors import Problem, RunError
from trainer.report.fold import RunState, fold
from trainer.rundir import RunDir, outputs_dir
from trainer.ui import heading, markup
from trainer.ui.known_runs import KnownRuns, Row
from trainer.ui.live import actions as steering
from trainer.ui.live import views
from trainer.ui.runs.views import cells
from trainer.ui.text import languages, preferred, words
from trainer.ui.train import actions

EN, KO = words("en"), words("ko")
MakeRun = Callable[..., RunDir]


def folded(*events: dict[str, Any]) -> RunState:
    state = RunState()
    for n, event in enumerate(events):
        fold(state, {"t": 100.0 + n, "attempt": 1} | event)
    return state


@pytest.fixture
def finished_run(make_run: MakeRun) -> RunDir:
    return make_run("tiny-1", *finished())


# ---------------------------------------------------------------------------------- words


def test_all_languages_have_the_same_keys_with_the_same_values_to_fill_in() -> None:
    def fields(text: str) -> set[str]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name}

    assert set(languages()) == {"en", "ko"}
    for code in languages():
        assert words(code).keys() == EN.keys()
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


# ---------------------------------------------------------------------------------- one run


def test_a_finished_run_says_what_it_came_to(finished_run: RunDir) -> None:
    with KnownRuns().look("tiny-1") as seen:
        said = views.sentences(seen, EN)
        facts = dict(views.facts(seen, EN, now=1e6))
    assert said == [
        "Finished: 40 steps in 2 min.",
        "Reward: 0.138 in the first steps, 0.887 in the last ones.",
        "Held-out rows answered right: 25 % before, 75 % after, of 128.",
        "In the last 10 steps 25 % of the groups taught nothing (all their completions were paid "
        "the same: 12 % everything right, 12 % everything wrong).",
    ]
    assert (facts["Step"], facts["Phase"], facts["Time left"]) == ("40 / 40", "ended", "-")


def test_a_run_without_spread_is_not_called_learning() -> None:
    dead = folded(*(step(n, dead=1.0) for n in range(1, 4)))
    assert "100 % of the groups taught nothing" in views.dead_sentence(dead, EN)
    alive = folded(step(1, dead=0.0))
    assert "every group" in views.dead_sentence(alive, EN)
    assert views.dead_sentence(RunState(), EN) == ""


def test_a_failed_run_tells_its_cause_and_where(make_run: MakeRun) -> None:
    problem = {"where": "reward.py:3", "what": "division by zero", "fix": "look at row 7"}
    failed = {"kind": "run_failed", "step": 1, "error": "X", "problems": [problem]}
    make_run("tiny-1", began(), step(1), failed | {"traceback_tail": "line 3"})
    with KnownRuns().look("tiny-1") as seen:
        assert views.sentences(seen, EN)[0] == "Failed at step 1 of 40."
        assert views.cause(seen) == ["reward.py:3: division by zero  ->  look at row 7"]
        assert views.traceback_tail(seen) == "line 3"


def test_a_lost_run_is_not_called_running_and_can_be_resumed(make_run: MakeRun) -> None:
    make_run("tiny-1", began(), step(1), checkpoint(1), step(2))
    with KnownRuns().look("tiny-1") as seen:
        assert seen.status == "lost"
        assert views.sentences(seen, EN)[0].startswith("The worker is gone")
        assert not views.stop_action(seen, EN).on
        resume = views.resume_action(seen, EN)
    assert resume.on
    assert "checkpoint-1" in resume.text


def test_a_button_that_is_off_says_why(finished_run: RunDir) -> None:
    for say in (EN, KO):
        with KnownRuns().look("tiny-1") as seen:
            stop, resume = views.stop_action(seen, say), views.resume_action(seen, say)
        assert not stop.on and stop.text
        assert not resume.on and resume.text


def test_stop_tells_what_will_happen_while_a_run_is_going(make_run: MakeRun, start: Any) -> None:
    handle = start(make_run("tiny-1"), "obey")
    runs = KnownRuns()
    for _ in range(100):
        with runs.look("tiny-1") as seen:
            if seen.state.steps:
                break
        assert handle.poll() is None
        time.sleep(0.05)
    with runs.look("tiny-1") as seen:
        assert views.stop_action(seen, EN).on
        assert "saves a checkpoint" in views.stop_action(seen, EN).text
        assert heading.progress(seen, EN)[1] == pytest.approx(0.25)
    assert steering.stop("tiny-1", EN) == "tiny-1 was asked to save and stop."
    handle.process.wait(20)
    with runs.look("tiny-1") as seen:
        assert seen.status == "stopped"


def test_the_step_lines_are_those_of_the_console(finished_run: RunDir) -> None:
    with KnownRuns().look("tiny-1") as seen:
        shown = views.step_lines(seen)
        assert shown[0] == lines.step_line(seen.state, 39, 0.0)
        assert len(shown) == 10


# ---------------------------------------------------------------------------------- charts


def test_a_long_history_is_thinned_without_losing_its_ends_dips_and_spikes() -> None:
    column: list[float | None] = [1.0] * 100_000
    column[0], column[77_777], column[5], column[9], column[-1] = 0.5, -3.0, None, 9.0, 0.7
    steps = range(1, len(column) + 1)
    kept = charts.thinned(steps, column, 500)
    assert len(kept) <= 500
    assert {(1, 0.5), (77_778, -3.0), (10, 9.0), (100_000, 0.7)} <= set(kept)
    assert kept == sorted(kept)


def test_a_short_history_is_kept_whole_and_missing_values_are_left_out() -> None:
    assert charts.thinned([1, 2, 3], [0.1, None, float("nan")], 500) == [(1, 0.1)]


def test_the_smoothed_line_begins_when_it_has_enough_steps() -> None:
    assert charts.smoothed([1.0, 3.0, None, 5.0], 2) == [None, 2.0, 3.0, 5.0]


def test_a_chart_stays_small_however_long_the_run_is() -> None:
    state = folded(*(step(n, n % 7, dead=(n % 5) / 5, of=5000) for n in range(1, 5001)))
    for chart in (views.reward_chart, views.spread_chart, views.dead_chart):
        drawn = chart(state, EN)
        assert sum(len(line.points) for line in drawn.drawn) <= charts.MOST_POINTS
        assert drawn.drawn[0].points[-1][0] == 5000


@pytest.mark.parametrize("steps", [0, 1, 2, 30])
def test_a_chart_is_drawn_for_any_number_of_steps(steps: int) -> None:
    state = folded(*(step(n, 0.5) for n in range(1, steps + 1)))
    html = charts.render(views.reward_chart(state, EN), "step", "nothing yet")
    assert ("nothing yet" in html) == (steps == 0)
    assert "nan" not in html


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


# ---------------------------------------------------------------------------------- choices


def test_every_problem_of_a_choice_is_listed_and_nothing_is_written() -> None:
    found = actions.check("tiny", "optim.learning_rate=5\n\n# why\n--set nowhere.key=1", "../up", EN)
    told = " ".join(str(problem) for problem in found.problems)
    assert all(key in told for key in ("optim.learning_rate", "nowhere", "../up"))
    assert found.card == ""
    with pytest.raises(ValueError, match="learning_rate"):
        actions.start("tiny", "optim.learning_rate=5", None, EN)
    assert not outputs_dir().exists()


def test_only_presets_of_the_list_are_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.toml"
    secret.write_text("password = hunter2")
    found = actions.check(str(secret), "", "", EN)
    assert len(found.problems) == 1
    assert "hunter2" not in str(found.problems)


def test_the_command_says_the_same_as_the_page() -> None:
    found = actions.check("tiny", "optim.max_steps=5\ndata.system_prompt=a 'b'", "mine", EN)
    assert not found.problems
    assert shlex.split(found.command)[2:] == [
        *("--headless", "--preset", "tiny", "--set", "optim.max_steps=5"),
        *("--set", "data.system_prompt=a 'b'", "--name", "mine"),
    ]


def test_a_name_that_is_taken_is_a_problem(make_run: MakeRun) -> None:
    make_run("mine")
    assert "exists already" in str(actions.check("tiny", "", "mine", EN).problems[0])


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

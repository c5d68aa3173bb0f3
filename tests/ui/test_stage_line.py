"""The line of stages: each with its state and score, those to come, and why the next one is not there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.builders import finished
from trainer import launch
from trainer.errors import Problem, RunError
from trainer.launch import chain
from trainer.run.rundir import RunDir
from trainer.text import words
from trainer.ui import actions, stage_line
from trainer.ui.known_runs import KnownRuns
from trainer.ui.live import buttons
from trainer.ui.runs import choice, views

EN, KO = words("en"), words("ko")


@pytest.fixture
def first() -> RunDir:
    """The first of two stages, which has finished."""
    run = launch.create("tiny-stages", *launch.prepare("tiny-stages", []), "demo")
    lines = [json.dumps({"t": 100.0 + n, "attempt": 1} | event) for n, event in enumerate(finished(40))]
    run.events.write_text("".join(f"{line}\n" for line in lines))
    run.log_file(1).write_text("")
    return run


def line(run: RunDir, say: Any = EN) -> str:
    runs = KnownRuns()
    table = runs.table()
    with runs.look(run.name) as seen:
        return stage_line.of_run(seen, table.rows, say)


@pytest.mark.parametrize("say", [EN, KO], ids=["en", "ko"])
def test_every_stage_has_its_place_its_state_and_its_score(first: RunDir, say: Any) -> None:
    shown = line(first, say)
    assert shown.startswith(f'<nav class="g-stages" aria-label="{say("stages.of", name="demo")}"><ol><li aria-current')
    assert 'data-stage="demo.1-sft">1 sft</button>' in shown and say("status.finished") in shown
    assert "25 % \u2192 75 %" in shown
    assert "<b>2 grpo</b>" in shown and say("stages.to_come") in shown and 'data-stage="demo.2-grpo"' not in shown


def test_a_run_alone_has_no_line(make_run: Any) -> None:
    assert line(make_run("alone", *finished())) == ""


@pytest.mark.parametrize("say", [EN, KO], ids=["en", "ko"])
def test_why_the_next_stage_is_not_there_is_said_where_its_button_is(first: RunDir, say: Any) -> None:
    """The events of this test are of 1970: whatever was to start it is long gone."""
    assert say("stages.not_begun", number=2, name="grpo") in line(first, say)
    chain.note_refusal(first, RunError(Problem("launch.file_gone", "data.path", path="<b>x", name="demo", key="k")))
    shown = line(first, say)
    assert say("stages.refused", number=2, name="grpo") in shown and "&lt;b&gt;x" in shown and "<b>x" not in shown
    assert "app.py --headless --resume demo" in shown and say("live.next_stage") in shown
    runs = KnownRuns()
    row = next(row for row in runs.table().rows if row.name == first.name)
    assert say("runs.next_stage_held") in views.table(runs.table(), choice.RunChoice(), "", None, [], say)
    with runs.look(first.name) as seen:
        action = buttons.resume(seen, say)
    assert row.held and action.on and action.label == "live.next_stage" and "demo.2-grpo" in action.text


def test_resume_starts_the_next_stage(first: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []

    def go_on(rundir: RunDir, begin: Any) -> None:
        begin(RunDir(rundir.path.with_name("demo.2-grpo")))

    monkeypatch.setattr(chain, "go_on", go_on)
    monkeypatch.setattr(launch, "start", lambda after, beside: begun.append(f"{after.name} {beside}"))
    assert actions.next_stage(first) == RunDir(first.path.with_name("demo.2-grpo"))
    actions.resume(first.name)
    assert begun == ["demo.2-grpo False"]
    monkeypatch.setattr(launch.queue, "beside", lambda *_: ["other"])
    with pytest.raises(actions.Beside):
        actions.resume(first.name)
    monkeypatch.setattr(launch.queue, "add", lambda after: begun.append(f"{after.name} waits"))
    actions.resume(first.name, "queue")
    actions.resume(first.name, "beside")
    assert begun[1:] == ["demo.2-grpo waits", "demo.2-grpo True"]


def test_the_command_that_lists_runs_says_it_too(first: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    from trainer.__main__ import main

    assert main(["runs"]) == 0
    assert "app.py --headless --resume demo.1-sft starts it" in capsys.readouterr().out


def test_the_report_names_the_other_stages(first: RunDir) -> None:
    from trainer.report import write

    for language, said in (("en", "1 of 2: demo.1-sft, demo.2-grpo"), ("ko", "2\ub2e8\uacc4 \uc911 1")):
        assert said in write.text_of([first], language, "md")

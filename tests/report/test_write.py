"""Where reports go, what the command refuses, and what a run leaves behind by itself."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.report.synthetic import make_run
from trainer import __main__ as commands
from trainer import launch
from trainer.report import afterwards
from trainer.report import write as reports
from trainer.run.rundir import RunDir, outputs_dir


@pytest.fixture
def run() -> RunDir:
    return make_run(outputs_dir(), "run-1", steps=24).rundir


def report(*words: str) -> int:
    return commands.main(["report", *words])


def test_the_command_writes_into_the_run_and_prints_where(run: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    assert report("run-1", "--lang", "ko", "--format", "md") == 0
    path = Path(capsys.readouterr().out.strip())
    assert path == run.report / "report.ko.md" and path.read_text().startswith("# 실행 보고서: run-1")


def test_a_file_or_standard_output_can_be_chosen(
    run: RunDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "r.html"
    assert report("run-1", "--out", str(out)) == 0
    assert out.read_text().startswith("<!doctype html>")
    capsys.readouterr()
    assert report("run-1", "--format", "md", "--lang", "en", "--out", "-") == 0
    assert capsys.readouterr().out.startswith("# Run report: run-1")
    assert not run.report.exists()


def test_a_step_gets_a_file_of_its_own(run: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    assert report("run-1", "--step", "7", "--lang", "en") == 0
    assert capsys.readouterr().out.strip().endswith("report_step_7.en.html")
    assert "Step 7 up close" in (run.report / "report_step_7.en.html").read_text()


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["run-1", "--step", "99"], "--step: 99 is not a finished step of run run-1  ->  1 to 24, the nearest is 24"),
        (["run-1", "--lang", "xx"], "--lang: 'xx' is not one of the languages  ->  en or ko"),
        (["run-9"], "run run-9: there is no such run in"),
        (["../run-1"], "run name: '../run-1' is not 1 to 64 letters"),
        (["run-1", "run-1"], "report: a run cannot be compared with itself"),
        (["run-1", "run-2", "--step", "3"], "--step: shows a step of one run"),
        (["run-1", "--out", "/proc/none/r.html"], "/proc/none/r.html: cannot be written"),
    ],
)
def test_what_can_not_be_done_is_said(
    run: RunDir, words: list[str], error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(*words) == 2
    assert error in capsys.readouterr().err


def test_a_run_without_a_step_has_no_step_to_show(capsys: pytest.CaptureFixture[str]) -> None:
    make_run(outputs_dir(), "run-0", steps=0, evals=[], end=None)
    assert report("run-0", "--step", "1") == 2
    assert "has not finished a step yet" in capsys.readouterr().err


def test_a_run_that_ended_leaves_every_language_and_form(run: RunDir) -> None:
    reports.after_run(run)
    assert sorted(path.name for path in run.report.iterdir()) == [
        "report.en.html", "report.en.md", "report.ko.html", "report.ko.md",
    ]  # fmt: skip


def test_a_run_whose_next_attempt_is_at_work_gets_none_yet(start: Any, make_run: Any) -> None:
    run = make_run("live-1")
    start(run, "obey")
    reports.after_run(run)
    assert not run.report.exists()
    launch.stop(run, 20)


def test_it_is_written_by_a_process_of_its_own_that_can_be_waited_for(run: RunDir) -> None:
    run.log_file(1).touch()
    afterwards.start(run, 1)
    assert afterwards.at_work(run)
    deadline = time.monotonic() + 30
    while afterwards.at_work(run) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(list(run.report.iterdir())) == 4 and run.log_file(1).read_text() == ""


def test_where_no_process_can_be_started_the_run_has_no_report(
    run: RunDir, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError("no more processes")

    monkeypatch.setattr("subprocess.Popen", refuse)
    afterwards.start(run, 1)
    assert "no more processes" in capsys.readouterr().err and not afterwards.at_work(run)


def test_a_report_that_can_not_be_written_is_only_said(run: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    run.report.write_text("a file where the folder should be")
    reports.after_run(run)
    assert "the report could not be written: FileExistsError" in capsys.readouterr().err


def test_a_log_that_holds_nonsense_still_has_a_report(run: RunDir) -> None:
    with run.events.open("a") as log:
        for event in (
            '{"t": 1, "attempt": 1, "kind": "step", "step": 25, "metrics": {"train/reward": "high"}, "groups": []}',
            '{"t": 1, "attempt": 1, "kind": "eval", "step": "last", "reward": null}',
            '{"t": 1, "attempt": 1, "kind": "span", "step": 25, "spans": null}',
            '{"t": 1, "attempt": 1, "kind": "rollouts"}',
        ):
            log.write(event + "\n")
    reports.after_run(run)
    assert (run.report / "report.en.html").is_file()


@pytest.mark.parametrize("form", list(reports.FORMS))
def test_a_report_is_passed_on_and_holds_no_secret(form: Any, run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    name = run.read_spec().model.name  # an HTML report breaks it at the slash
    organisation = name.partition("/")[0]
    assert organisation in reports.text_of([run], "en", form)
    monkeypatch.setenv("REGISTRY_PASS", name)
    reports.after_run(run)
    for text in (reports.text_of([run], "en", form), run.report_file("en", form).read_text(encoding="utf-8")):
        assert organisation not in text
        assert "secret" in text

"""A run that cannot be read costs one row that says why: the others are listed, and nothing waits."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.builders import bound, finished, publish
from trainer import launch
from trainer.console import lines
from trainer.console.commands import runs as console
from trainer.errors import RunError
from trainer.machine.json_files import read_json
from trainer.machine.regular_files import NotAFile, open_file, read_file
from trainer.plan.reading import fitting
from trainer.report import write as reports
from trainer.run import settings
from trainer.run.best import Best, find_best
from trainer.run.groups import read_groups
from trainer.run.rundir import RunDir, list_runs, outputs_dir
from trainer.run.state import state_of
from trainer.text import forms, words
from trainer.tryit import reading
from trainer.ui import actions, heading
from trainer.ui.diagnoses import Diagnoses
from trainer.ui.groups.index import PromptIndex
from trainer.ui.groups.step_files import StepFiles
from trainer.ui.known_runs import KnownRuns
from trainer.ui.live.log import tail
from trainer.ui.runs import views
from trainer.ui.runs.choice import RunChoice
from trainer.worker.session import Session

MakeRun = Callable[..., RunDir]
Spoil = Callable[[Path], object]


def circle(path: Path) -> None:
    path.symlink_to(path.name)


def linked_pipe(path: Path) -> None:
    os.mkfifo(path.with_name("p"))
    path.symlink_to("p")


# What may lie in the place of a file, and what is said of it.
ODD: dict[str, tuple[Spoil, str]] = {
    "folder": (Path.mkdir, "it is a folder"),
    "pipe": (os.mkfifo, "it is a named pipe"),
    "circle of links": (circle, "symbolic links"),
    "socket": (bound, "it is a socket"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "it is a device"),
    "a link to a pipe": (linked_pipe, "it is a named pipe"),
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("file", ["events.jsonl", "spec.json"])
def test_an_odd_file_costs_one_row_that_says_why(
    make_run: MakeRun, capsys: pytest.CaptureFixture[str], file: str, kind: str
) -> None:
    spoil, why = ODD[kind]
    odd = make_run("odd", *finished())
    make_run("whole", *finished())
    (odd.path / file).unlink()
    spoil(odd.path / file)
    table = KnownRuns().table()
    rows = {row.name: row for row in table.rows}
    assert rows["whole"].status == "finished"
    assert rows["odd"].broken is not None
    said = str(rows["odd"].broken)
    assert file in said and why in said
    assert heading.chosen(table.rows, None) == "whole"
    assert why in views.table(table, RunChoice(), "", None, [], words("en"))
    assert console.runs() == launch.EXIT_FINISHED
    out = capsys.readouterr().out
    assert why in next(line for line in out.splitlines() if line.startswith("odd"))
    assert "40/40" in next(line for line in out.splitlines() if line.startswith("whole"))
    with pytest.raises(RunError, match=why), KnownRuns().look("odd"):
        pass
    with pytest.raises(RunError, match=why):
        reports.text_of([RunDir(odd.path)], "en", "md") if file == "events.jsonl" else RunDir.open(outputs_dir(), "odd")
    actions.free_gpu()  # asks every run whether it holds the GPU


def test_a_folder_one_may_not_look_into_costs_one_row(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = make_run("closed", *finished())
    make_run("whole", *finished())
    real = os.open

    def refused(path: object, *more: int, **options: object) -> int:
        if str(path).startswith(str(closed.path)):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *more, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refused)
    rows = {row.name: row for row in KnownRuns().table().rows}
    assert "Permission denied" in str(rows["closed"].broken)
    assert rows["whole"].status == "finished"


@pytest.mark.skipif(os.getuid() == 0, reason="root may look everywhere")
def test_permission_bits_cost_one_row(make_run: MakeRun) -> None:
    closed = make_run("closed", *finished())
    closed.path.chmod(0)
    try:
        (row,) = KnownRuns().table().rows
        assert "Permission denied" in str(row.broken)
    finally:
        closed.path.chmod(0o755)


@pytest.mark.parametrize("name", [b"tiny-1 (copy)", b"caf\xe9", "실행".encode(), b"a\nb", b"x" * 80])
def test_a_folder_of_another_name_is_listed_and_says_what_to_do(
    make_run: MakeRun, capsys: pytest.CaptureFixture[str], name: bytes
) -> None:
    make_run("whole", *finished())
    path = os.path.join(os.fsencode(outputs_dir()), name)
    os.rename(make_run("other", *finished()).path, path)
    table = KnownRuns().table()
    row = next(row for row in table.rows if row.name != "whole")
    assert not row.openable and "rename the folder" in str(row.broken)
    assert "name" in views.table(table, RunChoice(), "", None, [], words("ko")).encode("utf-8").decode()
    assert console.runs() == launch.EXIT_FINISHED
    assert len(capsys.readouterr().out.encode("utf-8").splitlines()) == 3
    with pytest.raises(RunError, match="one of: whole"):  # it is never offered
        RunDir.open(outputs_dir(), "nothing")


SMALL = {
    "a list": b"[1]",
    "no JSON": b"{",
    "nested": b'{"a":' * 3000 + b"1" + b"}" * 3000,
    "not UTF-8": b'{"pid": "\xff"}',
    "other types": json.dumps({"pid": [], "pid_started": {}, "boot_id": 3, "attempt": "x", "t": {}}).encode(),
    "numbers without bounds": json.dumps({"pid": 10**40, "pid_started": 1, "boot_id": 1, "attempt": 10**30}).encode(),
    "nothing": b"",
}


@pytest.mark.parametrize("name", SMALL)
def test_whatever_the_small_files_hold_the_run_is_still_listed(make_run: MakeRun, name: str) -> None:
    run = make_run("tiny-1", *finished())
    for path in (run.identity, run.stop_request, run.plan, run.env, run.path / "scores.json", run.tryit_worker):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(SMALL[name])
    (row,) = KnownRuns().table().rows
    assert row.broken is None and row.steps == 40 and row.reward[1] == pytest.approx(0.8875)
    assert "0.887" in reports.text_of([run], "en", "md")


@pytest.mark.parametrize("spoiled", [b"\xff" * 100, b"x" * 3_000_000, b'{"kind":"step","step":"1"}', b'{"kind":[]}'])
def test_a_line_that_is_no_event_costs_itself(make_run: MakeRun, spoiled: bytes) -> None:
    run = make_run("tiny-1", *finished())
    whole = run.events.read_bytes()
    run.events.write_bytes(spoiled + b"\n" + whole)
    state = state_of(run)
    assert (state.last_step, state.skipped, state.not_text) == (40, 1, int(spoiled[:1] == b"\xff"))


def test_a_time_that_no_calendar_has_is_shown_as_none() -> None:
    assert [forms.clock(t) for t in (1e300, -1e300, 10.0**18, float("nan"), None)] == ["-"] * 5


def test_nothing_waits_for_a_pipe(make_run: MakeRun) -> None:
    run = make_run("tiny-1", {"kind": "rollouts", "step": 1, "file": "x", "groups": 1}, *finished(2))
    places = [run.rollouts_file(1), run.plan, run.env, run.identity, run.stop_request, run.save_request]
    places += [run.log_file(1), run.tryit_worker, run.tryit_answers, run.tryit_started, run.mirror]
    for path in places:
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        os.mkfifo(path)
    assert KnownRuns().table().rows[0].status == "finished"
    assert StepFiles().read(run.rollouts_file(1)).missing
    assert PromptIndex(run).advance([1]) == 1.0
    assert tail(run.log_file(1)) == []
    assert Diagnoses().newest(run) is not None
    reports.text_of([run], "en", "md")
    with pytest.raises(NotAFile):
        read_groups(run.rollouts_file(1))
    assert read_json(run.plan) is None


def test_a_file_is_read_to_a_bound(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    with open_file(path) as file:
        assert file.read() == b"12345"
    assert read_file(path, 5) == b"12345"
    with pytest.raises(OSError, match="large"):
        read_file(path, 4)


def test_runs_are_listed_beside_what_is_no_run(make_run: MakeRun) -> None:
    run = make_run("tiny-1", *finished())
    os.mkfifo(outputs_dir() / "pipe")
    (outputs_dir() / "notes").mkdir()
    (outputs_dir() / ".creating-x").mkdir()
    (outputs_dir() / ".creating-x" / "spec.json").write_text("{}")
    assert list_runs(outputs_dir()) == [run]


HUGE = 10**400  # JSON has such numbers, and no float holds them
ODD_FIELDS: dict[str, dict[str, object]] = {
    "scores of lists": {"best": {"step": [1], "mean": 1.0}, "epochs": [{"file": ["a"]}]},
    "scores without bounds": {"best": {"step": 40, "mean": HUGE}, "epochs": []},
    "scores of true": {"best": {"step": True, "mean": True}, "epochs": []},
    "times without bounds": {"attempt": 1, "t": HUGE, "pid": 10**300, "pid_started": "1", "boot_id": "b"},
    "plan of texts": {"prompts_per_update": "x", "optimizer_steps": "40", "warnings": 5, "memory_total_gib": [1]},
    "plan of odd warnings": {"warnings": [3, {"key": "template.dropped", "values": {"role": ["a"]}}, None]},
    "alerts of nothing": {"attempt": 1, "alerts": 7, "any_rows": []},
    "alerts of odd things": {"attempt": 1, "alerts": [3, {"key": 1}, {"level": "x", "key": "no", "values": {}}, None]},
}


@pytest.mark.parametrize("name", ODD_FIELDS)
def test_a_field_of_another_type_is_not_known_and_stops_nobody(make_run: MakeRun, name: str) -> None:
    run = make_run("tiny-1", *finished())
    publish(run, 1, 40)
    for path in (run.identity, run.stop_request, run.save_request, run.plan, run.path / "scores.json", run.resume_note):
        path.write_text(json.dumps(ODD_FIELDS[name]))
    for path in (run.tryit_worker, run.tryit_started):
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(ODD_FIELDS[name]))
    (row,) = KnownRuns().table().rows
    assert row.broken is None and row.steps == 40
    assert find_best(run, state_of(run)) == Best(40, 0.5, "eval", None, 1, 0.5)
    assert launch.save_asked(run) is None or name == "alerts"
    assert settings.word(run, 1) == []
    assert list(lines.header(run, fitting(read_json(run.plan))[0], words("en")))
    reading.process(run)
    reports.text_of([run], "en", "md")


def test_a_plan_of_another_type_does_not_end_a_worker(make_run: MakeRun) -> None:
    run = make_run("tiny-1", {"kind": "plan", "plan": {"optimizer_steps": "40"}}, *finished())
    session = Session(run, None, None)  # type: ignore[arg-type]
    assert session.planned is None

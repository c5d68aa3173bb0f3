"""TensorBoard and Trackio: their own libraries read the rows back, and whatever happens to them the run goes on."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.mirrors.conftest import told, wait
from tests.mirrors.read_back import from_tensorboard, from_trackio
from tests.records import log_lines
from trainer import launch, mirrors
from trainer.machine.json_files import read_json
from trainer.mirrors import local
from trainer.run import mirror_files
from trainer.run.events import EventWriter
from trainer.run.mirror_files import TENSORBOARD, TRACKIO
from trainer.run.records import RolloutsEvent, RunStoppedEvent, StepEvent
from trainer.run.rundir import RunDir, outputs_dir
from trainer.spec import Log, RunSpec

Start = Callable[..., launch.WorkerHandle]
Read = Callable[[RunDir], dict[int, dict[str, Any]]]
READ: dict[str, Read] = {TENSORBOARD: from_tensorboard, TRACKIO: from_trackio}


@pytest.fixture(params=list(READ))
def service(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def run(spec: RunSpec, service: str) -> RunDir:
    return made(spec, [service])


def made(spec: RunSpec, services: list[Any]) -> RunDir:
    plan: Any = {"optimizer_steps": 4}
    env = {"python": "3.11", "packages": {"trl": "1.14.2"}, "commit": "abc", "gpus": []}
    wished = spec.model_copy(update={"log": Log(mirrors=services)})
    return RunDir.create(outputs_dir(), "mirrored-1", wished, plan, env)


def note(run: RunDir, service: str) -> dict[str, Any]:
    return read_json(mirror_files.note(run, service)) or {}


def assert_all_steps_once(run: RunDir, service: str) -> None:
    rows = READ[service](run)
    assert sorted(rows) == [0, 1, 2, 3, 4]
    assert [rows[step]["train/reward"] for step in (1, 2, 3, 4)] == [1.0, 2.0, 3.0, 4.0]
    assert [rows[step]["eval/reward"] for step in (0, 4)] == pytest.approx([0.5, 0.9])


def alerts(run: RunDir) -> list[dict[str, Any]]:
    return [event for event in log_lines(run.events) if event["kind"] == "alert"]


def test_its_library_reads_every_row_and_the_run_says_how_to_look(run: RunDir, service: str, start: Start) -> None:
    found = told(run, start(run, "finish"))
    assert found.exit_code == 0
    assert_all_steps_once(run, service)
    assert (found.alert["level"], found.alert["key"]) == ("info", "mirror_local")
    assert str(mirror_files.folder(run, service)) in found.alert["text"]
    assert (note(run, service)["ended"], note(run, service)["sent"]) == (True, 4)


def test_two_at_once_and_one_asked_for_twice(spec: RunSpec, start: Start) -> None:
    run = made(spec, [TENSORBOARD, TRACKIO, TENSORBOARD])
    told_run = start(run, "finish")
    wait(lambda: told_run.poll() is not None)
    wait(lambda: not mirrors.at_work(run, 1))
    for service in READ:
        assert_all_steps_once(run, service)
    assert [alert["values"]["service"] for alert in alerts(run)] == ["TensorBoard", "Trackio"]


def test_a_killed_mirror_does_not_hurt_and_the_next_attempt_neither_doubles_nor_misses_a_row(
    run: RunDir, service: str, start: Start
) -> None:
    handle = start(run, "obey")  # one step, then it waits
    wait(lambda: note(run, service).get("sent") == 0)
    os.kill(note(run, service)["pid"], signal.SIGKILL)
    launch.stop(run, 20)
    assert told(run, handle).exit_code == launch.EXIT_STOPPED
    assert told(run, start(run, "finish")).exit_code == 0
    assert_all_steps_once(run, service)


def test_a_row_that_was_written_and_not_noted_is_not_written_again(run: RunDir, service: str, start: Start) -> None:
    told(run, start(run, "finish"))
    file = mirror_files.note(run, service)
    file.write_text(json.dumps(note(run, service) | {"sent": 1, "ended": False}))
    command = [sys.executable, "-m", "trainer.mirrors", str(run.path), "1", "--service", service]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_all_steps_once(run, service)


def test_a_row_says_how_many_completions_its_table_leaves_out(
    run: RunDir, service: str, make_events: Callable[[RunDir], EventWriter]
) -> None:
    completions = [{"text": "c" * (5000 if number < 3 else 5), "reward": 1.0} for number in range(70)]
    line = {"step": 1, "group": 0, "prompt": "p", "outcome": "spread", "completions": completions}
    run.rollouts_file(1).write_text(json.dumps(line) + "\n", encoding="utf-8")
    with make_events(run) as events:
        events.emit(StepEvent(step=1, of=1, metrics={"train/reward": 1.0}))
        events.emit(RolloutsEvent(step=1))
        events.emit(RunStoppedEvent(step=1))
    command = [sys.executable, "-m", "trainer.mirrors", str(run.path), "1", "--service", service]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    row = READ[service](run)[1]
    assert (row["completions/rows_left_out"], row["completions/texts_cut"]) == (6, 3)


def test_a_folder_that_can_not_be_made_ends_the_mirror_only(run: RunDir, service: str, start: Start) -> None:
    mirror_files.folder(run, service).write_text("a file where the folder should be")
    found = told(run, start(run, "finish"))
    assert found.exit_code == 0
    assert (found.alert["level"], found.alert["key"]) == ("warn", "mirror_local_failed")
    assert "FileExistsError" in found.alert["text"]


def test_files_that_may_not_grow_end_the_mirror_only(run: RunDir, service: str, start: Start) -> None:
    """As a quota, or a full disk: every write beyond it fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))  # inherited; the run's own files stay below
    try:
        found = told(run, start(run, "finish"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert found.exit_code == 0
    assert [event["step"] for event in found.events if event["kind"] == "step"] == [1, 2, 3, 4]
    assert note(run, service)["mode"] == "failed"
    handle = start(run, "finish")  # there is room again
    assert told(run, handle).exit_code == 0
    assert_all_steps_once(run, service)


def test_without_the_package_the_run_goes_on(
    run: RunDir, service: str, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{service}.py").write_text(f"raise ModuleNotFoundError('no', name='{service}')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = told(run, start(run, "finish"))
    assert found.exit_code == 0
    assert f"the package {service} is not installed: make setup" in found.alert["text"]


def test_nothing_of_a_space_or_a_server_reaches_trackio(
    spec: RunSpec, start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL", "TRACKIO_BUCKET_ID", "TRACKIO_WRITE_TOKEN", "SPACE_ID", "SYSTEM")
    foreign = {**dict.fromkeys(names, "me/elsewhere"), "TRACKIO_DIR": str(tmp_path / "elsewhere")}
    run = made(spec, [TRACKIO])
    kept = local.keep_inside(run, foreign | {"PATH": "kept"})
    inside = str(mirror_files.folder(run, TRACKIO))
    assert {name: kept[name] for name in kept.keys() & (foreign.keys() | {"PATH"})} == {
        "TRACKIO_DIR": inside,
        "PATH": "kept",
    }
    for name, value in foreign.items():
        monkeypatch.setenv(name, value)
    assert told(run, start(run, "finish")).exit_code == 0
    monkeypatch.undo()
    assert not (tmp_path / "elsewhere").exists()
    assert_all_steps_once(run, TRACKIO)


def test_a_failure_in_the_middle_is_said_once_while_the_run_goes_on(
    run: RunDir, service: str, start: Start, make_events: Callable[[RunDir], EventWriter]
) -> None:
    with make_events(run) as events:
        (mirror,) = mirrors.start(run, [service], 1)
        mirror.look(events, 0)  # before it has said where the copy goes there is nothing to say
        mirror.announce(events)
        mirror.look(events, 1)
        assert [alert["key"] for alert in alerts(run)] == ["mirror_local"]
        assert mirror.process is not None
        mirror.process.kill()
        mirror.process.wait()
        mirror.look(events, 2)
        mirror.look(events, 3)
    assert [alert["key"] for alert in alerts(run)] == ["mirror_local", "mirror_local_silent"]
    assert "ended without saying why" in alerts(run)[-1]["text"]


def test_one_that_hangs_is_said_once(
    run: RunDir,
    service: str,
    make_events: Callable[[RunDir], EventWriter],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mirrors, "STUCK_S", 0.2)
    with make_events(run) as events:
        (mirror,) = mirrors.start(run, [service], 1)
        mirror.announce(events)
        assert mirror.process is not None
        mirror.process.send_signal(signal.SIGSTOP)
        mirror.look(events, 0)

        def said() -> bool:
            mirror.look(events, 9)
            return len(alerts(run)) == 2

        wait(said, 10)
        mirror.look(events, 10)
        mirror.process.kill()
        mirror.process.wait()
    assert [alert["key"] for alert in alerts(run)] == ["mirror_local", "mirror_local_silent"]
    assert "has said nothing for" in alerts(run)[-1]["text"]


def test_one_that_never_begins_is_said_once(
    run: RunDir,
    service: str,
    make_events: Callable[[RunDir], EventWriter],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mirrors, "START_S", 0.1)
    monkeypatch.setattr(mirrors, "STUCK_S", 0.1)
    with make_events(run) as events:
        (mirror,) = mirrors.start(run, [service], 1)
        assert mirror.process is not None
        mirror.process.send_signal(signal.SIGSTOP)
        mirror.announce(events)
        for step in range(5):
            mirror.look(events, step)
            time.sleep(0.1)
        assert [alert["key"] for alert in alerts(run)] == ["mirror_local_silent"]
        mirror.process.kill()
        mirror.process.wait()

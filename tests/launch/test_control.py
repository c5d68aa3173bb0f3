"""Pausing, saving and what was asked of a run, against tests/fake_worker.py."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.builders import FAKE_WORKER, named, until, until_step
from trainer import launch
from trainer.__main__ import main as tool
from trainer.console import headless
from trainer.errors import RunError
from trainer.launch import StopRequest, WorkerHandle, attempts
from trainer.launch.control import at_rest
from trainer.machine.json_files import read_json, write_json
from trainer.machine.process import Lock
from trainer.run import stop_requests
from trainer.run.records import RunPausedEvent
from trainer.run.rundir import RunDir
from trainer.run.state import state_of
from trainer.run.status import LIVE
from trainer.run.summary import summary

MakeRun = Callable[..., RunDir]
Start = Callable[..., WorkerHandle]
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def going(make_run: MakeRun, start: Start) -> RunDir:
    """A run whose worker trains until it is asked to end."""
    run = make_run()
    start(run, "obey")
    until_step(run)
    return run


# -- pause ---------------------------------------------------------------------------------------


def test_a_paused_run_has_no_process_and_goes_on_like_a_stopped_one(
    going: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert launch.pause(going, grace_s=20) == "paused"
    assert "paused" not in LIVE
    final = state_of(going).final
    assert isinstance(final, RunPausedEvent)
    assert None not in (final.step, final.seconds, final.checkpoint, final.reason)
    assert summary(state_of(going), going)["status"] == "paused"
    until(lambda: not _held(going))
    with pytest.raises(RunError, match="is not running, it is paused"):
        launch.pause(going)
    monkeypatch.setenv("FAKE_WORKER", "finish")
    assert launch.resume(going, FAKE_WORKER).process.wait(20) == 0
    assert (launch.status_of(going), state_of(going).steps) == ("finished", [1, 2, 3, 4])


def _held(run: RunDir) -> bool:
    with Lock(run.worker_lock) as lock:
        return not lock.take("me")


def test_a_pause_shows_while_it_lasts_and_a_stop_wins_over_it_either_way(make_run: MakeRun, start: Start) -> None:
    run = make_run()
    start(run, "deaf")
    until_step(run)
    assert launch.stop_asked(run) is None
    before = time.time()
    assert launch.pause(run) == "stopping"
    asked = launch.stop_asked(run)
    assert asked == StopRequest(1, asked.t if asked else 0.0, pause=True)
    assert before - 0.01 <= asked.t <= time.time()
    assert launch.stop(run) == "stopping"
    assert launch.stop_asked(run) == StopRequest(1, asked.t, pause=False)  # since when it was asked stays
    assert launch.pause(run) == "stopping"
    assert launch.stop_asked(run) == StopRequest(1, asked.t, pause=False)
    assert launch.kill(run)
    assert launch.stop_asked(run) == StopRequest(1, asked.t, pause=False, force=True)
    until(lambda: launch.status_of(run) == "stopped")


def test_a_stop_after_a_pause_is_a_stop(going: RunDir) -> None:
    stop_requests.ask_to_end(going, 1, pause=True)  # before its signal comes
    assert launch.stop(going, grace_s=20) == "stopped"


def test_ending_a_paused_worker_by_force_is_a_stop(make_run: MakeRun, start: Start) -> None:
    run = make_run()
    start(run, "deaf")
    until_step(run)
    launch.pause(run)
    assert launch.kill(run)
    until(lambda: launch.status_of(run) == "stopped")


def test_a_worker_paused_before_it_began_is_paused(make_run: MakeRun, stranger: subprocess.Popen[bytes]) -> None:
    run = make_run()
    named(run, stranger)
    launch.pause(run)
    stranger.wait(20)
    assert launch.status_of(run) == "paused"


def test_a_pause_asked_of_the_attempt_before_means_nothing(going: RunDir, start: Start) -> None:
    assert launch.pause(going, grace_s=20) == "paused"
    start(going, "obey")
    until(lambda: launch.status_of(going) == "running")
    assert launch.stop_asked(going) is None
    write_json(going.stop_request, {"attempt": 1, "pause": True, "force": False, "t": 1.0})
    assert (launch.stop_asked(going), launch.status_of(going)) == (None, "running")
    assert launch.stop(going, grace_s=20) == "stopped"


@pytest.mark.parametrize("stored", ["", "[]", "{}", '{"attempt": "1", "t": 1}', '{"attempt": 1, "t": null}'])
def test_a_damaged_request_asks_nothing(going: RunDir, stored: str) -> None:
    going.stop_request.write_text(stored)
    going.save_request.write_text(stored)
    assert (launch.stop_asked(going), launch.save_asked(going), launch.status_of(going)) == (None, None, "running")


def test_the_console_says_paused_and_ends_as_after_a_stop(make_run: MakeRun, start: Start, capsys: Capture) -> None:
    run = make_run()
    handle = start(run, "obey")
    until_step(run)
    launch.pause(run, grace_s=20)
    assert headless.follow(run, handle) == launch.EXIT_STOPPED
    out, errors = capsys.readouterr()
    assert json.loads(out.splitlines()[-1])["status"] == "paused"
    assert "paused (SIGTERM) at step 1, saved as checkpoint-1" in out
    assert "log:" not in errors
    assert "go on: python app.py --headless --resume tiny-1" in errors


def test_the_command_pauses_and_says_how_to_go_on(going: RunDir, capsys: Capture) -> None:
    assert tool(["pause", going.name]) == 0
    out = capsys.readouterr().out
    assert f"{going.name}: paused" in out
    assert f"--resume {going.name} goes on where it was" in out
    assert tool(["pause", going.name]) == launch.EXIT_INPUT
    assert "it is paused" in capsys.readouterr().err


# -- save ----------------------------------------------------------------------------------------


def test_a_request_to_save_waits_until_the_worker_has_met_it(make_run: MakeRun, start: Start) -> None:
    run = make_run()
    start(run, "obey")
    until_step(run)
    assert launch.save_asked(run) is None
    launch.save_now(run)  # this worker meets one at once
    until(lambda: launch.save_asked(run) is None)
    assert not run.save_request.exists()
    assert launch.status_of(run) == "running"


def test_a_request_that_nobody_is_left_to_meet_does_not_wait(
    make_run: MakeRun, stranger: subprocess.Popen[bytes]
) -> None:
    run = make_run()
    named(run, stranger)
    launch.save_now(run)
    asked = launch.save_asked(run)
    assert asked is not None
    assert abs(asked - time.time()) < 60
    stranger.kill()
    stranger.wait()
    assert launch.save_asked(run) is None


def test_a_request_to_save_does_not_outlive_its_attempt(make_run: MakeRun, start: Start) -> None:
    run = make_run()
    write_json(run.save_request, {"attempt": 1, "t": 1.0})
    start(run, "finish")
    assert not run.save_request.exists()


def test_what_is_not_running_can_not_save(make_run: MakeRun, capsys: Capture) -> None:
    run = make_run("tiny-1", {"kind": "run_finished", "step": 4})
    with pytest.raises(RunError, match="is not running, it is finished"):
        launch.save_now(run)
    assert not run.save_request.exists()
    assert tool(["save", "tiny-1"]) == launch.EXIT_INPUT
    assert "it is finished" in capsys.readouterr().err


def test_the_command_asks_to_save(make_run: MakeRun, stranger: subprocess.Popen[bytes], capsys: Capture) -> None:
    run = make_run()
    named(run, stranger)
    assert tool(["save", run.name]) == 0
    assert "asked to save" in capsys.readouterr().out
    assert (read_json(run.save_request) or {})["attempt"] == 1


# -- at rest -------------------------------------------------------------------------------------


@pytest.mark.parametrize("lock", ["start_lock", "worker_lock"])
def test_a_run_whose_lock_is_held_is_not_at_rest(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, lock: str) -> None:
    """As by a worker in another container, which no process table here knows."""
    monkeypatch.setattr("trainer.launch.control._ASK_S", 0.1)
    monkeypatch.setattr("trainer.launch.control._CLEARING_UP_S", 0.1)
    run = make_run("tiny-1", {"kind": "run_finished", "step": 4})
    with Lock(getattr(run, lock)) as held:
        assert held.take("somebody")
        with pytest.raises(RunError, match="by another process"), at_rest(run):
            raise AssertionError("not at rest")
    with at_rest(run) as follower:
        assert follower.state.final is not None


def test_no_worker_starts_while_a_run_is_kept_at_rest(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "_START_WAIT_S", 0.1)
    run: Any = make_run("tiny-1", {"kind": "run_stopped", "step": 4})
    with at_rest(run), pytest.raises(RunError, match="is being started by another process"):
        launch.start(run, FAKE_WORKER)


# -- at a time of day ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "day", "clock"),
    [("23:30", 29, "23:30"), ("9:05", 30, "09:05"), ("22.00", 30, "22:00"), (" 22:01 ", 29, "22:01")],
)
def test_a_time_of_day_is_the_next_one(typed: str, day: int, clock: str) -> None:
    now = time.mktime((2026, 11, 29, 22, 0, 0, 0, 0, -1))
    assert time.strftime("%d %H:%M", time.localtime(launch.next_at(typed, now))) == f"{day} {clock}"


@pytest.mark.parametrize("typed", ["", "24:00", "12:60", "noon", "1230", "-1:00"])
def test_what_is_no_time_of_day_is_refused(typed: str) -> None:
    with pytest.raises(RunError, match="HH:MM"):
        launch.next_at(typed, 0.0)


def test_a_time_is_set_taken_back_and_gone_with_the_next_attempt(going: RunDir, start: Start, capsys: Capture) -> None:
    assert tool(["stop", going.name, "--at", "23:30"]) == 0
    assert "stops at" in capsys.readouterr().out
    assert time.strftime("%H:%M", time.localtime(launch.stops_at(going))) == "23:30"
    assert tool(["stop", going.name, "--at", "never"]) == 0
    assert launch.stops_at(going) is None
    launch.stop_at(going, 5e9)
    assert launch.stop(going, grace_s=20) == "stopped"
    with pytest.raises(RunError, match="not running"):
        launch.stop_at(going, 5e9)
    start(going)
    assert launch.stops_at(going) is None

"""When a worker is asked to stop, and what its last event says of why."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from trainer.run import stop_requests
from trainer.run.rundir import RunDir
from trainer.worker.session import StopFlag


@pytest.fixture
def flag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StopFlag:
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    run = RunDir(tmp_path / "run")
    run.control.mkdir(parents=True)
    return StopFlag(run, 2)


def test_at_the_time_that_was_set_it_stops_by_itself_and_everybody_sees_it_stopping(flag: StopFlag) -> None:
    stop_requests.ask_to_end_at(flag.rundir, time.time() + 60)
    flag.look()
    assert not flag()
    stop_requests.ask_to_end_at(flag.rundir, time.time() - 1)
    flag.look()
    assert flag() and flag.why() == "time" and not flag.pauses()
    asked = stop_requests.stop_request(flag.rundir)
    assert asked is not None and asked.attempt == 2


def test_a_time_that_was_taken_back_stops_nothing(flag: StopFlag) -> None:
    stop_requests.ask_to_end_at(flag.rundir, time.time() - 1)
    stop_requests.ask_to_end_at(flag.rundir, None)
    flag.look()
    assert not flag()


def test_a_time_that_is_none_stops_nothing(flag: StopFlag) -> None:
    flag.rundir.stop_at.write_text('{"at": "soon"}')
    flag.look()
    assert not flag()


def test_a_signal_that_came_with_a_request_is_that_request(flag: StopFlag) -> None:
    flag._on_signal(signal.SIGTERM, None)
    assert flag.why() == "SIGTERM"
    stop_requests.ask_to_end(flag.rundir, 2, pause=True)
    assert flag.why() == "request" and flag.pauses()

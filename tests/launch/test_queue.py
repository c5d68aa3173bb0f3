"""Runs that wait for others to end: their order, who starts them, and that none is started twice."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.builders import began, comparing, finished, named
from trainer import launch
from trainer.__main__ import main as tool
from trainer.console import queue_starter
from trainer.console.comparisons import Comparison
from trainer.errors import Problem, RunError
from trainer.launch import queue
from trainer.machine.process import Lock
from trainer.run import queue_place
from trainer.run.queue_place import place_of
from trainer.run.rundir import RunDir, outputs_dir

MakeRun = Callable[..., RunDir]


@pytest.fixture(autouse=True)
def tended(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Folders for which a process was started that starts what waits there."""
    found: list[Path] = []
    monkeypatch.setattr("trainer.machine.spawn.detached", lambda arguments, *_, **__: found.append(Path(arguments[1])))
    return found


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Names of runs that were started from the queue, each over at once."""
    found: list[str] = []

    class Over:
        def poll(self) -> int:
            return 0

    def begin(rundir: RunDir) -> Any:
        found.append(rundir.name)
        rundir.log_file(rundir.newest_attempt() + 1).write_text("")
        return Over()

    monkeypatch.setattr(queue, "resume", begin)
    monkeypatch.setattr(queue_starter, "POLL_S", 0.0)
    yield found


def names() -> list[str]:
    return [rundir.name for rundir in queue.waiting(outputs_dir())]


def three(make_run: MakeRun) -> list[RunDir]:
    runs = [make_run(name) for name in ("a", "b", "c")]
    for run in runs:
        queue.add(run)
    return runs


def test_runs_wait_in_the_order_they_came_and_say_so(make_run: MakeRun, tended: list[Path]) -> None:
    runs = three(make_run)
    assert names() == ["a", "b", "c"]
    assert {launch.status_of(run) for run in runs} == {"queued"}
    assert tended[0] == outputs_dir()
    assert queue.add(runs[0]) == 3  # again: to the end
    assert names() == ["b", "c", "a"]


def test_the_order_is_changed_and_a_run_taken_out(make_run: MakeRun) -> None:
    a, b, c = three(make_run)
    queue.move(c, 1)
    assert names() == ["c", "a", "b"]
    queue.move(c, 2)
    assert names() == ["a", "c", "b"]
    queue.move(a, 99)
    assert names() == ["c", "b", "a"]
    queue.remove(b)
    assert names() == ["c", "a"]
    with pytest.raises(RunError, match="does not wait for its turn; those that do: c, a"):
        queue.move(b, 1)


def test_a_run_that_is_going_or_done_cannot_wait_and_one_that_was_stopped_can(
    make_run: MakeRun, stranger: subprocess.Popen[bytes]
) -> None:
    live = make_run("live", began())
    named(live, stranger)
    with pytest.raises(RunError, match="only a run that is not going"):
        queue.add(live)
    with pytest.raises(RunError, match="finished"):
        queue.add(make_run("done", *finished()))
    stopped = make_run("stopped", began(), {"kind": "run_stopped", "step": 1, "checkpoint": None})
    queue.add(stopped)
    assert names() == ["stopped"] and launch.status_of(stopped) == "stopped"


def test_they_are_started_one_after_the_other_and_then_the_process_ends(make_run: MakeRun, started: list[str]) -> None:
    three(make_run)
    assert queue_starter.main(outputs_dir()) == 0
    assert started == ["a", "b", "c"] and names() == []


def started_after(stranger: subprocess.Popen[bytes], started: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """None is while the stranger lives; the one that waits is afterwards."""
    seen: list[int] = []

    def slept(_: float) -> None:
        seen.append(len(started))
        stranger.kill()
        stranger.wait()

    monkeypatch.setattr("time.sleep", slept)
    queue_starter.main(outputs_dir())
    assert seen[0] == 0 and started == ["next"]


def test_none_is_started_while_one_is_going(
    make_run: MakeRun, started: list[str], stranger: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    named(make_run("live", began()), stranger)
    queue.add(make_run("next"))
    started_after(stranger, started, monkeypatch)


def test_none_is_started_between_two_runs_of_a_comparison(
    make_run: MakeRun, started: list[str], stranger: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    comparing(Comparison("tiny", ("sft", "grpo"), 1024, (1,), (), "compare-tiny"), stranger.pid)
    make_run("compare-tiny-sft-1", *finished())
    queue.add(make_run("next"))
    assert queue.going(outputs_dir()) == ["compare-tiny"]
    started_after(stranger, started, monkeypatch)


def test_one_process_starts_them_however_many_look(make_run: MakeRun, started: list[str], tended: list[Path]) -> None:
    queue.add(make_run("next"))
    lock = queue.hold_starter_lock(outputs_dir())
    assert lock is not None
    tended.clear()
    queue.tend(outputs_dir())
    assert tended == [] and queue_starter.main(outputs_dir()) == 0 and started == []
    lock.release()
    queue.tend(outputs_dir())
    assert tended == [outputs_dir()]


def test_a_run_that_was_begun_is_not_begun_again_wherever_the_starter_was_killed(
    make_run: MakeRun, started: list[str]
) -> None:
    run = make_run("next")
    queue.add(run)
    run.log_file(1).write_text("")  # its worker was started, its note is still there
    assert run.queued.is_file() and place_of(run) is None
    queue_starter.main(outputs_dir())
    assert started == []


def test_one_that_cannot_be_started_says_why_and_holds_up_nobody(
    make_run: MakeRun, started: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, good = make_run("bad"), make_run("good")
    queue.add(bad)
    queue.add(good)
    begin: Any = vars(queue)["resume"]

    def refuse(rundir: RunDir) -> Any:
        if rundir == bad:
            raise RunError(Problem("launch.gone", name="bad"))
        return begin(rundir)

    monkeypatch.setattr(queue, "resume", refuse)
    assert queue_starter.main(outputs_dir()) == 0
    assert started == ["good"] and names() == ["bad"]
    tool(["queue"])
    assert "1. bad: could not be started" in capsys.readouterr().out
    queue.move(bad, 1)  # tried again
    found = place_of(bad)
    assert found is not None and found.refused is None


def test_who_trains_on_the_same_device_is_named(
    make_run: MakeRun, stranger: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    live = make_run("live", began())
    spec = live.read_spec()
    assert queue.beside(spec, outputs_dir()) == []
    named(live, stranger)
    assert queue.beside(spec, outputs_dir()) == ["live"]
    other = spec.model_copy(update={"model": spec.model.model_copy(update={"device": "cuda"})})
    assert queue.beside(other, outputs_dir()) == []


def test_the_console_adds_moves_lists_and_removes(make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        make_run(name)
        assert tool(["queue", name]) == 0
    assert tool(["queue", "b", "--place", "1"]) == 0
    assert "b: number 1 in the queue" in capsys.readouterr().out
    tool(["queue"])
    assert capsys.readouterr().out.split() == ["1.", "b", "2.", "a"]
    tool(["queue", "b", "--remove"])
    tool(["queue", "a", "--remove"])
    tool(["queue"])
    assert "no run waits" in capsys.readouterr().out


def test_a_damaged_note_is_none(make_run: MakeRun) -> None:
    run = make_run("a")
    for text in ("", "{", '{"attempt": "1", "order": 1}', '{"attempt": 1, "order": "x"}'):
        run.queued.write_text(text)
        assert place_of(run) is None


def test_two_who_change_the_order_take_turns(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock is held while the notes are written, and free afterwards."""
    run = make_run("a")
    held: list[bool] = []
    write = queue_place.take_place

    def looked(*arguments: Any) -> None:
        held.append(not Lock(queue._lock_file(outputs_dir(), "order")).take("other"))
        write(*arguments)

    monkeypatch.setattr(queue_place, "take_place", looked)
    queue.add(run)
    assert held == [True] and Lock(queue._lock_file(outputs_dir(), "order")).take("other")

"""Starting, judging, stopping and killing a worker, against tests/fake_worker.py."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.builders import FAKE_WORKER, named, publish, until, until_step
from trainer import launch
from trainer.errors import CheckpointError, RunError
from trainer.launch import WorkerHandle
from trainer.machine.json_files import read_json, write_json
from trainer.machine.process import Identity, Lock, boot_id
from trainer.run import checkpoints
from trainer.run.rundir import RunDir
from trainer.run.state import RunFollower, state_of
from trainer.run.status import named_itself
from trainer.text import Message

MakeRun = Callable[..., RunDir]
Start = Callable[..., WorkerHandle]
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


# -- start and judge -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("character", "status", "code"),
    [
        ("finish", "finished", 0),
        ("fail", "failed", 1),
        ("refuse", "failed", 2),
        ("leave", "lost", 3),
        ("die", "lost", -signal.SIGKILL),
    ],
)
def test_the_end_of_a_worker_is_judged_from_its_events(
    make_run: MakeRun, start: Start, character: str, status: str, code: int
) -> None:
    run = make_run()
    handle = start(run, character)
    assert handle.process.wait(20) == code
    assert launch.status_of(run) == status


def test_a_worker_goes_from_starting_over_running_to_its_end(make_run: MakeRun, start: Start) -> None:
    run = make_run()
    assert launch.status_of(run) == "starting"
    handle = start(run, "obey")
    assert launch.status_of(run) in ("starting", "running")
    until_step(run)
    assert launch.status_of(run) == "running"
    assert launch.stop(run, grace_s=20) == "stopped"
    handle.process.wait(20)
    assert launch.status_of(run) == "stopped"


def test_a_run_nobody_started_is_stopped_after_a_while(make_run: MakeRun) -> None:
    run = make_run()
    os.utime(run.spec, (1, 1))
    assert launch.status_of(run) == "stopped"


def test_a_worker_that_has_spoken_its_last_word_has_ended(make_run: MakeRun, stranger: subprocess.Popen[bytes]) -> None:
    run = make_run("tiny-1", {"kind": "run_finished", "step": 4})
    named(run, stranger)
    assert launch.status_of(run) == "finished"


def test_the_parent_names_the_worker_and_the_worker_names_itself(make_run: MakeRun, start: Start) -> None:
    run = make_run()
    handle = start(run, "obey")
    until_step(run)
    by_parent, started = read_json(run.identity), state_of(run).started
    assert by_parent is not None
    assert started is not None
    assert Identity.read(by_parent) == named_itself(started)
    assert (by_parent["pid"], by_parent["attempt"]) == (handle.pid, 1)


def test_a_worker_whose_parent_could_not_name_it_is_still_found(make_run: MakeRun, start: Start) -> None:
    run = make_run()
    start(run, "obey")
    until_step(run)
    run.identity.unlink()
    assert launch.status_of(run) == "running"
    with pytest.raises(RunError, match="worker already"):
        start(run, "obey")
    assert launch.stop(run, grace_s=20) == "stopped"


def test_output_goes_to_a_file_and_the_worker_leads_its_own_session(make_run: MakeRun, start: Start) -> None:
    run = make_run()
    handle = start(run, "obey")
    until_step(run)
    assert "fake worker, obey" in run.log_file(1).read_text()
    assert os.getsid(handle.pid) == handle.pid


# -- one worker a run, one run a GPU -------------------------------------------------------------


def test_starts_at_the_same_time_give_one_worker(make_run: MakeRun, start: Start) -> None:
    run = make_run()
    handles: list[WorkerHandle] = []
    refusals: list[RunError] = []

    def work() -> None:
        try:
            handles.append(start(run, "obey"))
        except RunError as error:
            refusals.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(handles), len(refusals)) == (1, 3)
    assert "python -m trainer stop tiny-1" in str(refusals[0])
    until_step(run)
    assert state_of(run).attempts == 1


def test_the_lock_of_the_worker_refuses_a_second_one(make_run: MakeRun, start: Start) -> None:
    run = make_run()
    start(run, "obey")
    until_step(run)
    command = [sys.executable, "-m", FAKE_WORKER, str(run.path)]
    impatient = os.environ | {"FAKE_WORKER_WAIT_S": "0.2"}
    second = subprocess.run(command, capture_output=True, text=True, env=impatient)
    assert second.returncode != 0
    assert "RunError" in second.stderr
    assert "worker already" in second.stderr


def test_a_lock_is_free_again_when_its_holder_is_killed(make_run: MakeRun, start: Start) -> None:
    run = make_run()
    handle = start(run, "deaf")
    until_step(run)
    assert not Lock(run.worker_lock).take("me")
    handle.process.kill()
    handle.process.wait()
    with Lock(run.worker_lock) as lock:
        assert lock.take("me", wait_s=2)


def test_threads_that_outlive_a_killed_worker_are_waited_for(make_run: MakeRun, start: Start) -> None:
    """The process is seen to have ended when its first thread has; its files are held until all have."""
    run = make_run()
    handle = start(run, "deaf")
    until_step(run)
    handle.process.kill()
    handle.process.wait()
    with Lock(run.worker_lock) as left:
        assert left.take("pid of the killed one", wait_s=2)
        threading.Timer(0.3, left.release).start()
        assert start(run, "finish").attempt == 2


def test_a_forked_child_does_not_keep_a_lock(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "lock")
    assert lock.take("parent")
    child = os.fork()
    if child == 0:
        time.sleep(30)
        os._exit(0)
    lock._close()
    try:
        until(lambda: Lock(tmp_path / "lock").take("next"), 5)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_the_gpu_lock_names_the_run_that_has_it() -> None:
    with launch.hold_gpu_lock("GPU-1", "tiny-1"):
        with pytest.raises(RunError, match=r"in use by run tiny-1, pid \d+.*stop tiny-1"):
            launch.hold_gpu_lock("GPU-1", "tiny-2", 0.1)
        launch.hold_gpu_lock("GPU-2", "tiny-2").release()
    launch.hold_gpu_lock("GPU-1", "tiny-2").release()


# -- stop and kill -------------------------------------------------------------------------------


def test_a_stop_shows_while_it_lasts_and_force_ends_a_deaf_worker(make_run: MakeRun, start: Start) -> None:
    run = make_run()
    handle = start(run, "deaf")
    until_step(run)
    assert launch.stop(run, grace_s=0.3) == "stopping"
    assert launch.kill(run)
    assert handle.process.wait(20) == -signal.SIGKILL
    assert launch.status_of(run) == "stopped"  # on request: nothing failed
    assert not launch.kill(run)


def test_killing_takes_the_children_along(make_run: MakeRun, start: Start) -> None:
    run = make_run()
    handle = start(run, "parent")
    until_step(run)
    child = Identity.of(int((run.control / "child").read_text()))
    assert child is not None
    assert child.alive()
    assert launch.kill(run)
    handle.process.wait(20)
    until(lambda: not child.alive())


def test_what_is_not_running_can_not_be_stopped(make_run: MakeRun) -> None:
    run = make_run("tiny-1", {"kind": "run_finished", "step": 4})
    with pytest.raises(RunError, match="is not running, it is finished"):
        launch.stop(run)


def test_a_worker_stopped_before_it_began_is_stopped_not_lost(
    make_run: MakeRun, stranger: subprocess.Popen[bytes]
) -> None:
    run = make_run()
    named(run, stranger)
    launch.stop(run)
    stranger.wait(20)
    assert launch.status_of(run) == "stopped"


@pytest.mark.skipif(os.name == "nt", reason="a signal ends a process there")
def test_a_signal_waits_until_the_worker_can_take_it(make_run: MakeRun, start: Start) -> None:
    """While it is still importing: an unhandled SIGTERM would end it without a word."""
    run = make_run()
    handle = start(run, "obey")
    handle.process.send_signal(signal.SIGTERM)
    assert handle.process.wait(30) == launch.EXIT_STOPPED
    assert launch.status_of(run) == "stopped"
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, set())  # of this process


def test_a_worker_that_started_the_next_is_not_the_runs_worker_any_more(
    make_run: MakeRun, stranger: subprocess.Popen[bytes]
) -> None:
    """It may still be clearing up when its successor is killed: the run is lost, not starting."""
    old = Identity.of(stranger.pid)
    assert old is not None
    run = make_run("tiny-1", {"kind": "run_started", "resumed_from_step": 0, **old.stored()})
    write_json(run.identity, {"pid": 2**22, "pid_started": "1", "boot_id": boot_id(), "attempt": 2})
    assert launch.status_of(run) == "lost"


@linux_only
@pytest.mark.parametrize("change", [{"pid_started": "1"}, {"boot_id": "another"}])
def test_a_stranger_with_the_same_pid_is_never_signalled(
    make_run: MakeRun, stranger: subprocess.Popen[bytes], change: dict[str, str]
) -> None:
    run = make_run("tiny-1", {"kind": "run_started", "resumed_from_step": 0})
    named(run, stranger, **change)
    assert launch.status_of(run) == "lost"
    with pytest.raises(RunError, match="not running"):
        launch.stop(run)
    assert not launch.kill(run)
    impostor = Identity.read(read_json(run.identity))
    assert impostor is not None
    assert not impostor.send(signal.SIGKILL)
    assert not impostor.kill_group()
    time.sleep(0.1)
    assert stranger.poll() is None


@pytest.mark.parametrize(
    "stored",
    [
        None,
        [],
        {},
        {"pid": 1, "pid_started": "1", "boot_id": "x"},
        {"pid": 0, "pid_started": "1", "boot_id": "x"},
        {"pid": -1, "pid_started": "1", "boot_id": "x"},
        {"pid": True, "pid_started": "1", "boot_id": "x"},
        {"pid": 77, "pid_started": "", "boot_id": "x"},
    ],
)
def test_what_is_no_identity_names_nobody(stored: object) -> None:
    assert Identity.read(stored) is None


@linux_only
def test_a_zombie_is_not_alive() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    identity = Identity.of(process.pid)
    assert identity is not None
    until(lambda: not identity.alive())
    assert process.wait() == 0
    assert not identity.alive()
    assert identity.boot_id == boot_id()


def test_a_group_that_is_not_its_own_is_not_killed() -> None:
    """A worker started by hand shares the shell's process group."""
    process = subprocess.Popen(["sleep", "60"])
    identity = Identity.of(process.pid)
    assert identity is not None
    assert identity.kill_group()
    assert process.wait(20) == -signal.SIGKILL


# -- resume --------------------------------------------------------------------------------------


def test_a_resumed_run_is_another_attempt_with_its_own_log(
    make_run: MakeRun, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    start(run, "obey")
    until_step(run)
    assert launch.stop(run, grace_s=20) == "stopped"
    monkeypatch.setenv("FAKE_WORKER", "finish")
    handle = launch.resume(run, FAKE_WORKER)
    assert (handle.attempt, handle.process.wait(20)) == (2, 0)
    state = RunFollower(run).tick()
    assert (state.steps, state.attempts, launch.status_of(run)) == ([1, 2, 3, 4], 2, "finished")
    assert run.log_file(2).read_text().strip() == "fake worker, finish"


def test_running_and_finished_runs_are_not_resumed(make_run: MakeRun, start: Start) -> None:
    run = make_run()
    handle = start(run, "obey")
    until_step(run)
    with pytest.raises(RunError, match="running"):
        launch.resume(run, FAKE_WORKER)
    launch.stop(run, grace_s=20)
    handle.process.wait(20)
    done = make_run("tiny-2", {"kind": "run_finished", "step": 4})
    with pytest.raises(RunError, match="finished"):
        launch.resume(done, FAKE_WORKER)


def test_the_request_to_stop_does_not_outlive_its_attempt(make_run: MakeRun, start: Start) -> None:
    run = make_run()
    start(run, "obey")
    until_step(run)
    launch.stop(run, grace_s=20)
    assert run.stop_request.exists()
    start(run, "obey")
    until(lambda: launch.status_of(run) == "running")
    assert not run.stop_request.exists()


@pytest.fixture
def rewound(make_run: MakeRun) -> RunDir:
    """A finished run with checkpoints 1, 2 and 4, evaluated; the best is 2."""
    evals = [{"kind": "eval", "at": "during", "step": step, "reward": reward} for step, reward in ((2, 0.9), (4, 0.5))]
    steps = [{"kind": "step", "step": step, "of": 4} for step in (1, 2, 3, 4)]
    run = make_run("tiny-1", {"kind": "run_started"}, *steps, *evals, {"kind": "run_finished", "step": 4})
    publish(run, 1, 2, 4)
    return run


@pytest.mark.parametrize(("which", "step"), [("best", 2), ("1", 1)])
def test_a_finished_run_goes_on_from_an_older_checkpoint(
    rewound: RunDir, monkeypatch: pytest.MonkeyPatch, which: str, step: int
) -> None:
    monkeypatch.setenv("FAKE_WORKER", "finish")
    told: list[Message] = []
    handle = launch.resume(rewound, FAKE_WORKER, which, told.append)
    assert handle.process.wait(20) == 0
    assert handle.attempt == 2
    newer = "checkpoint-4, checkpoint-2" if step == 1 else "checkpoint-4"
    assert str(told[-1]) == f"going back to checkpoint-{step}; set aside, not deleted: {newer}"
    assert [found.step for found in checkpoints.listed(rewound.checkpoints)] == list(range(1, step + 1))


@pytest.mark.parametrize(
    ("which", "message"),
    [
        ("4", "is finished: no steps are left to train  ->  .*--checkpoint STEP"),
        ("latest", "is finished"),
        ("3", r"'3' is not a checkpoint of this run  ->  best, latest, or one of 1, 2, 4"),
        ("first", "'first' is not a checkpoint"),
    ],
)
def test_a_checkpoint_that_can_not_be_gone_on_from_changes_nothing(rewound: RunDir, which: str, message: str) -> None:
    with pytest.raises(RunError, match=message):
        launch.resume(rewound, FAKE_WORKER, which)
    assert [found.step for found in checkpoints.listed(rewound.checkpoints)] == [1, 2, 4]
    assert rewound.newest_attempt() == 0


def test_a_damaged_checkpoint_is_refused_before_the_newer_ones_are_set_aside(rewound: RunDir) -> None:
    (rewound.checkpoint(1) / "optimizer.pt").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"checkpoint-1: optimizer\.pt has 0 bytes"):
        launch.resume(rewound, FAKE_WORKER, "1")
    assert len(checkpoints.listed(rewound.checkpoints)) == 3


def test_checkpoints_of_a_run_that_trains_are_not_set_aside(make_run: MakeRun, start: Start) -> None:
    run = make_run()
    start(run, "obey")
    until_step(run)
    publish(run, 1, 2)
    with pytest.raises(RunError, match="worker already"):
        launch.resume(run, FAKE_WORKER, "1")
    assert len(checkpoints.listed(run.checkpoints)) == 2


def test_a_gpu_that_answers_a_chat_is_not_trained_on() -> None:
    with (
        launch.hold_gpu_lock("GPU-1", "tiny-1", use="chat with"),
        pytest.raises(RunError, match=r"in use by a chat with tiny-1, pid \d+  ->  end it first"),
    ):
        launch.hold_gpu_lock("GPU-1", "tiny-2", 0.1)

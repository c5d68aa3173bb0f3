"""A copied run has no process: what its files name belongs to the original."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.builders import FAKE_WORKER, batch, until_step
from trainer import launch, mirrors
from trainer.errors import RunError
from trainer.launch import WorkerHandle
from trainer.machine import notes
from trainer.machine.process import Identity
from trainer.report import afterwards
from trainer.run import rollouts, stop_requests
from trainer.run.rundir import RunDir
from trainer.tryit import exporting, parent, reading

MakeRun = Callable[..., RunDir]
Start = Callable[..., WorkerHandle]


def copied(run: RunDir, name: str = "copy") -> RunDir:
    shutil.copytree(run.path, run.path.with_name(name))
    return RunDir(run.path.with_name(name))


def test_a_copy_of_a_run_that_trains_is_not_running_and_can_do_nothing_to_it(
    make_run: MakeRun, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    handle = start(run, "obey")
    until_step(run)
    copy = copied(run)
    stop_requests.ask_to_save(copy, 1)  # as if it had been asked of the original
    assert (launch.status_of(run), launch.status_of(copy)) == ("running", "lost")
    assert launch.save_asked(copy) is None
    for ask in (launch.stop, launch.pause, launch.save_now):
        with pytest.raises(RunError, match="is not running, it is lost"):
            ask(copy)
    assert not launch.kill(copy)
    copy.identity.unlink()  # what the worker says of itself is the original's as well
    assert launch.status_of(copy) == "lost" and not launch.kill(copy)
    monkeypatch.setenv("FAKE_WORKER", "finish")
    assert launch.resume(copy, FAKE_WORKER).process.wait(20) == 0
    launch.delete(copy)
    assert (launch.status_of(run), handle.poll()) == ("running", None)
    assert launch.stop(run, grace_s=20) == "stopped"


def test_no_process_of_the_original_is_one_of_the_copy(make_run: MakeRun, stranger: subprocess.Popen[bytes]) -> None:
    run = make_run("tiny-1", {"kind": "run_started"}, {"kind": "run_stopped", "step": 1})
    process = Identity.of(stranger.pid)
    assert process is not None
    run.tryit.mkdir()
    run.export_processes.mkdir()
    name = f"{7:020d}-adapter-1"
    exported = run.export_processes / f"{name}.json"
    for path in (run.report_writer, run.mirror, run.tryit_worker, run.tryit_started, exported):
        notes.write(path, process, attempt=1, state="ready", run=run.name)
    copy = copied(run)
    for mine, is_busy in ((run, True), (copy, False)):
        assert afterwards.at_work(mine) == is_busy
        assert mirrors.at_work(mine, 1) == is_busy
        assert reading.process(mine).at_work == is_busy
        assert (exporting.listed(mine)[0].state == "running") == is_busy
    assert not parent.end(copy)
    launch.delete(copy)
    assert stranger.poll() is None


def test_a_folder_that_is_renamed_keeps_its_process(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    notes.write(tmp_path / "a" / "note.json", Identity.mine())
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    (tmp_path / "a").rename(tmp_path / "b")
    assert notes.process(tmp_path / "b" / "note.json") == Identity.mine()
    assert notes.process(tmp_path / "copy" / "note.json") is None
    assert notes.process(tmp_path / "none.json") is None
    assert not notes.made_for(tmp_path / "gone", "/a", "1-1")


def test_rollouts_that_were_deleted_are_written_again(make_run: MakeRun) -> None:
    run = make_run()
    shutil.rmtree(run.rollouts)
    rollouts.write(run.rollouts_file(3), 3, rollouts.groups(batch(), 2), more=False)
    assert run.rollouts_file(3).is_file()

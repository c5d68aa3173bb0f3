"""Deleting a run: all of it, nothing else, and not while anybody works on it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.builders import publish, until_step
from trainer import launch
from trainer.__main__ import main as tool
from trainer.errors import RunError
from trainer.launch import WorkerHandle
from trainer.launch import deletion as deleting
from trainer.machine.json_files import write_json
from trainer.machine.process import Identity
from trainer.run.rundir import RunDir, list_runs, outputs_dir
from trainer.spec import RunSpec

MakeRun = Callable[..., RunDir]
Start = Callable[..., WorkerHandle]
Capture = pytest.CaptureFixture[str]
STEP = {"kind": "step", "step": 4, "of": 4}
ENDED = {"kind": "run_stopped", "step": 4}


def test_a_deleted_run_is_gone_and_the_others_stay(make_run: MakeRun) -> None:
    gone, kept = make_run("tiny-1", STEP, ENDED), make_run("tiny-2", STEP, ENDED)
    publish(gone, 2, 4)
    launch.delete(gone)
    assert [run.name for run in list_runs(outputs_dir())] == ["tiny-2"]
    assert os.listdir(outputs_dir()) == ["tiny-2"]
    assert kept.events.is_file()
    with pytest.raises(RunError, match="there is no such run"):
        launch.delete(gone)
    assert os.listdir(outputs_dir()) == ["tiny-2"]


def test_links_inside_are_removed_and_not_followed(make_run: MakeRun, tmp_path: Path) -> None:
    run, elsewhere = make_run("tiny-1", ENDED), tmp_path / "weights"
    elsewhere.mkdir()
    (elsewhere / "model.safetensors").write_bytes(b"mine" * 4000)
    (run.path / "base").symlink_to(elsewhere, target_is_directory=True)
    (run.path / "one").symlink_to(elsewhere / "model.safetensors")
    assert launch.contents(run).bytes < 16000
    launch.delete(run)
    assert not run.path.exists()
    assert (elsewhere / "model.safetensors").read_bytes() == b"mine" * 4000


def test_a_link_or_a_folder_that_is_no_run_is_refused(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("tiny-1", ENDED)
    other = outputs_dir() / "other"
    other.mkdir()
    with pytest.raises(RunError, match="there is no such run"):
        launch.delete(RunDir(other))
    (outputs_dir() / "link").symlink_to(run.path)
    assert tool(["delete", "link", "--yes"]) == launch.EXIT_INPUT
    assert tool(["delete", "../outputs/tiny-1", "--yes"]) == launch.EXIT_INPUT
    assert run.events.is_file()
    assert other.is_dir()


def test_a_run_that_trains_is_not_deleted(make_run: MakeRun, start: Start) -> None:
    run = make_run()
    handle = start(run, "obey")
    until_step(run)
    with pytest.raises(RunError, match="is running  ->  end it first: python -m trainer pause tiny-1"):
        launch.delete(run)
    assert launch.status_of(run) == "running"
    assert launch.stop(run, grace_s=20) == "stopped"
    launch.delete(run)
    assert handle.process.wait(20) == launch.EXIT_STOPPED
    assert os.listdir(outputs_dir()) == []


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("control/report.json", "its report is being written"),
        ("control/mirror.json", "a copy of it is still being written or sent"),
        ("control/exports/1.json", "weights of it are being exported"),
        ("tryit/worker.json", "questions to its model are being answered"),
    ],
)
def test_a_run_that_another_process_works_on_is_not_deleted(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, file: str, said: str
) -> None:
    monkeypatch.setattr(deleting, "_REPORT_S", 0.1)
    run = make_run("tiny-1", ENDED)
    (run.path / file).parent.mkdir(exist_ok=True)
    write_json(run.path / file, Identity.mine().stored())
    with pytest.raises(RunError, match=f"is in use: {said}"):
        launch.delete(run)
    assert run.events.is_file()


def test_what_a_killed_deletion_left_is_in_no_list_and_swept_by_the_next_run(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    run = make_run("tiny-1", ENDED)
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            launch.delete(run)
    (left,) = os.listdir(outputs_dir())
    assert left.startswith(".deleting-tiny-1-")
    assert list_runs(outputs_dir()) == []
    make_run("tiny-1")
    assert os.listdir(outputs_dir()) == ["tiny-1"]


def test_files_that_can_not_be_removed_are_said(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    run = make_run("tiny-1", ENDED)
    monkeypatch.setattr(shutil, "rmtree", refuse)
    with pytest.raises(RunError, match=r"is gone from the list, but .* could not be removed: Permission denied"):
        launch.delete(run)


def test_an_imported_run_and_one_that_never_began_can_be_deleted(make_run: MakeRun) -> None:
    imported: dict[str, Any] = {"kind": "run_started", "imported": {"from": "wandb", "files": []}}
    for run in (make_run("tiny-1", imported), make_run("tiny-2")):
        os.utime(run.spec, (1, 1))
        launch.delete(run)
    assert os.listdir(outputs_dir()) == []


def test_the_command_asks_first(make_run: MakeRun, spec: RunSpec, capsys: Capture) -> None:
    run = make_run("tiny-1", STEP, ENDED)
    publish(run, 2, 4)
    assert tool(["delete", "tiny-1"]) == launch.EXIT_INPUT
    out = capsys.readouterr().out
    assert "4 steps, 2 checkpoints" in out
    assert "python -m trainer delete tiny-1 --yes" in out
    assert run.read_spec() == spec
    assert tool(["delete", "tiny-1", "--yes"]) == 0
    assert "tiny-1: deleted" in capsys.readouterr().out
    assert not run.path.exists()

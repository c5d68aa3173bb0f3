"""What lies where a file of ours should be is named, and never waited for; all processes find the same folders."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.builders import bound
from trainer import launch
from trainer.data import chat_template, files
from trainer.errors import DataError, RewardError, RunError
from trainer.launch.locks import Holder
from trainer.machine import spawn
from trainer.machine.process import Identity, Lock
from trainer.machine.project import PROJECT, cache_dir, in_full
from trainer.machine.regular_files import NotAFile, open_to_write
from trainer.memory import formats
from trainer.rewards import own_file
from trainer.run import rollouts
from trainer.run.rundir import outputs_dir
from trainer.spec import RunSpec
from trainer.wandb_import import exported_files

Spoil = Callable[[Path], object]


ODD: dict[str, Spoil] = {
    "folder": Path.mkdir,
    "pipe": os.mkfifo,
    "circle of links": lambda path: path.symlink_to(path.name),
    "socket": bound,
    "device": lambda path: path.symlink_to("/dev/null"),
}


@pytest.mark.parametrize("kind", ODD)
def test_nothing_is_written_into_what_is_no_file_and_nobody_waits_for_it(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    ODD[kind](path)
    lock = Lock(path)
    for _ in range(2):  # the first try must not leave it held
        with pytest.raises(OSError):
            lock.take("me")
    assert (lock.note(), Holder.of(lock)) == ("", None)
    for append in (True, False):
        with pytest.raises(OSError):
            open_to_write(path, append=append)
    with pytest.raises(OSError):
        spawn.detached(["no.such.module"], path)
    with pytest.raises(OSError):
        rollouts.write(path, 1, [], more=False)


def test_a_pipe_that_somebody_reads_is_no_file_either(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a")
    reader = os.open(tmp_path / "a", os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(NotAFile):
            open_to_write(tmp_path / "a", append=True)
    finally:
        os.close(reader)


def test_a_file_is_written_from_its_end_or_from_its_start(tmp_path: Path) -> None:
    for append, expected in ((False, b"1"), (True, b"11"), (False, b"1")):
        with open_to_write(tmp_path / "a", append=append) as file:
            file.write(b"1")
        assert (tmp_path / "a").read_bytes() == expected


@pytest.mark.parametrize("pid", [10**300, 2**31, 1, 0, -5, True, "7", None])
def test_a_number_that_no_process_has_names_none(pid: Any) -> None:
    assert Identity.read({"pid": pid, "pid_started": "1", "boot_id": "b"}) is None


def test_a_holder_whose_number_is_none_is_not_known(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text('{"use": "run", "run": "tiny-1", "pid": 1e400}')
    assert Holder.of(Lock(tmp_path / "lock")) is None


def test_named_folders_are_those_of_where_a_command_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name, path in (("OUTPUTS", "runs"), ("STATE", "~/state"), ("CACHE", "../cache")):
        monkeypatch.setenv(f"ONEGRPO_{name}", path)
    expected = {"OUTPUTS": tmp_path / "runs", "STATE": tmp_path / "home/state", "CACHE": tmp_path.parent / "cache"}
    assert (outputs_dir(), launch.state_dir(), cache_dir()) == tuple(expected.values())
    model = expected["CACHE"] / "tiny-qwen3" / "key"
    model.mkdir(parents=True)
    (model / "tokenizer.json").touch()
    table: Any = {"model": {"name": "builtin/tiny-qwen3"}, "data": {"path": "a.jsonl"}}
    spec = RunSpec.model_validate(table | {"reward": {"components": [{"function": "exact_match"}]}})
    assert chat_template.folder_of(spec) == model
    given: dict[str, Any] = {}

    def popen(_: Any, **options: Any) -> Any:
        given.update(options)
        return SimpleNamespace(pid=1)

    monkeypatch.setattr(spawn, "subprocess", SimpleNamespace(Popen=popen, DEVNULL=-3, STDOUT=-2))
    spawn.detached(["x"], tmp_path / "log")
    assert given["cwd"] == PROJECT  # another folder, in which the same are found
    assert {name: given["env"][f"ONEGRPO_{name}"] for name in expected} == {k: str(v) for k, v in expected.items()}


def test_a_user_without_a_home_has_a_state_folder_and_paths_of_nobody_are_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ONEGRPO_STATE")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert launch.state_dir() == PROJECT / ".cache" / "onegrpo"
    monkeypatch.setenv("XDG_STATE_HOME", "state")  # not a path at all, by its own rules
    assert launch.state_dir() == PROJECT / ".cache" / "onegrpo"
    assert in_full("~nobody-here/a") == tmp_path / "~nobody-here" / "a"


@pytest.mark.parametrize("below", ["", "sub/folder"])
def test_a_state_folder_that_cannot_be_made_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ONEGRPO_STATE", str(tmp_path / "file" / below))
    with pytest.raises(RunError, match="ONEGRPO_STATE=FOLDER"):
        launch.make_state_dir()
    monkeypatch.setenv("ONEGRPO_STATE", str(tmp_path / "state"))
    assert launch.make_state_dir("inside").is_dir()
    (launch.state_dir() / "page").touch()
    os.mkfifo(launch.state_dir() / "gpu-x.lock")
    for act in (lambda: launch.make_state_dir("page"), lambda: launch.hold_gpu_lock("x", "tiny-1", 0.0)):
        with pytest.raises(RunError, match="ONEGRPO_STATE=FOLDER"):
            act()


def test_files_that_people_name_are_not_waited_for_either(tmp_path: Path) -> None:
    for name in ("own.py", "config.json", "tokenizer_config.json", "a.csv", "config.yaml", "rows.jsonl"):
        os.mkfifo(tmp_path / name)
    named = str(tmp_path / "own.py")
    assert "it is a named pipe" in str(own_file.problems(named, "mine", "mine")[0])
    for read in (own_file.read, own_file.rewards_in):
        with pytest.raises(RewardError, match="it is a named pipe"):
            read(named)
    assert formats.of(str(tmp_path)).format == "plain"
    assert chat_template.settings(tmp_path) == {}
    with pytest.raises(DataError, match="it is a named pipe"):
        exported_files.read([tmp_path / "a.csv"])
    with pytest.raises(DataError, match="--labels PATH") as error:
        list(files.records(tmp_path / "rows.jsonl", "--labels"))
    assert "--set" not in str(error.value)

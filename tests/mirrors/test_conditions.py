"""Whatever W&B, the network or the disk do: the run ends with exit code 0, its first step is not held up for long."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.mirrors import offline
from tests.mirrors.conftest import KEY, WAIT_S, Server, Told, told, wait
from tests.records import log_lines
from trainer import launch, mirrors
from trainer.machine.json_files import read_json
from trainer.run.rundir import RunDir

Train = Callable[..., Told]


def recorded_offline(found: Told) -> offline.Recorded:
    """The run ended well and all its steps are in W&B's folder."""
    assert found.exit_code == 0
    (folder,) = offline.folders(found.rundir.wandb)
    recorded = offline.read(folder)
    assert [row["_step"] for row in recorded.history] == [0, 1, 2, 3, 4]
    assert recorded.exit_code == 0
    assert f"sync {folder}" in found.alert["text"]
    return recorded


def test_without_a_key_it_is_offline_and_says_how_to_upload(train: Train) -> None:
    found = train()
    recorded_offline(found)
    assert found.alert["level"] == "info"
    assert "there is no key" in found.alert["text"]
    assert found.delay_s < 10


def test_an_address_where_nobody_listens_means_offline(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    found = train()
    recorded_offline(found)
    assert found.alert["level"] == "warn"
    assert "127.0.0.1 cannot be reached: Connection refused" in found.alert["text"]
    assert found.delay_s < 10


def test_a_name_that_can_not_be_looked_up_means_offline(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.invalid")
    found = train()
    recorded_offline(found)
    assert found.alert["level"] == "warn"
    assert "wandb.invalid" in found.alert["text"]
    assert found.delay_s < 20


@pytest.mark.slow
@pytest.mark.usefixtures("deaf_port")
def test_a_network_that_hangs_delays_the_first_step_by_less_than_twenty_seconds(train: Train) -> None:
    found = train()
    recorded_offline(found)
    assert "did not answer within 5 s" in found.alert["text"]
    assert found.delay_s < 20


@pytest.mark.parametrize(
    "answer", [(401, {"errors": [{"message": "no"}]}), (200, {"data": {"viewer": None}})], ids=["401", "nobody"]
)
def test_a_wrong_key_means_offline_and_a_warning(
    train: Train, serve: Callable[..., Server], answer: tuple[int, Any]
) -> None:
    serve(lambda path, query: answer)
    found = train()
    recorded_offline(found)
    assert found.alert["level"] == "warn"
    assert "refuses the key" in found.alert["text"]
    assert found.delay_s < 10


@pytest.mark.slow
def test_a_server_that_hangs_after_the_probe_delays_the_first_step_by_less_than_twenty_seconds(
    train: Train, serve: Callable[..., Server]
) -> None:
    asked: list[str] = []

    def only_the_probe(path: str, query: str) -> tuple[int, Any] | None:
        asked.append(query)
        return (200, {"data": {"viewer": {"id": "me"}}}) if len(asked) == 1 else None

    serve(only_the_probe)
    found = train()
    recorded_offline(found)
    assert found.alert["level"] == "warn"
    assert found.delay_s < 20
    assert "W&B did not begin" in found.alert["text"]
    assert len(asked) > 1


def test_wandb_mode_disabled_is_obeyed_and_said(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    found = train()
    assert found.exit_code == 0
    assert (found.alert["level"], found.mirror["mode"]) == ("info", "disabled")
    assert not found.rundir.wandb.exists()


def test_wandb_mode_offline_is_obeyed_and_no_warning(
    train: Train, serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(lambda path, query: (200, {}))
    monkeypatch.setenv("WANDB_MODE", "offline")
    found = train()
    recorded_offline(found)
    assert found.alert["level"] == "info"
    assert server.seen == []


def test_a_folder_that_can_not_be_written_ends_the_mirror_only(train: Train, mirrored: RunDir) -> None:
    mirrored.wandb.write_text("a file where the folder should be")
    found = train()
    assert found.exit_code == 0
    assert (found.alert["level"], found.mirror["mode"]) == ("warn", "failed")
    assert "FileExistsError" in found.alert["text"]


def test_files_that_may_not_grow_end_the_mirror_only(train: Train) -> None:
    """As a quota: every write beyond it fails, and the system ends W&B's own program for it."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))  # inherited; the run's own files stay below
    try:
        found = train()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert found.exit_code == 0
    assert [event["step"] for event in found.events if event["kind"] == "step"] == [1, 2, 3, 4]
    (folder,) = offline.folders(found.rundir.wandb)
    (file,) = folder.glob("run-*.wandb")
    assert file.stat().st_size <= 5000
    assert found.mirror["sent"] < 4  # what the file holds, not what W&B was given
    ((ending, _),) = mirrors.endings(found.rundir, 1)
    why = str(ending)  # of W&B's program, or of its log, which the mirror writes
    assert "is the disk full?" in why or "File too large" in why


def on_a_small_disk(folder: Path, command: str) -> list[str]:
    """A shell in which that folder is a disk of 64 KB: as root, or as root of a user namespace."""
    mount = f"mount -t tmpfs -o size=64k tmpfs {folder} && {command}"
    return ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]), "sh", "-c", mount]


def test_a_full_disk_below_wandbs_folder_ends_the_mirror_only(
    mirrored: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirrored.wandb.mkdir()
    if shutil.which("unshare") is None or subprocess.run(on_a_small_disk(mirrored.wandb, "true")).returncode:
        pytest.skip("this system lets nobody mount a disk; the test above has the same effect")
    mirrored.log_file(1).touch()
    monkeypatch.setenv("FAKE_WORKER", "finish")
    wandb = mirrored.wandb
    # The mirror ends after the worker; what it found on the disk is gone with the shell.
    command = (
        f"dd if=/dev/zero of={wandb}/filler bs=1k count=60; {sys.executable} -m tests.fake_worker {mirrored.path}; "
        f"code=$?; sleep 4; df {wandb}; exit $code"
    )
    done = subprocess.run(on_a_small_disk(wandb, command), capture_output=True, text=True, timeout=WAIT_S)
    assert done.returncode == 0, done.stderr
    assert "100%" in done.stdout
    kinds = [event["kind"] for event in log_lines(mirrored.events)]
    assert kinds.count("step") == 4
    assert kinds[-1] == "run_finished"


def test_settings_that_wandb_refuses_end_the_mirror_only(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "junk")
    found = train()
    assert found.exit_code == 0
    assert (found.alert["level"], found.mirror["mode"]) == ("warn", "failed")


def test_without_the_package_the_run_goes_on(train: Train, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wandb.py").write_text("raise ModuleNotFoundError('no', name='wandb')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = train()
    assert found.exit_code == 0
    assert found.alert["level"] == "warn"
    assert "the package wandb is not installed: make setup" in found.alert["text"]


def test_a_mirror_that_can_not_be_started_is_said(train: Train, mirrored: RunDir) -> None:
    mirrored.mirror_log(1).mkdir()
    found = train()
    assert found.exit_code == 0
    assert found.alert["level"] == "warn"
    assert "it could not be started" in found.alert["text"]


def test_a_mirror_that_is_killed_does_not_hurt_and_the_next_attempt_sends_what_it_left(
    mirrored: RunDir, start: Callable[..., launch.WorkerHandle]
) -> None:
    handle = start(mirrored, "obey")  # one step, then it waits
    wait(lambda: mirrors.at_work(mirrored, 1) and (read_json(mirrored.mirror) or {}).get("sent") == 0)
    os.kill((read_json(mirrored.mirror) or {})["pid"], signal.SIGKILL)
    launch.stop(mirrored, 20)
    found = told(mirrored, handle)
    assert found.exit_code == launch.EXIT_STOPPED
    assert found.mirror["sent"] == 0
    again = told(mirrored, start(mirrored, "finish"))
    assert again.exit_code == 0
    (folder,) = offline.folders(mirrored.wandb)  # wandb had not written anything of the first yet
    recorded = offline.read(folder)
    assert [row["_step"] for row in recorded.history] == [0, 1, 2, 3, 4]
    assert recorded.run.run_id == found.mirror["run_id"]


def test_a_killed_worker_leaves_a_failed_run(train: Train) -> None:
    found = train("die")
    assert found.exit_code == -signal.SIGKILL
    (folder,) = offline.folders(found.rundir.wandb)
    recorded = offline.read(folder)
    assert recorded.exit_code == 1
    assert recorded.summary["run/status"] == "lost"
    assert [row["_step"] for row in recorded.history] == [0, 1, 2, 3, 4]

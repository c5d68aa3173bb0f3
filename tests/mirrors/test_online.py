"""Against a server that answers as far as wandb's own program asks: the run arrives, and nothing waits for it."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from typing import Any

import pytest

from tests.mirrors import offline
from tests.mirrors.conftest import KEY, Server, Told, told, wait
from trainer import launch
from trainer.machine.json_files import read_json
from trainer.machine.process import Identity
from trainer.run.rundir import RunDir


def rows(server: Server) -> list[dict[str, Any]]:
    """The history as it was uploaded."""
    streams = [json.loads(seen.split(" ", 1)[1]) for seen in server.seen if "/file_stream " in seen]
    files = [stream["files"]["wandb-history.jsonl"] for stream in streams if "wandb-history.jsonl" in stream["files"]]
    return [json.loads(line) for file in files for line in file["content"]]


def test_an_online_run_uploads_every_step_under_its_run_id(train: Callable[..., Told], pretender: Server) -> None:
    found = train()
    assert (found.exit_code, found.mirror["mode"], found.mirror["ended"]) == (0, "online", True)
    assert found.alert["level"] == "info"
    assert found.alert["text"] == f"{pretender.url}/me/onegrpo/runs/{found.mirror['run_id']}"
    assert [row["_step"] for row in rows(pretender)] == [0, 1, 2, 3, 4]
    assert [row.get("train/reward") for row in rows(pretender)] == [None, 1.0, 2.0, 3.0, 4.0]
    assert not any(KEY in seen for seen in pretender.seen)


def test_a_resumed_run_goes_on_under_the_same_id_and_sends_no_step_twice(
    mirrored: RunDir, start: Callable[..., launch.WorkerHandle], pretender: Server
) -> None:
    first = start(mirrored, "obey")  # one step, then it waits
    wait(lambda: (read_json(mirrored.mirror) or {}).get("mode") == "online")
    launch.stop(mirrored, 20)
    begun = told(mirrored, first)
    assert (begun.exit_code, begun.mirror["sent"]) == (launch.EXIT_STOPPED, 1)
    again = told(mirrored, start(mirrored, "finish"))
    assert again.mirror["run_id"] == begun.mirror["run_id"]
    assert again.mirror["sent"] == 4
    assert [row["_step"] for row in rows(pretender)] == [0, 1, 2, 3, 4]
    names = {
        json.loads(seen.split(" ", 1)[1])["variables"].get("name") for seen in pretender.seen if "UpsertBucket" in seen
    }
    assert names == {begun.mirror["run_id"]}


@pytest.mark.slow
def test_a_server_that_goes_away_in_the_middle_leaves_all_steps_on_disk(
    mirrored: RunDir, start: Callable[..., launch.WorkerHandle], pretender: Server
) -> None:
    handle = start(mirrored, "obey")
    wait(lambda: (read_json(mirrored.mirror) or {}).get("mode") == "online")
    pretender.shutdown()
    pretender.server_close()
    launch.stop(mirrored, 20)
    wait(lambda: handle.poll() is not None)
    assert handle.poll() == launch.EXIT_STOPPED
    mirror = read_json(mirrored.mirror) or {}
    (folder,) = offline.folders(mirrored.wandb)
    wait(lambda: [row["_step"] for row in offline.read(folder).history] == [0, 1])
    Identity(mirror["pid"], mirror["pid_started"], mirror["boot_id"]).send(signal.SIGKILL)  # or for a minute

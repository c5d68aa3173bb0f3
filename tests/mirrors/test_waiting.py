"""The console, after the worker has ended: it waits for the mirror, not for ever, and says what went wrong."""

from __future__ import annotations

import io
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from trainer import launch
from trainer.console import headless
from trainer.machine.json_files import write_json
from trainer.machine.process import Identity
from trainer.run.rundir import RunDir

MakeRun = Callable[..., RunDir]
Start = Callable[..., launch.WorkerHandle]


@pytest.fixture
def uploading() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


def note(run: RunDir, process: subprocess.Popen[bytes], **more: str) -> None:
    identity = Identity.of(process.pid)
    assert identity is not None
    write_json(run.mirror, {"attempt": 1, **identity.stored(), **more})


def follow(run: RunDir, handle: launch.WorkerHandle, pressed: int = 0) -> tuple[str, float]:
    """(what was printed, seconds after the worker's end)."""
    out, interrupts = io.StringIO(), headless.Interrupts()
    while handle.poll() is None:
        time.sleep(0.05)
    interrupts.count = pressed
    began = time.monotonic()
    assert headless.follow(run, handle, out, interrupts) == launch.EXIT_FINISHED
    return out.getvalue(), time.monotonic() - began


def test_it_waits_for_a_mirror_that_is_uploading_and_says_so_once(
    make_run: MakeRun, start: Start, uploading: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(headless, "MIRROR_S", 3.0)
    run = make_run()
    note(run, uploading)
    printed, seconds = follow(run, start(run))
    assert printed.count("waiting for the copies or the webhook to take the rest") == 1
    assert 3.0 <= seconds < 6.0


def test_it_goes_on_as_soon_as_the_mirror_has_ended(
    make_run: MakeRun, start: Start, uploading: subprocess.Popen[bytes]
) -> None:
    run = make_run()
    note(run, uploading)
    uploading.kill()
    uploading.wait()
    printed, seconds = follow(run, start(run))
    assert "waiting" not in printed
    assert seconds < 2.0


def test_ctrl_c_skips_the_wait(make_run: MakeRun, start: Start, uploading: subprocess.Popen[bytes]) -> None:
    run = make_run()
    note(run, uploading)
    printed, seconds = follow(run, start(run), pressed=1)
    assert "waiting" not in printed
    assert seconds < 2.0


def test_what_went_wrong_at_the_end_is_said(make_run: MakeRun, start: Start) -> None:
    run = make_run()
    ended = subprocess.Popen(["true"])
    note(run, ended, ending="W&B has the steps up to 2 only (the disk is full)")
    ended.wait()
    printed, _ = follow(run, start(run))
    assert "warning: W&B has the steps up to 2 only (the disk is full)" in printed

"""What all buttons share: models that are only tried give their GPU back before a run starts."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from trainer.machine.json_files import write_json
from trainer.machine.process import Identity
from trainer.run.rundir import RunDir
from trainer.tryit import reading
from trainer.ui import actions

MakeRun = Callable[..., RunDir]


@pytest.fixture
def answerer() -> Iterator[subprocess.Popen[bytes]]:
    """Looks like a process that answers: it ends when it is asked to."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


def at_work(rundir: RunDir, process: subprocess.Popen[bytes], device: str) -> None:
    identity = Identity.of(process.pid)
    assert identity is not None
    rundir.tryit.mkdir()
    said = {"state": "ready", "step": 2, "device": device, "t": time.time()}
    write_json(rundir.tryit_worker, identity.stored() | said)


def test_a_model_that_is_only_tried_gives_its_gpu_back(make_run: MakeRun, answerer: subprocess.Popen[bytes]) -> None:
    rundir = make_run("tried")
    at_work(rundir, answerer, "cuda")
    assert reading.process(rundir).at_work
    actions.free_gpu()
    assert not reading.process(rundir).at_work
    assert answerer.wait(5) != 0


def test_one_that_is_tried_on_the_cpu_stays(make_run: MakeRun, answerer: subprocess.Popen[bytes]) -> None:
    rundir = make_run("tried")
    at_work(rundir, answerer, "cpu")
    actions.free_gpu()
    assert answerer.poll() is None and reading.process(rundir).at_work

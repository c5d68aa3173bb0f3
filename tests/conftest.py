"""Every test writes to its own folder and stays off the Hub; the report names the versions."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest

from tests import warm as warming
from tests.builders import FAKE_WORKER, began, step
from trainer import launch
from trainer.machine import spawn
from trainer.machine.json_files import write_json
from trainer.machine.process import Identity
from trainer.run.rundir import RunDir, outputs_dir
from trainer.spec import Component, Data, Model, Reward, RunSpec
from trainer.text import LANGUAGE_VARIABLE

# Before torch is imported. The tests run side by side and their models are tiny: with a thread a core in each of them
# most of the time goes into threads that wait for each other. A worker that is told `model.cpu_threads` has those.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# These first, and so on: a file that takes minutes must not be the last one to be started. `make test` tells xdist to
# keep the order; by itself it begins with the files of the most tests.
LONGEST = (
    "tests/e2e/test_contest.py",
    "tests/e2e/test_headless.py",
    "tests/unsloth_cpu/",
    "tests/vllm_cpu/",
    "tests/e2e/browser/test_accessible.py",
    "tests/e2e/test_korean_page.py",
    "tests/e2e/",
    "tests/tryit/",
    "tests/ui/tryit/",
    "tests/ui/test_probes.py",
    "tests/mirrors/",
    "tests/rewards/test_pool.py",
    "tests/grpo/",
    "tests/ui/",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(
        key=lambda item: next((n for n, room in enumerate(LONGEST) if item.nodeid.startswith(room)), len(LONGEST))
    )


def pytest_report_header() -> str:
    found = []
    for name in ("torch", "trl", "transformers", "peft", "unsloth", "gradio"):
        with contextlib.suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
    return "versions: " + ", ".join(found)


@pytest.fixture(autouse=True)
def own_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEGRPO_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.setenv("ONEGRPO_STATE", str(tmp_path / "state"))
    monkeypatch.setenv(LANGUAGE_VARIABLE, "en")  # also put back after a command that was given --lang
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)


@pytest.fixture
def spec() -> RunSpec:
    return RunSpec(
        title="A small one",
        model=Model(name="builtin/tiny-qwen3"),
        data=Data(path="rows.jsonl"),
        reward=Reward(components=[Component(function="exact_match")]),
    )


@pytest.fixture
def make_run(spec: RunSpec) -> Callable[..., RunDir]:
    """make_run("tiny-1", *events): a run directory, with these events in its log."""

    def make(name: str = "tiny-1", *events: dict[str, Any]) -> RunDir:
        plan: Any = {"optimizer_steps": 4}
        rundir = RunDir.create(outputs_dir(), name, spec, plan, {})
        if events:
            lines = [json.dumps({"t": 100.0 + n, "attempt": 1} | e) for n, e in enumerate(events)]
            rundir.events.write_text("".join(f"{line}\n" for line in lines))
        return rundir

    return make


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., launch.WorkerHandle]]:
    """start(rundir, "deaf"): a fake worker of that character; ended with the test."""
    started: list[launch.WorkerHandle] = []

    def begin(rundir: RunDir, character: str = "finish") -> launch.WorkerHandle:
        monkeypatch.setenv("FAKE_WORKER", character)
        handle = launch.start(rundir, FAKE_WORKER)
        started.append(handle)
        return handle

    yield begin
    for handle in started:
        if handle.poll() is None:
            handle.process.kill()
        handle.process.wait()


@pytest.fixture(scope="session")
def warm_process(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The socket of a process that holds torch and TRL (tests/warm.py); made when a test first asks for it."""
    return warming.shared(tmp_path_factory.getbasetemp(), "warm")


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """The same with Gradio: its import is most of what the start of a page costs. A file that wants none says None."""
    return warming.shared(tmp_path_factory.getbasetemp(), "pages", "gradio")


@pytest.fixture
def warm(warm_process: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers of this test are forked from a process that has imported the libraries."""
    monkeypatch.setenv(warming.SOCKET, str(warm_process))
    monkeypatch.setattr(spawn, "subprocess", warming.asking())


@pytest.fixture
def answerer() -> Iterator[subprocess.Popen[bytes]]:
    """Looks like a process that answers: it ends when it is asked to."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def busy(make_run: Callable[..., RunDir], answerer: subprocess.Popen[bytes]) -> RunDir:
    """A run of the same preset with somebody at work."""
    rundir = make_run("busy-1", began(), step(1))
    identity = Identity.of(answerer.pid)
    assert identity is not None
    write_json(rundir.identity, identity.stored() | {"t": time.time(), "attempt": 1})
    return rundir


@pytest.fixture
def halted(make_run: Callable[..., RunDir], monkeypatch: pytest.MonkeyPatch) -> RunDir:
    """One that can go on; its worker would be one of the tests."""
    begin = launch.start
    patched = lambda run, module, *others: begin(run, FAKE_WORKER, *others)  # noqa: E731
    monkeypatch.setattr("trainer.launch.attempts.start", patched)
    monkeypatch.setattr("trainer.machine.spawn.detached", _of(FAKE_WORKER))
    monkeypatch.setenv("FAKE_WORKER", "finish")
    spec, plan = launch.prepare("tiny", ["optim.max_steps=4"])
    run = launch.create("tiny", spec, plan)
    events = [began(), step(1, of=4), {"kind": "run_stopped", "step": 1}]
    lines = [json.dumps({"t": 100.0 + n, "attempt": 1} | event) for n, event in enumerate(events)]
    run.events.write_text("".join(f"{line}\n" for line in lines))
    return run


def _of(worker: str) -> Callable[..., Any]:
    """Starts processes as ever, but nobody who tends the queue."""
    spawned = spawn.detached
    return lambda arguments, *others, **more: spawned(arguments, *others, **more) if arguments[0] == worker else None


@pytest.fixture
def workers() -> Iterator[list[Any]]:
    """Whoever is started; none outlives the test."""
    started: list[Any] = []
    yield started
    for worker in started:
        if worker.poll() is None:
            os.killpg(worker.pid, signal.SIGKILL)
            worker.process.wait()

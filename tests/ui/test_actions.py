"""What all buttons share: models that are only tried give their GPU back before a run starts, and who resumes a run
beside another one is asked first."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from tests.builders import FAKE_WORKER, began, step
from trainer import launch
from trainer.machine import spawn
from trainer.machine.json_files import write_json
from trainer.machine.process import Identity
from trainer.run import queue_place
from trainer.run.rundir import RunDir, outputs_dir
from trainer.text import words
from trainer.tryit import reading
from trainer.ui import actions
from trainer.ui.known_runs import KnownRuns
from trainer.ui.live import actions as live_actions
from trainer.ui.live import buttons
from trainer.ui.live.buttons import Action
from trainer.ui.live.tab import LiveTab
from trainer.ui.runs import panel
from trainer.ui.runs.panel import Wish

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


@pytest.fixture
def busy(make_run: MakeRun, answerer: subprocess.Popen[bytes]) -> RunDir:
    """A run of the same preset with somebody at work."""
    rundir = make_run("busy-1", began(), step(1))
    identity = Identity.of(answerer.pid)
    assert identity is not None
    write_json(rundir.identity, identity.stored() | {"t": time.time(), "attempt": 1})
    return rundir


@pytest.fixture
def halted(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> RunDir:
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


def test_a_resume_beside_another_run_is_asked_about_and_then_waits_or_trains_beside(
    busy: RunDir, halted: RunDir
) -> None:
    asked = LiveTab.went_on(SimpleNamespace(_data={"deed": "resume", "run": "tiny-1", "how": ""}), "tiny-1", "en")
    assert "busy-1 is training now" in asked and 'data-deed="resume" data-run="tiny-1"' in asked
    assert halted.newest_attempt() == 0
    queued = LiveTab.went_on(SimpleNamespace(_data={"deed": "resume", "run": "tiny-1", "how": "queue"}), "", "en")
    assert "waits for its turn" in queued and launch.queue.waiting(outputs_dir()) == [halted]
    queue_place.leave(halted)
    gone_on = LiveTab.went_on(SimpleNamespace(_data={"deed": "resume", "run": "tiny-1", "how": "beside"}), "", "en")
    assert "attempt 2" in gone_on and launch.may_be_beside(halted)


def test_training_further_and_runs_ask_the_same_and_change_nothing_before(busy: RunDir, halted: RunDir) -> None:
    planned = halted.spec.read_text()
    wish = Wish("extended", "tiny-1", steps="3")
    with pytest.raises(actions.Beside) as found:
        panel.carry_out(wish, words("en"))
    shown = panel.beside(wish, found.value.names, words("en"))
    assert "busy-1" in shown and shown.count('data-steps="3"') == 2 and 'data-how="queue"' in shown
    assert 'data-deed="further" data-run="tiny-1"' in LiveTab.went("tiny-1", "en", "tiny-1")[0]
    assert halted.spec.read_text() == planned and halted.newest_attempt() == 0
    panel.carry_out(Wish("extended", "tiny-1", steps="3", how="queue"), words("en"))
    assert halted.read_spec().optim.max_steps == 7 and launch.queue.waiting(outputs_dir()) == [halted]


def test_a_run_that_waits_leaves_the_queue_on_live_and_can_only_then_be_started(busy: RunDir, halted: RunDir) -> None:
    launch.queue.add(halted)

    def can() -> dict[str, Action]:
        with KnownRuns().look(halted.name) as seen:
            return buttons.actions(seen, words("en"), time.time())

    assert not can()["resume"].on and (can()["stop"].on, can()["stop"].label) == (True, "live.unqueue")
    assert not can()["pause"].on and not can()["save"].on
    said = live_actions.stop(halted.name, words("en"))
    assert "does not wait any more" in said and launch.queue.waiting(outputs_dir()) == []
    assert can()["resume"].on and can()["stop"].label == "live.stop" and halted.newest_attempt() == 0
    with pytest.raises(actions.Beside):
        actions.resume(halted.name)


def test_without_another_run_a_resume_asks_nothing(halted: RunDir) -> None:
    handle = actions.resume("tiny-1")
    assert handle is not None and not launch.may_be_beside(halted)

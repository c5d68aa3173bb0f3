"""What all buttons share: models that are only tried give their GPU back before a run starts, and who resumes a run
beside another one is asked first."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from trainer import launch
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

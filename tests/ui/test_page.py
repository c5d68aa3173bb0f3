"""The page itself, served by `python app.py`, driven as a browser would, over plain HTTP."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.builders import FAKE_WORKER, began, write_run
from tests.ui.conftest import PROJECT, Server, end_server, look, start_server
from trainer import launch
from trainer.errors import RunError
from trainer.launch import attempts
from trainer.run.rundir import outputs_dir
from trainer.text import words
from trainer.ui import actions as shared
from trainer.ui import page as pages
from trainer.ui.live import actions as steering
from trainer.ui.train import actions
from trainer.ui.train.form import Form

HEAVY = ("torch", "transformers", "trl", "unsloth", "peft", "accelerate", "datasets")
EN = words("en")


def test_the_run_is_listed_and_told_as_inert_text(server: Server) -> None:
    table = told(server, "tiny-1", "en")["table"]
    assert "tiny-1" in table and "finished" in table and "40 / 40" in table
    assert "A &lt;b&gt;small&lt;/b&gt; one" in table
    shown = told(server, "", "en")
    assert "Finished: 40 steps" in shown["state"]
    assert shown["stop"]["visible"] is False and shown["further"]["interactive"] and "asks first" in shown["hints"]
    assert "<svg" in shown["board"] and "mean of 10 steps" in shown["board"]
    assert "step  40/40" in shown["lines"].replace("&nbsp;", " ")


def test_both_languages_tell_the_same_run(server: Server) -> None:
    say = words("ko")
    sentence = say("sentence.finished", step=40, time=say.duration(44))
    assert sentence in told(server, "tiny-1", "ko")["state"]


def test_a_run_made_elsewhere_appears_without_a_reload(server: Server) -> None:
    run = write_run(server.outputs, "headless-1", [began()])
    try:
        table = told(server, "tiny-1", "en")["table"]
        assert "headless-1" in table
    finally:
        run.path.rename(server.outputs.parent / "headless-1")


def test_the_language_is_the_browsers_unless_the_address_names_one(server: Server) -> None:
    assert server.call("open", Accept_Language="ko-KR,ko;q=0.9")[0] == "ko"
    assert server.call("open", Accept_Language="en-US")[0] == "en"
    assert server.call("open")[0] == "en"


def test_the_pages_process_never_imports_torch() -> None:
    script = (
        "import sys\n"
        "from trainer.ui import page, server\n"
        "from trainer.ui.train.tab import TrainTab\n"
        "server.set_environment('127.0.0.1')\n"
        "page.build()\n"
        "import json\n"
        "form = json.dumps({'base': {'preset': 'tiny'}})\n"
        "assert 'One optimizer step' in json.loads(TrainTab.checked('en', form))['plan']\n"
        "assert '</pre>' in json.loads(TrainTab.look('en', form))['html']\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


def test_no_event_is_repeated_for_ever() -> None:
    """Gradio repeats the whole event for each of its answers that must see the last value: two would never end."""
    waiting: dict[tuple[int, str], list[str]] = {}
    for answer in pages.build().get_config_file()["dependencies"]:
        for target in answer["targets"] if answer["backend_fn"] and answer["trigger_mode"] == "always_last" else ():
            waiting.setdefault(tuple(target), []).append(str(answer["api_name"]))
    assert waiting
    assert {event: names for event, names in waiting.items() if len(names) > 1} == {}


def test_start_stop_and_resume_drive_a_worker_that_is_not_the_pages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begin = launch.start
    for home in (launch, attempts):  # a resume calls the one beside it
        monkeypatch.setattr(home, "start", lambda run, *_, **__: begin(run, FAKE_WORKER))
    monkeypatch.setenv("FAKE_WORKER", "obey")
    run = actions.start(Form("preset", "tiny", changes=("optim.max_steps=4",)))
    assert (run.name, run.read_spec().optim.max_steps) == ("tiny-1", 4)
    with pytest.raises(RunError, match="has a worker already"):
        steering.resume("tiny-1", EN)
    wait_for(lambda: run.events.exists() and b'"step"' in run.events.read_bytes())
    steering.stop("tiny-1", EN)
    wait_for(lambda: launch.status_of(run) == "stopped" and all_reaped())
    monkeypatch.setenv("FAKE_WORKER", "finish")
    assert steering.resume("tiny-1", EN) == "tiny-1 goes on: attempt 2."
    wait_for(lambda: launch.status_of(run) == "finished" and all_reaped())


def test_ctrl_c_ends_the_page_with_0_and_leaves_runs_going(tmp_path: Path, start: Any) -> None:
    run = write_run(outputs_dir(), "tiny-1", [])
    run.events.unlink()
    worker = start(run, "obey")
    server = start_server(tmp_path)
    try:
        wait_for(lambda: "running" in told(server, "tiny-1", "en")["table"])
    finally:
        code = end_server(server)
    assert code == 0, (tmp_path / "server.log").read_text()
    assert "Traceback" not in (tmp_path / "server.log").read_text()
    assert worker.poll() is None


def all_reaped() -> bool:
    shared.reap()
    return not shared._children


def told(server: Server, run: str, language: str) -> dict[str, Any]:
    """What a browser on the tabs Live and Runs is told that was told nothing yet; names without their tab."""
    found: dict[str, Any] = {}
    for here in ("live", "runs"):
        found |= {name.rpartition(".")[2]: value for name, value in look(server, here, run, language).items()}
    return found


def wait_for(condition: Any) -> None:
    for _ in range(200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen within 10 s")

"""app.py and python -m trainer: flags, exit codes, and nothing written when the input is wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import app
from tests.builders import FAKE_WORKER
from trainer import launch
from trainer.__main__ import main as tool
from trainer.console.exit_code import exit_code
from trainer.errors import Problem, RunError, WorkError
from trainer.run.rundir import RunDir, list_runs, outputs_dir

MakeRun = Callable[..., RunDir]
Capture = pytest.CaptureFixture[str]
PROJECT = Path(__file__).resolve().parents[1]


def test_help_imports_nothing_but_the_parser() -> None:
    script = (
        "import sys, app\n"
        "try: app.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in sys.modules if m in ('torch', 'pydantic', 'gradio', 'trainer.text', 'trainer.spec')])"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, timeout=30)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "--headless" in done.stdout


@pytest.mark.parametrize(
    "flags",
    [
        ["--headless"],
        ["--dry-run"],
        ["--preset", "tiny"],
        ["--resume", "tiny-1"],
        ["--headless", "--resume", "tiny-1", "--set", "optim.max_steps=3"],
        ["--dry-run", "--resume", "tiny-1"],
        ["--headless", "--resume", "tiny-1", "--recipe", "dapo"],
        ["--recipe", "dapo"],
        ["--headless", "--preset", "tiny", "--checkpoint", "best"],
        ["--unknown"],
    ],
)
def test_flags_that_make_no_sense_together_are_refused(flags: list[str], capsys: Capture) -> None:
    with pytest.raises(SystemExit) as ended:
        app.main(flags)
    assert ended.value.code == launch.EXIT_INPUT
    assert "error:" in capsys.readouterr().err


def test_all_problems_of_a_preset_are_told_and_nothing_is_written(capsys: Capture) -> None:
    wrong = ["--set", "optim.learning_rate=5", "--set", "nowhere.key=1", "--set", "lora.r=0"]
    assert app.main(["--headless", "--preset", "tiny", *wrong]) == launch.EXIT_INPUT
    told = capsys.readouterr().err.splitlines()
    assert all(line.startswith("error: ") for line in told)
    for key in ("optim.learning_rate", "nowhere", "lora.r"):
        assert any(key in line for line in told)
    assert not outputs_dir().exists()


@pytest.mark.parametrize(
    "flags",
    [
        ["--headless", "--preset", "no-such-preset"],
        ["--headless", "--preset", "/no/such/file.toml"],
        ["--headless", "--preset", "tiny", "--recipe", "no-such-recipe"],
        ["--dry-run", "--preset", "gspo", "--recipe", "dapo"],
        ["--headless", "--preset", "tiny", "--set", "data.path=/no/such/file.jsonl"],
        ["--headless", "--preset", "tiny", "--name", "../up"],
        ["--headless", "--resume", "no-such-run"],
        ["--headless", "--resume", "../up"],
    ],
)
def test_bad_input_ends_with_2_and_leaves_no_run(flags: list[str], capsys: Capture) -> None:
    assert app.main(flags) == launch.EXIT_INPUT
    assert capsys.readouterr().err.startswith("error: ")
    assert list_runs(outputs_dir()) == []


def test_a_dry_run_prints_the_plan_and_writes_nothing(capsys: Capture) -> None:
    assert app.main(["--dry-run", "--preset", "tiny"]) == 0
    assert "tiny" in capsys.readouterr().out
    assert not outputs_dir().exists()


def test_a_dry_run_of_what_cannot_run_here_prints_the_plan_and_ends_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    free = shutil.disk_usage(".")._replace(free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    assert app.main(["--dry-run", "--preset", "tiny"]) == launch.EXIT_INPUT
    said = capsys.readouterr().out
    assert "tiny" in said
    assert "GiB" in said.splitlines()[-1] or "MiB" in said.splitlines()[-1]


def test_presets_are_listed(capsys: Capture) -> None:
    assert app.main(["--list-presets"]) == 0
    assert "tiny" in capsys.readouterr().out


def test_headless_makes_a_run_and_follows_it(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setenv("FAKE_WORKER", "finish")
    start = launch.start
    monkeypatch.setattr(launch, "start", lambda run, beside: start(run, FAKE_WORKER))
    assert app.main(["--headless", "--preset", "tiny"]) == 0
    assert app.main(["--headless", "--preset", "tiny", "--name", "mine"]) == 0
    assert '"status": "finished"' in capsys.readouterr().out.splitlines()[-1]
    assert {run.name for run in list_runs(outputs_dir())} == {"tiny-1", "mine"}
    assert app.main(["--headless", "--preset", "tiny", "--name", "mine"]) == launch.EXIT_INPUT
    assert app.main(["--headless", "--resume", "mine"]) == launch.EXIT_INPUT
    assert "finished" in capsys.readouterr().err


def test_an_error_of_ours_is_a_line_and_any_other_a_traceback(capsys: Capture) -> None:
    def raising(error: BaseException) -> Any:
        def call() -> int:
            raise error

        return call

    assert exit_code(raising(RunError([Problem.plain("a", "b", "c"), Problem.plain("d", "e")]))) == 2
    assert capsys.readouterr().err == "error: a: b  ->  c\nerror: d: e\n"
    assert exit_code(raising(WorkError(Problem.plain("a", "b")))) == 1
    assert exit_code(raising(KeyboardInterrupt())) == 130
    with pytest.raises(ZeroDivisionError):
        exit_code(raising(ZeroDivisionError()))


@pytest.mark.skipif(os.name == "nt", reason="there a closed pipe is another error")
@pytest.mark.parametrize("command", [["-m", "trainer", "runs"], ["app.py", "--help"]])
def test_a_reader_that_has_seen_enough_is_no_fault_of_the_command(make_run: MakeRun, command: list[str]) -> None:
    make_run("tiny-1")
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, *command], cwd=PROJECT, stdout=writing, stderr=subprocess.PIPE, timeout=60)
    os.close(writing)
    assert (done.returncode, done.stderr) == (launch.EXIT_FINISHED, b"")


@pytest.mark.parametrize("below", ["", "sub/folder"])
def test_outputs_that_are_a_file_are_said_to_be_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture, below: str
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ONEGRPO_OUTPUTS", str(tmp_path / "file" / below))
    for end in (
        lambda: tool(["runs"]),
        lambda: tool(["export", "tiny-1", "--to", "merged"]),
        lambda: app.main(["--headless", "--preset", "tiny"]),
        lambda: app.main(["--headless", "--resume", "tiny-1"]),
    ):
        assert end() == launch.EXIT_INPUT
        [line] = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ONEGRPO_OUTPUTS: ")
        assert str(tmp_path / "file") in line
        assert "a file" in line
        assert line.endswith("->  ONEGRPO_OUTPUTS=FOLDER")


def test_runs_are_listed_with_their_state(make_run: MakeRun, capsys: Capture) -> None:
    assert tool(["runs"]) == 0
    assert "no runs in" in capsys.readouterr().out
    steps = [
        {"kind": "step", "step": n, "of": 4, "seconds": 1.0, "metrics": {"train/reward": float(n)}} for n in (1, 2)
    ]
    make_run("tiny-1", *steps, {"kind": "run_stopped", "step": 2})
    make_run("tiny-2")
    assert tool(["runs"]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "stopped" in rows["tiny-1"]
    assert "2/4" in rows["tiny-1"]
    assert "1.00 -> 2.00" in rows["tiny-1"]
    assert "starting" in rows["tiny-2"]


def test_stopping_what_does_not_run_says_so(make_run: MakeRun, capsys: Capture) -> None:
    make_run("tiny-1", {"kind": "run_finished", "step": 4})
    for flags in (["stop", "tiny-1"], ["stop", "tiny-1", "--force"]):
        assert tool(flags) == launch.EXIT_INPUT
        assert "it is finished" in capsys.readouterr().err


@pytest.mark.parametrize("force", [False, True])
def test_a_run_is_stopped_by_name(make_run: MakeRun, start: Any, force: bool) -> None:
    run = make_run()
    handle = start(run, "obey")
    while not run.events.exists():
        assert handle.poll() is None
    assert tool(["stop", "tiny-1", *(["--force"] if force else [])]) == 0
    handle.process.wait(20)
    assert launch.status_of(run) in (("lost", "stopped") if force else ("stopped",))


def test_the_doctor_is_asked(capsys: Capture) -> None:
    assert tool(["doctor"]) in (0, 1)
    assert "missing" in capsys.readouterr().out

"""The console speaks the reader's language; its last line of JSON is the same in every language."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import app
from tests.records import event_of
from trainer import launch
from trainer.__main__ import main as tool
from trainer.console import headless, lines
from trainer.errors import Problem
from trainer.run.rundir import RunDir, outputs_dir
from trainer.text import LANGUAGE_VARIABLE, Message, words

MakeRun = Callable[..., RunDir]
Start = Callable[..., launch.WorkerHandle]
Capture = pytest.CaptureFixture[str]
PROJECT = Path(__file__).resolve().parents[2]
EN, KO = words("en"), words("ko")
HANGUL = re.compile("[\uac00-\ud7a3]")
SENTENCE = re.compile(r"\b[a-z]{2,} [a-z]{2,}\b")  # two words beside each other; names, keys and units stand alone


def told(run: RunDir, handle: launch.WorkerHandle, capsys: Capture) -> tuple[list[str], dict[str, Any]]:
    """(lines for a person on both streams, the JSON line)."""
    out = io.StringIO()
    headless.follow(run, handle, out)
    *shown, last = out.getvalue().splitlines()
    return [*shown, *capsys.readouterr().err.splitlines()], json.loads(last)


def foreign(run: RunDir, shown: list[str]) -> Iterator[str]:
    """Lines with English in them, without names and what the fake worker and its log say."""
    for line in shown:
        rest = line.replace(str(run.path), "").replace("A small one", "")
        rest = rest.replace(f"python app.py --headless --resume {run.name}", "")
        if SENTENCE.search(rest) and "fake worker" not in rest and "division by zero" not in rest:
            yield line


@pytest.mark.parametrize("character", ["finish", "fail", "refuse", "leave", "die"])
def test_the_same_run_in_two_languages(
    make_run: MakeRun, start: Start, monkeypatch: pytest.MonkeyPatch, capsys: Capture, character: str
) -> None:
    found = {}
    for language in ("en", "ko"):
        monkeypatch.setenv(LANGUAGE_VARIABLE, language)
        run = make_run(f"tiny-{language}")
        shown, summary = told(run, start(run, character), capsys)
        found[language] = summary | {"run": "", "path": "", "wall_seconds": 0}
        if language == "ko":
            assert list(foreign(run, shown)) == []
            assert sum(bool(HANGUL.search(line)) for line in shown) > 8
        else:
            assert not any(HANGUL.search(line) for line in shown)
    assert found["en"] == found["ko"]


@pytest.mark.parametrize(
    "event",
    [
        {"kind": "run_started", "attempt": 2},
        {
            "kind": "run_started",
            "attempt": 2,
            "resumed_from": "checkpoint-4",
            "resumed_from_step": 4,
            "extended_from": 8,
            "skipped": [
                {
                    "checkpoint": "checkpoint-6",
                    "reason": Message("run.checkpoint.missing", file="optimizer.pt").stored(),
                }
            ],
        },
        {"kind": "phase", "name": "warm_start", "state": "end", "seconds": 3.0},
        {
            "kind": "plan",
            "plan": {"max_prompt_tokens": 64},
            "data": {"rows": 8, "eval_rows": 2, "dropped": 1, "cut": 1, "eval_dropped": 1, "eval_cut": 1},
            "engine": "transformers",
            "why": Message("engine.why", reason=Message("engine.as_preset"), dtype="float32", device="cpu").stored(),
            "trainer_class": "CustomGRPOTrainer",
            "trainer_bases": ["trl.GRPOTrainer"],
        },
        {
            "kind": "eval",
            "at": "during",
            "step": 4,
            "reward": 0.5,
            "correct_frac": 0.25,
            "rows": 8,
            "seconds": 2.0,
            "failed": 1,
            "components": {"exact_match": 0.25},
            "sampled": {
                "pass_at": {"1": 0.5},
                "maj_at": {"4": 0.5},
                "all_right_frac": 0.1,
                "all_wrong_frac": 0.2,
                "group": 8,
                "samples": 16,
                "failed": 2,
            },
        },
        {"kind": "checkpoint", "step": 4, "name": "checkpoint-4", "bytes": 2**20, "seconds": 1.0, "verified": True},
        {"kind": "run_paused", "step": 4, "checkpoint": "checkpoint-4", "reason": "request"},
        {"kind": "run_stopped", "step": 4, "checkpoint": None, "reason": "SIGTERM"},
        {"kind": "run_finished", "step": 4, "seconds": 60.0, "tokens": 1000, "peak_memory_gib": 0.5},
    ],
    ids=lambda event: event["kind"],
)
def test_every_event_is_said_in_both_languages(event: dict[str, Any]) -> None:
    record = event_of(event)
    assert SENTENCE.search(lines.event_line(record, EN)) or record.kind in ("plan", "checkpoint")
    assert HANGUL.search(lines.event_line(record, KO))
    assert not SENTENCE.search(lines.event_line(record, KO)), lines.event_line(record, KO)


def test_what_a_run_of_an_older_version_said_is_shown_as_it_was() -> None:
    event = {"kind": "run_started", "attempt": 2, "skipped": [{"checkpoint": "checkpoint-6", "reason": "is damaged"}]}
    assert "is damaged" in lines.event_line(event_of(event), KO)


@pytest.mark.parametrize("flags", [["--lang", "ko", "runs"], ["runs", "--lang", "ko"]])
def test_lang_stands_before_a_command_or_after_it(make_run: MakeRun, flags: list[str], capsys: Capture) -> None:
    make_run("tiny-1", {"kind": "run_finished", "step": 4})
    assert tool(flags) == 0
    shown = capsys.readouterr().out
    assert KO("status.finished") in shown and KO("console.runs.column_state") in shown
    assert os.environ[LANGUAGE_VARIABLE] == "ko"  # what is started from here speaks it as well


def test_a_table_is_aligned_where_a_letter_is_two_columns_wide(make_run: MakeRun, capsys: Capture) -> None:
    for name in ("tiny-1", "tiny-2-with-a-name"):
        make_run(name, {"kind": "run_finished", "step": 4})
    assert tool(["--lang", "ko", "runs"]) == 0
    _, *rows = capsys.readouterr().out.splitlines()
    assert len({row.index(KO("status.finished")) for row in rows}) == 1


def test_a_language_that_is_not_there_is_an_input_error(capsys: Capture) -> None:
    for call in (
        lambda: tool(["runs", "--lang", "xx"]),
        lambda: app.main(["--list-presets", "--lang", "xx"]),
    ):
        assert call() == launch.EXIT_INPUT
        assert capsys.readouterr().err == "error: --lang: 'xx' is not one of the languages  ->  en or ko\n"


def test_app_speaks_the_language_that_is_asked_for(capsys: Capture) -> None:
    assert app.main(["--headless", "--resume", "no-such-run", "--lang", "ko"]) == launch.EXIT_INPUT
    problem = Problem("run.no_such_yet", name="no-such-run", outputs=str(outputs_dir()))
    assert capsys.readouterr().err == KO("console.error", said=str(problem.said(KO))) + "\n"
    with pytest.raises(SystemExit):
        app.main(["--headless", "--lang", "ko"])
    assert KO("console.flags.which") in capsys.readouterr().err


def test_without_lang_it_is_the_terminals() -> None:
    environment = {name: value for name, value in os.environ.items() if name != LANGUAGE_VARIABLE}
    done = subprocess.run(
        [sys.executable, "-m", "trainer", "stop", "no-such-run"],
        cwd=PROJECT,
        env=environment | {"LC_ALL": "ko_KR.UTF-8", "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == launch.EXIT_INPUT
    assert done.stderr.startswith(KO("console.error", said=""))

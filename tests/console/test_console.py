"""What headless prints and returns: lines for people, one JSON object for programs, exit codes."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.builders import FAKE_WORKER
from tests.records import event_of
from trainer import launch
from trainer.console import headless, lines
from trainer.plan.duration import Duration
from trainer.run.rundir import RunDir
from trainer.run.state import RunState, fold, state_of
from trainer.text import Message, forms, layout, words

MakeRun = Callable[..., RunDir]
Start = Callable[..., launch.WorkerHandle]
EN, KO = words("en"), words("ko")
PROJECT = Path(__file__).resolve().parents[2]
FOLLOW = f"""
import sys
from pathlib import Path
from trainer import launch
from trainer.console import headless
from trainer.run.rundir import RunDir
run = RunDir(Path(sys.argv[1]))
with headless.Interrupts() as interrupts:
    handle = launch.start(run, {FAKE_WORKER!r})
    sys.exit(headless.follow(run, handle, interrupts=interrupts))
"""


def follow_in_process(run: RunDir, character: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", FOLLOW, str(run.path)],
        cwd=PROJECT,
        env=os.environ | {"FAKE_WORKER": character},
        text=True,
        **({"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options),
    )


def until_step(run: RunDir) -> None:
    deadline = time.monotonic() + 20
    while not state_of(run).steps:
        assert time.monotonic() < deadline, "no step in time"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("character", "code", "status"),
    [
        ("finish", 0, "finished"),
        ("fail", 1, "failed"),
        ("refuse", 2, "failed"),
        ("leave", 1, "lost"),
        ("die", 1, "lost"),
    ],
)
def test_the_last_line_is_json_and_the_exit_code_fits(
    make_run: MakeRun, start: Start, character: str, code: int, status: str
) -> None:
    run, out = make_run(), io.StringIO()
    assert headless.follow(run, start(run, character), out) == code
    found = json.loads(out.getvalue().splitlines()[-1])
    assert (found["run"], found["status"], found["steps"]) == ("tiny-1", status, 4)


def test_a_finished_run_is_told_from_start_to_end(make_run: MakeRun, start: Start) -> None:
    run, out = make_run(), io.StringIO()
    headless.follow(run, start(run, "finish"), out)
    text = out.getvalue().splitlines()
    assert text[0] == "run    tiny-1: A small one"
    assert text[1].startswith("model  builtin/tiny-qwen3")
    assert text[5] == f"files  {run.path}"
    body = text[text.index("load 0.10 s") + 1 :]
    assert body[0].startswith("eval before GRPO (step 0)  reward 0.500  correct 10 % of 8 rows  0.10 s")
    assert [line[:10] for line in text if line.startswith("step")] == [f"step {n:>3}/4" for n in range(1, 5)]
    assert text[-2].startswith("finished 4 steps in 1.0 s, 400 tokens, peak memory 0.500 GiB")


def test_a_failure_says_why_where_the_log_is_and_how_to_go_on(
    make_run: MakeRun, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run()
    headless.follow(run, start(run, "fail"))
    shown = capsys.readouterr()
    assert shown.err.splitlines() == [
        "error: reward.py:3: division by zero  ->  look at row 7",
        f"log: {run.log_file(1)}",
        "go on: python app.py --headless --resume tiny-1",
    ]
    assert json.loads(shown.out.splitlines()[-1])["status"] == "failed"


def test_bad_input_is_not_offered_to_be_resumed(
    make_run: MakeRun, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run()
    headless.follow(run, start(run, "refuse"))
    assert "--resume" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("character", "words"),
    [("die", ["SIGKILL", "out of memory"]), ("leave", ["without saying why", "exit status 3"])],
)
def test_a_silent_death_is_told_with_the_end_of_the_log(
    make_run: MakeRun,
    start: Start,
    capsys: pytest.CaptureFixture[str],
    character: str,
    words: list[str],
) -> None:
    run = make_run()
    headless.follow(run, start(run, character))
    shown = capsys.readouterr().err
    for word in [*words, f"  fake worker, {character}", "--resume tiny-1"]:
        assert word in shown


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_saves_and_stops(make_run: MakeRun, number: int) -> None:
    run = make_run()
    process = follow_in_process(run, "obey")
    until_step(run)
    process.send_signal(number)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == launch.EXIT_STOPPED
    assert json.loads(out.splitlines()[-1])["status"] == "stopped"
    assert "asked the worker to save and stop" in out
    assert "stopped (SIGTERM) at step 1, saved as checkpoint-1" in out


def test_a_second_signal_ends_the_worker_at_once(make_run: MakeRun) -> None:
    run = make_run()
    process = follow_in_process(run, "deaf")
    assert process.stdout is not None
    until_step(run)
    process.send_signal(signal.SIGINT)
    for line in process.stdout:
        if line.startswith("Ctrl-C again"):
            break
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == launch.EXIT_STOPPED
    assert json.loads(out.splitlines()[-1])["status"] == "stopped"
    assert not launch.kill(run)


def test_a_killed_parent_leaves_the_worker_alone(make_run: MakeRun) -> None:
    run = make_run()
    process = follow_in_process(run, "obey")
    until_step(run)
    process.kill()
    process.communicate(timeout=30)
    assert launch.status_of(run) == "running"
    assert launch.stop(run, grace_s=20) == "stopped"


def test_a_reader_that_leaves_does_not_end_the_watch(make_run: MakeRun) -> None:
    run = make_run()
    process = follow_in_process(run, "obey")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    until_step(run)
    time.sleep(3 * headless.POLL_S)  # it writes into the closed pipe now
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    errors = process.stderr.read()
    process.stderr.close()
    assert process.wait(30) == launch.EXIT_STOPPED
    assert "Traceback" not in errors


def test_on_a_terminal_a_bar_is_redrawn_below_the_lines(make_run: MakeRun) -> None:
    run = make_run()
    ours, theirs = pty.openpty()
    process = follow_in_process(run, "obey", stdout=theirs)
    os.close(theirs)
    until_step(run)
    time.sleep(4 * headless.POLL_S)
    process.send_signal(signal.SIGINT)
    shown = b""
    while True:
        try:
            shown += os.read(ours, 4096)
        except OSError:  # the other end was closed
            break
    os.close(ours)
    process.communicate(timeout=30)
    text = shown.decode()
    assert "] 1/4 steps  ETA" in text.replace("\x1b[K", "")
    last = text.rstrip("\r\n").splitlines()[-1].rpartition("\x1b[K")[2]
    assert json.loads(last)["status"] == "stopped"


def test_a_pipe_gets_no_control_characters(make_run: MakeRun, start: Start) -> None:
    run, out = make_run(), io.StringIO()
    headless.follow(run, start(run, "finish"), out)
    assert "\r" not in out.getvalue()
    assert "\x1b" not in out.getvalue()


def test_a_second_attempt_does_not_repeat_the_first(make_run: MakeRun, start: Start) -> None:
    run = make_run()
    handle = start(run, "obey")
    until_step(run)
    launch.stop(run, grace_s=20)
    handle.process.wait(20)
    out = io.StringIO()
    headless.follow(run, start(run, "finish"), out)
    text = out.getvalue()
    assert "resumed from checkpoint-1, 1 steps are done" in text
    assert "step   1/4" not in text
    assert "step   2/4" in text


# -- words ---------------------------------------------------------------------------------------


def one_step(**metrics: float) -> RunState:
    state = RunState()
    step = {"kind": "step", "step": 41, "of": 200, "seconds": 2.0}
    groups = {"dead_frac": 0.25, "all_right_frac": 0.2, "all_wrong_frac": 0.05, "group_std": 0.3}
    values = {f"train/{name}": value for name, value in metrics.items()}
    fold(state, event_of({**step, "metrics": values, "groups": groups, "tokens": 2000}))
    fold(state, event_of({"kind": "heartbeat", "peak_gib": 10.25}))
    return state


@pytest.mark.parametrize("poll_s", [0.02, 1.0])
def test_an_attempt_that_starts_the_next_is_followed_into_it(
    make_run: MakeRun, start: Start, monkeypatch: pytest.MonkeyPatch, poll_s: float
) -> None:
    """With a slow look, the first worker has ended and the second has begun before either is seen."""
    monkeypatch.setattr(headless, "POLL_S", poll_s)
    run, out = make_run(), io.StringIO()
    assert headless.follow(run, start(run, "restart"), out) == launch.EXIT_FINISHED
    assert json.loads(out.getvalue().splitlines()[-1])["attempts"] == 2


def test_a_step_has_its_numbers_in_fixed_order_with_units() -> None:
    text = lines.step_line(one_step(reward=1.5, loss=0.0123, kl=0.001, grad_norm=2.0), 0, 0.1, EN)
    assert " ".join(text.split()) == (
        "step 41/200 reward 1.50 spread 0.300 dead 25 % ( 20 % right, 5 % wrong) "
        "loss 0.0123 kl 0.00100 grad 2.00 n/a tok 1,000 tok/s 2.00 s 10.2 GiB ETA 5 min"
    )


def test_without_a_reference_the_kl_is_not_available() -> None:
    assert "kl     n/a" in lines.step_line(one_step(kl=0.0), 0, 0.0, EN)


@pytest.mark.parametrize(
    ("method", "told"),
    [
        ("sft", "loss 0.5000 accuracy 94 % grad 2.00 rate 0.0003 1,000 tok/s"),
        ("dpo", "loss 0.5000 accuracy 80 % margin 1.10 grad 2.00 rate 0.0003 1,000 tok/s"),
        ("reward_model", "loss 0.5000 accuracy 75 % margin 2.10 grad 2.00 rate 0.0003 1,000 tok/s"),
    ],
)
def test_a_step_on_examples_says_what_it_has(method: Any, told: str) -> None:
    names = {"loss": 0.5, "mean_token_accuracy": 0.94, "rewards/accuracies": 0.8, "rewards/margins": 1.1}
    names |= {"accuracy": 0.75, "margin": 2.1}
    state = one_step(**names, grad_norm=2.0, learning_rate=3e-4)
    assert " ".join(lines.step_line(state, 0, 0.0, EN, method).split()) == (
        f"step 41/200 {told} 2.00 s 10.2 GiB ETA 5 min"
    )
    assert "dead" not in lines.step_line(state, 0, 0.0, KO, method)


def test_a_step_of_a_pointwise_judge_and_what_it_orders() -> None:
    state = one_step(loss=0.5, mean_reward=0.25, absolute_error=0.125, grad_norm=2.0, learning_rate=3e-4)
    told = " ".join(lines.step_line(state, 0, 0.0, EN, "reward_model").split())
    assert told.startswith("step 41/200 loss 0.5000 score 0.250 error 0.125 grad 2.00")
    event = {
        "kind": "eval",
        "at": "during",
        "step": 5,
        "correct_frac": 0.75,
        "pairs": 40,
        "correlation": 0.5,
        "rows": 8,
    }
    told = " ".join(lines.event_line(event_of(event), EN, "reward_model").split())
    assert told.startswith("eval during (step 5) ordered 75 % of 40 pairs correlation 0.500 8 rows")
    assert "75 %" in lines.event_line(event_of(event), KO, "reward_model")


@pytest.mark.parametrize("method", ["grpo", "online_rft", "sft", "rft", "dpo", "reward_model"])
def test_the_header_and_the_first_evaluation_name_the_method(make_run: MakeRun, method: Any) -> None:
    run = make_run()
    spec = json.loads(run.spec.read_text())
    run.spec.write_text(json.dumps(spec | {"run": {"method": method}}))
    for say in (EN, KO):
        shown = list(lines.header(run, {"rows": 4, "written_first": 32}, say))
        assert say(f"method.long.{method}") in "\n".join(shown)
        learns = "pairwise" if method == "reward_model" else method
        assert say(f"console.head.legend_{learns}_1") in shown
    told = lines.event_line(event_of({"kind": "eval", "at": "before", "step": 0}), EN, method)
    assert told.startswith(f"eval before {EN(f'method.{method}')} (step 0)")


@pytest.mark.parametrize("width", [1, 10, 30, 60, 200])
def test_the_bar_fits_the_terminal(width: int) -> None:
    assert len(lines.bar(one_step(), width, EN, 0.0)) <= width
    assert layout.width(lines.bar(one_step(), width, words("ko"), 0.0)) <= width


def test_the_bar_says_when_it_is_done() -> None:
    now = time.mktime((2026, 11, 29, 23, 0, 0, 0, 0, -1))
    assert lines.bar(one_step(), 200, EN, now).endswith("41/200 steps  ETA 5 min (23:05)")


def test_before_the_start_the_expected_time_is_said() -> None:
    now = time.mktime((2026, 11, 29, 23, 59, 0, 0, 0, -1))
    found = Duration(0.5, 100, 10.0, "run", Message("plan.duration.of_run", run="tiny-1"))
    said = "expected: 0.50 s a step, 1 min in all, done about 2026-11-30 00:00 (measured: run tiny-1 on this machine)"
    assert lines.lasts(found, EN, now) == said
    assert lines.lasts(Duration(0.5, None, 10.0, "run", Message("plan.duration.from_cpu")), EN, now) == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "n/a"),
        (0, "0"),
        (12345, "12,345"),
        (1234.5, "1,234"),
        (12.345, "12.3"),
        (999.7, "1,000"),
        (128.0, "128"),
        (1.0, "1.00"),
        (-0.01234, "-0.0123"),
        (0.00001, "0.0000"),
    ],
)
def test_numbers_are_short(value: float | None, text: str) -> None:
    assert forms.number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "n/a"), (1.25, "1.2 s"), (59.99, "60 s"), (120, "2 min"), (3660, "1 h 01 min")],
)
def test_durations_are_short(seconds: float | None, text: str) -> None:
    assert forms.duration(seconds) == text


def test_what_a_model_wrote_can_not_move_the_cursor() -> None:
    assert forms.printable("a\x1b[2Jb\nc") == "a [2Jb c"

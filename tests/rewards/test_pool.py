"""trainer.rewards.pool: real processes, real hangs, real exits."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from trainer.errors import RewardError
from trainer.machine.process import Identity
from trainer.rewards.building import Recipe
from trainer.rewards.calls import Call
from trainer.rewards.contract import Failure
from trainer.rewards.pipes import PRINTED
from trainer.rewards.pool import Pool

OWN = """
import os, random, re, sys, time

def length(completions, **columns):
    return [len(text) for text in completions]

def loops(completions, **columns):
    for text in completions:
        while text == "bad":
            pass
    return [1.0] * len(completions)

def backtracks(completions, **columns):
    texts = ["a" * 60 + "b" if text == "bad" else "aa" for text in completions]
    return [float(re.fullmatch("(a|aa)+", text) is not None) for text in texts]

def leaves(completions, **columns):
    if "bad" in completions:
        sys.exit(3)
    return [1.0] * len(completions)

def dies(completions, **columns):
    if "bad" in completions:
        os._exit(4)
    return [1.0] * len(completions)

def raises(completions, **columns):
    return [1.0 / (text != "bad") for text in completions]

def infinite(completions, **columns):
    return [float("inf") if text == "bad" else 1.0 for text in completions]

def sleeps(completions, **columns):
    time.sleep(1.0)
    return [1.0] * len(completions)

def counts(completions, seen=[], **columns):
    seen.append(1)
    return [len(seen)] * len(completions)

def short(completions, **columns):
    return [1.0]

def environment(completions, **columns):
    return [float("canary" in repr(os.environ) or "kept" not in os.environ["X_PATH"])] * len(completions)

def prints(completions, **columns):
    print("noise" * 1000 * len(completions), flush=True)
    os.write(1, b"noise")
    return [float(sys.stdin.read() == "")] * len(completions)

async def waits(completions, answer):
    return [float(text == gold) for text, gold in zip(completions, answer)]

def escapes(completions, **columns):
    for text in completions:
        if text == "bad":
            if os.fork() == 0:
                os.setsid()
                time.sleep(20)
                os._exit(0)
            time.sleep(300)
    return [1.0] * len(completions)

def ranks(completions, **columns):
    if "bad" in completions:
        raise ValueError("bad")
    return [float(rank) for rank in range(len(completions))]

def talks(completions, log_extra, **columns):
    log_extra("pairs", [{(1, 2): text} for text in completions])
    return [1.0] * len(completions)

def forks(completions, **columns):
    for text in completions:
        if text == "bad":
            os.system("sleep 300")
    return [1.0] * len(completions)
"""
TEXTS = ["good"] * 5 + ["bad"] + ["good"] * 4
BAD = 5


@pytest.fixture
def own_file(tmp_path: Path) -> Path:
    path = tmp_path / "own_rewards.py"
    path.write_text(OWN)
    return path


@pytest.fixture
def make(own_file: Path) -> Iterator[Callable[..., Pool]]:
    """make("loops", deadline_s=2): a pool that knows these functions; closed with the test."""
    made: list[Pool] = []

    def begin(*names: str, deadline_s: float = 20.0, size: int = 2) -> Pool:
        made.append(Pool([Recipe(name, name, str(own_file)) for name in names], deadline_s, size))
        return made[-1]

    yield begin
    for pool in made:
        pool.close()


def call(name: str, texts: list[str] = TEXTS, **columns: Any) -> Call:
    return Call(name, len(texts), {"completions": texts, **columns})


def ask(pool: Pool, name: str, texts: list[str] = TEXTS, **columns: Any) -> list[Any]:
    return pool.run([call(name, texts, **columns)])[name].values


def test_values_come_back_in_order_with_their_seconds(make: Callable[..., Pool]) -> None:
    answer = make("length").run([call("length", ["a", "bb", "ccc"])])["length"]
    assert answer.values == [1.0, 2.0, 3.0]
    assert 0 < answer.seconds < 1


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("loops", "hung: it gave no answer and was ended"),
        ("backtracks", "hung: it gave no answer and was ended"),
        ("escapes", "hung: it gave no answer and was ended"),
        ("forks", "hung: it gave no answer and was ended"),
        ("leaves", "called sys.exit(3)"),
        ("dies", "ended its process (exit code 4)"),
        ("raises", "raised ZeroDivisionError: float division by zero"),
        ("infinite", "returned inf"),
    ],
)
def test_only_the_bad_row_is_lost_and_in_time(make: Callable[..., Pool], name: str, reason: str) -> None:
    pool = make(name, deadline_s=5.0)
    started = time.monotonic()
    values = ask(pool, name)
    assert time.monotonic() - started < 5.0 + 2.0
    assert isinstance(values[BAD], Failure)
    assert values[BAD].reason.startswith(reason)
    others = values[:BAD] + values[BAD + 1 :]
    assert others == [others[0]] * 9
    assert others[0] in (0.0, 1.0)
    assert ask(pool, name, ["good"] * 3) == [others[0]] * 3  # and the pool works on


def test_rows_that_are_judged_by_each_other_are_asked_together_again(make: Callable[..., Pool]) -> None:
    values = ask(make("ranks"), "ranks", ["a", "b", "bad", "c"])
    assert isinstance(values.pop(2), Failure)
    assert values == [0.0, 1.0, 2.0]


TOGETHER = """
import asyncio

def crowd(completions, **columns):
    if len(completions) > 3:
        raise ValueError("too many")
    return [1.0] * len(completions)

ONE_AT_A_TIME = asyncio.Semaphore(1)

async def limited(completions, **columns):
    async def one(text):
        async with ONE_AT_A_TIME:
            await asyncio.sleep(0.001)
            return 1.0
    return await asyncio.gather(*[one(text) for text in completions])
"""


def test_what_a_batch_needs_and_a_row_alone_does_not(make: Callable[..., Pool], own_file: Path) -> None:
    own_file.write_text(TOGETHER)
    pool = make("crowd", "limited", size=1)
    reasons = {value.reason for value in ask(pool, "crowd", ["a", "b", "c", "d"])}
    assert len(reasons) == 1  # values found alone are wrong where a function compares rows: none is paid
    assert re.match(r"raised ValueError: too many .*, asked about several completions at once", reasons.pop())
    assert ask(pool, "crowd", ["a", "b"]) == [1.0, 1.0]
    assert [ask(pool, "limited") for _ in range(3)] == [[1.0] * 10] * 3  # one event loop for all batches


def test_what_a_function_says_need_not_fit_json(make: Callable[..., Pool]) -> None:
    answer = make("talks").run([call("talks", ["a"])])["talks"]
    assert answer.values == [1.0]
    assert answer.said == [("log_extra", "pairs", "[{(1, 2): 'a'}]")]


def test_a_column_that_can_not_be_sent_is_named(make: Callable[..., Pool]) -> None:
    with pytest.raises(RewardError, match="reward length: cannot be given the column lock: cannot pickle"):
        ask(make("length"), "length", ["a"], lock=[threading.Lock()], fine=[1])


def test_a_process_that_is_replaced_runs_the_file_as_it_was(make: Callable[..., Pool], own_file: Path) -> None:
    pool = make("dies", "length", size=1)
    own_file.write_text("broken = (\n")
    ask(pool, "dies")
    assert ask(pool, "length", ["abc"]) == [3.0]


def test_rows_without_an_answer_at_the_deadline_fail_and_the_batch_ends(make: Callable[..., Pool]) -> None:
    pool = make("loops", deadline_s=4.0)
    started = time.monotonic()
    values = ask(pool, "loops", ["bad"] * 64)
    assert time.monotonic() - started < 6.0
    assert all(isinstance(value, Failure) for value in values)
    assert {value.tried for value in values} == {True, False}  # those nobody has looked at are told apart


def test_a_component_that_hangs_does_not_keep_the_others_from_their_answers(make: Callable[..., Pool]) -> None:
    pool = make("loops", "length", "leaves", deadline_s=5.0, size=1)
    answers = pool.run([call(name) for name in ("loops", "length", "leaves")])
    assert answers["length"].values == [float(len(text)) for text in TEXTS]
    assert [type(answers[name].values[BAD]) for name in ("loops", "leaves")] == [Failure, Failure]


def test_two_functions_run_at_the_same_time(own_file: Path) -> None:
    pool = Pool([Recipe(name, "sleeps", str(own_file)) for name in ("one", "two")], 20.0, 2)
    try:
        started = time.monotonic()
        answers = pool.run([call("one"), call("two")])
        elapsed = time.monotonic() - started
    finally:
        pool.close()
    assert elapsed < sum(answer.seconds for answer in answers.values())


def test_a_function_that_keeps_a_state_always_meets_the_same_process(make: Callable[..., Pool]) -> None:
    pool = make("counts")
    assert [ask(pool, "counts", ["x"])[0] for _ in range(6)] == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]


def test_a_library_function_is_split_over_the_processes() -> None:
    pool = Pool([Recipe("exact", "exact_match")], 10.0, 2)
    try:
        texts = [str(number) for number in range(100)]
        assert ask(pool, "exact", texts, answer=texts[::-1]) == [0.0] * 100
        assert ask(pool, "exact", texts, answer=texts) == [1.0] * 100
    finally:
        pool.close()


def test_a_wrong_shape_is_refused_by_name(make: Callable[..., Pool]) -> None:
    with pytest.raises(RewardError, match="reward short: returned 1 values for 10 completions"):
        ask(make("short"), "short")


def test_secrets_stay_out_of_the_processes(make: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("X_PATH", "kept")
    for name in ("WANDB_API_KEY", "MY_PASSWORD", "GITHUB_PAT", "DB_PASS", "AWS_REGION", "ONEGRPO_AUTH"):
        monkeypatch.setenv(name, "canary")
    monkeypatch.setenv("DATABASE_URL", "postgres://me:canary@host/db")
    monkeypatch.setenv("https_proxy", "http://me:canary@proxy:3128")
    assert ask(make("environment"), "environment") == [0.0] * 10


def test_printing_and_reading_do_not_disturb_the_answers(make: Callable[..., Pool]) -> None:
    pool = make("prints", deadline_s=5.0)
    assert ask(pool, "prints") == [1.0] * 10
    assert ask(pool, "prints") == [1.0] * 10


def test_an_async_function_without_kwargs_gets_only_what_it_names(make: Callable[..., Pool]) -> None:
    values = ask(make("waits"), "waits", ["a", "b"], answer=["a", "x"], prompts=["p", "p"], other=[1, 2])
    assert values == [1.0, 0.0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import nowhere_to_be_found\n", "own_rewards.py:1: ModuleNotFoundError"),
        ("x = 1\nraise SystemExit(2)\n", "own_rewards.py:2: SystemExit: 2"),
        ("import os\nos._exit(7)\n", r"ended the process it was loaded in \(exit code 7\)"),
        ("def other(): pass\n", "has no function length  ->  one of: other"),
    ],
)
def test_a_file_that_can_not_be_loaded_is_refused_with_its_line(
    own_file: Path, make: Callable[..., Pool], text: str, words: str
) -> None:
    own_file.write_text(text)
    with pytest.raises(RewardError, match=words):
        make("length")


@pytest.mark.skipif(os.name == "nt", reason="process groups")
@pytest.mark.parametrize("name", ["loops", "backtracks", "forks"])
def test_the_processes_end_with_the_training_even_while_they_hang(own_file: Path, name: str) -> None:
    """The training is killed with -9: nobody is left to close the pool."""
    script = f"""
from trainer.rewards.building import Recipe
from trainer.rewards.pool import PRINTED, Pool
from trainer.rewards.calls import Call
pool = Pool([Recipe("it", {name!r}, {str(own_file)!r})], 60.0, 1)
print(pool.children[0].process.pid, flush=True)
pool.run([Call("it", 1, {{"completions": ["bad"]}})])
"""
    training = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert training.stdout is not None
    group = int(training.stdout.readline())
    time.sleep(0.5)
    training.kill()
    training.wait()
    end = time.monotonic() + 5
    while _alive_in(group) and time.monotonic() < end:
        time.sleep(0.05)
    assert not _alive_in(group)


def _alive_in(group: int) -> list[int]:
    """Processes of a process group that are no zombies."""
    found = []
    for process in psutil.process_iter(["pid", "status"]):
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


def test_what_functions_print_is_kept_short(make: Callable[..., Pool], capsys: pytest.CaptureFixture[str]) -> None:
    pool = make("prints")
    ask(pool, "prints", ["good"] * 50)
    ask(pool, "prints", ["good"])
    time.sleep(0.3)  # a thread copies it
    printed = capsys.readouterr().err
    assert "noisenoise" in printed
    assert len(printed) < 3 * PRINTED
    assert "bytes in one batch of rewards: the rest is left out" in printed


@pytest.mark.skipif(os.name == "nt", reason="process groups")
def test_what_a_function_started_is_ended_with_it(make: Callable[..., Pool], tmp_path: Path, own_file: Path) -> None:
    marker = tmp_path / "pid"
    own_file.write_text(
        "import subprocess, time\n"
        "def length(completions, **columns):\n"
        "    started = subprocess.Popen(['sleep', '300'])\n"
        f"    open({str(marker)!r}, 'w').write(str(started.pid))\n"
        "    time.sleep(300)\n"
    )
    ask(make("length", deadline_s=1.0, size=1), "length", ["x"])
    grandchild = Identity.of(int(marker.read_text()))
    assert grandchild is None or not grandchild.alive()

"""What may be asked, and what a reader makes of the files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainer.errors import RunError
from trainer.machine.json_files import write_json
from trainer.machine.process import Identity
from trainer.machine.project import PROJECT
from trainer.run.rundir import RunDir
from trainer.text import words
from trainer.tryit import exporting, journal, parent, reading
from trainer.tryit.journal import Journal
from trainer.tryit.reading import Process
from trainer.tryit.request import MOST_ALL, MOST_TEXT, MOST_TURNS, checked, new_id
from trainer.ui.tryit import views

THERE, GONE = Process("ready"), Process("lost")
GOOD: dict[str, Any] = {"id": new_id(), "turns": [{"role": "user", "content": "Hi"}]}


def talk(turns: int, length: int = 1) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[n % 2], "content": "a" * length} for n in range(turns)]


def test_a_request_survives_its_file() -> None:
    request = checked(GOOD | {"row": None, "thread": "0", "checkpoint": 3, "system": "", "max_new_tokens": 12.0})
    assert checked(json.loads(json.dumps(request.stored()))) == request
    assert request.system == "" and request.max_new_tokens == 12


@pytest.mark.parametrize(
    ("wrong", "where", "what"),
    [
        ({"turns": "ls"}, "prompt", "not a list"),
        ({"turns": [{"role": "system", "content": "a"}]}, "prompt", "alternate"),
        ({"turns": [{"role": "user", "content": 3}]}, "prompt", "is not text"),
        ({"turns": talk(2)}, "prompt", "is empty"),
        ({"turns": []}, "prompt", "is empty"),
        ({"turns": [{"role": "user", "content": "  \n"}]}, "prompt", "is empty"),
        ({"turns": talk(1, MOST_TEXT + 1)}, "prompt", "20,001 characters, 20,000 are allowed"),
        ({"turns": talk(MOST_TURNS + 3)}, "prompt", "more than 40 turns"),
        ({"turns": talk(5, MOST_ALL // 4)}, "prompt", "more than 60,000 characters"),
        ({"system": ["a"]}, "system", "is not text"),
        ({"sides": ["base", "base"]}, "sides", "not base, tuned or both"),
        ({"sides": []}, "sides", "not base, tuned or both"),
        ({"sides": "base"}, "sides", "not base, tuned or both"),
        ({"temperature": -0.1}, "temperature", "not between 0"),
        ({"temperature": float("nan")}, "temperature", "not a number"),
        ({"temperature": True}, "temperature", "not a number"),
        ({"max_new_tokens": 0}, "max_new_tokens", "whole number from 1"),
        ({"max_new_tokens": 10**9}, "max_new_tokens", "whole number from 1"),
        ({"max_new_tokens": "12; rm"}, "max_new_tokens", "whole number from 1"),
        ({"row": -1}, "row", "whole number from 0"),
        ({"checkpoint": "../2"}, "checkpoint", "whole number from 0"),
        ({"thread": "../0"}, "thread", "is not a valid name"),
        ({"id": "../../spec"}, "id", "is not a valid name"),
        ({"seed": 2**40}, "seed", "whole number from 0"),
    ],
)
def test_every_value_has_its_bounds(wrong: dict[str, Any], where: str, what: str) -> None:
    with pytest.raises(RunError) as caught:
        checked(GOOD | wrong)
    assert any(problem.where == where and what in problem.what for problem in caught.value.problems)


def test_half_a_character_becomes_a_question_mark_and_all_problems_come_at_once() -> None:
    assert checked(GOOD | {"turns": [{"role": "user", "content": "a\ud800b"}]}).turns[0]["content"] == "a?b"
    with pytest.raises(RunError) as caught:
        checked(GOOD | {"temperature": 99, "max_new_tokens": -1, "sides": ["me"]})
    assert len(caught.value.problems) == 3


def write(run: RunDir, id: str, text: str = "x", end: bool = True) -> None:
    log = Journal(run.tryit_answers)
    log.write("begin", id, request=checked(GOOD | {"id": id}).stored(), step=1)
    log.write("piece", id, side="base", text=text)
    if end:
        log.write("side", id, side="base", text=text, tokens=1, seconds=0.1, truncated=False)
        log.write("end", id, state="done", problems=[])
    log.shorten()
    log.close()


def test_a_half_written_line_and_foreign_ones_are_passed_over(make_run: Callable[..., RunDir]) -> None:
    run, first, second = make_run(), new_id(), new_id()
    write(run, first)
    with run.tryit_answers.open("ab") as file:
        file.write(b'[]\n{"kind": 3}\nnot json\n{"kind":"piece","id":"' + first.encode())
    write(run, second, end=False)
    found = {one.request.id: one for one in reading.newest(run, 9, THERE)}
    assert [found[id].progress for id in (first, second)] == ["done", "answering"]
    assert found[second].sides["base"].text == "x"
    assert [one.progress for one in reading.newest(run, 9, GONE)] == ["done", "lost"]


def test_the_file_stays_small_and_keeps_the_newest(
    make_run: Callable[..., RunDir], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "MOST_BYTES", 20_000)
    monkeypatch.setattr(journal, "KEEP_BYTES", 8_000)
    run = make_run()
    ids = [new_id() for _ in range(40)]
    for id in ids:
        write(run, id, "word " * 300)
    assert run.tryit_answers.stat().st_size < 24_000
    kept = [one.request.id for one in reading.newest(run, 50, GONE)]
    assert kept == ids[-len(kept) :] and len(kept) >= 2
    assert all(one.sides["base"].text == "word " * 300 for one in reading.newest(run, 50, GONE))


def test_the_process_is_what_its_files_and_the_system_say(make_run: Callable[..., RunDir]) -> None:
    run = make_run()
    assert reading.process(run).state == "none"
    assert not parent.end(run)
    mine = Identity.mine().stored()
    gone = mine | {"pid_started": "1"}
    run.tryit.mkdir()
    write_json(run.tryit_started, mine | {"t": 1.0})
    assert reading.process(run).state == "starting"
    write_json(run.tryit_worker, mine | {"state": "ready", "step": 2, "device": "cpu", "t": 2.0})
    found = reading.process(run)
    assert (found.state, found.step, found.device, found.at_work) == ("ready", 2, "cpu", True)
    write_json(run.tryit_worker, mine | {"state": "ended", "why": "idle", "t": 3.0})
    assert reading.process(run).state == "ended"  # it said so, and is still clearing up
    for state, expected in (("answering", "lost"), ("ended", "ended")):
        write_json(run.tryit_started, gone | {"t": 1.0})
        write_json(run.tryit_worker, gone | {"state": state, "t": 2.0})
        assert reading.process(run).state == expected
    write_json(run.tryit_started, gone | {"pid_started": "2", "t": 9.0})  # killed before it said a word
    assert reading.process(run).state == "lost"


def test_a_question_that_nobody_will_begin_is_taken_back(make_run: Callable[..., RunDir]) -> None:
    run, id = make_run(), new_id()
    run.tryit_requests.mkdir(parents=True)
    write_json(run.tryit_requests / f"{id}.json", GOOD)
    assert parent.cancel(run, id)
    assert not parent.cancel(run, id)
    assert reading.newest(run, 5, GONE) == []


def test_a_conversation_begins_anew_for_everybody(make_run: Callable[..., RunDir]) -> None:
    run = make_run()
    assert reading.thread(run) == "0"
    name = parent.new_thread(run)
    assert reading.thread(run) == name != "0"


def test_asking_and_reading_never_import_torch() -> None:
    heavy = ("torch", "transformers", "trl", "unsloth", "peft", "accelerate", "datasets")
    script = (
        "import sys, trainer.ui.tryit.tab, trainer.ui.exported, trainer.tryit.parent, trainer.tryit.exporting\n"
        "from trainer.tryit import exporting; exporting.missing_tools()\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


ODD_LINES: list[dict[str, Any]] = [
    {"kind": "begin", "request": [1], "step": "x"},
    {"kind": "begin", "step": {}},
    {"kind": "row", "prompt": 7, "gold": [1], "row": "x", "rows": {}},
    {"kind": "row", "prompt": [7, {"role": 3, "content": None}]},
    {"kind": "side", "side": "base", "text": 3, "tokens": "x", "seconds": [], "truncated": 1, "reward": "high"},
    {"kind": "side", "side": "tuned", "text": "t", "tokens": 1, "components": [1], "correct": "x", "failures": 5},
    {"kind": "side", "side": "tuned", "tokens": 1, "components": {"a": {}}, "reward": 10**400, "failures": {"a": 3}},
    {"kind": "end", "state": 5, "problems": 7},
    {"kind": "end", "state": [], "problems": [1, {"where": 3}]},
]


@pytest.mark.parametrize("odd", ODD_LINES)
def test_a_line_of_other_types_costs_what_it_says_and_nothing_else(
    make_run: Callable[..., RunDir], odd: dict[str, Any]
) -> None:
    run, id = make_run("tiny-1"), new_id()
    write(run, id, end=False)
    with run.tryit_answers.open("ab") as file:
        file.write(json.dumps({"id": id} | odd).encode() + b"\n")
    write(run, new_id(), "whole")
    *_, last = found = reading.newest(run, 5, reading.process(run))
    assert last.sides["base"].text == "whole"
    for one in found:
        views.answers(one, {}, words("en"))
    views.earlier(found, words("ko"))


@pytest.mark.parametrize("spoil", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to(path.name)])
def test_what_is_no_journal_is_set_aside(make_run: Callable[..., RunDir], spoil: Callable[[Path], None]) -> None:
    run = make_run("tiny-1")
    run.tryit.mkdir()
    spoil(run.tryit_answers)
    assert reading.newest(run, 5, reading.process(run)) == []
    write(run, new_id())
    assert len(reading.newest(run, 5, reading.process(run))) == 1


@pytest.mark.parametrize("place", ["tryit", "exports", "export_processes"])
def test_a_file_where_a_folder_should_be_is_an_empty_folder(make_run: Callable[..., RunDir], place: str) -> None:
    run = make_run("tiny-1")
    getattr(run, place).touch()
    assert reading.newest(run, 5, reading.process(run)) == []
    assert (exporting.listed(run), exporting.finished(run)) == ([], [])


def test_a_reward_model_is_asked_nothing() -> None:
    from trainer import presets
    from trainer.tryit.request import refuse_judge

    refuse_judge(presets.load("tiny"), "a")
    with pytest.raises(RunError, match="it scores answers and writes none"):
        refuse_judge(presets.load("tiny-reward-model"), "a")

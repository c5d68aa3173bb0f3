"""The real process that answers, on a run that was really trained."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.builders import seal
from tests.tryit.conftest import answered
from trainer import launch
from trainer.errors import RunError
from trainer.machine import gpu
from trainer.machine.json_files import read_json, write_json
from trainer.machine.project import PROJECT
from trainer.run import checkpoints
from trainer.run.rundir import RunDir
from trainer.tryit import chat as chats
from trainer.tryit import journal, parent, reading
from trainer.tryit.request import new_id

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("warm")]
Until = Callable[[Callable[[], bool]], None]
TYPED: dict[str, Any] = {"turns": [{"role": "user", "content": "Reverse: kihpg"}], "max_new_tokens": 12}


def forever(run: RunDir) -> None:
    """Its checkpoints read as much as one likes and know no end: an answer takes minutes."""
    changes: dict[str, dict[str, Any]] = {
        "config.json": {"max_position_embeddings": 1_000_000},
        "generation_config.json": {"eos_token_id": [1_000_000]},
    }
    for checkpoint in checkpoints.listed(run.checkpoints):
        for name, values in changes.items():
            path = checkpoint.path / name
            write_json(path, (read_json(path) or {}) | values)
        seal(checkpoint.path, *changes)


def done(rundir: RunDir, id: str) -> Callable[[], bool]:
    return lambda: not answered(rundir, id).open


def test_base_and_tuned_answer_in_pieces_and_the_process_ends_when_nobody_asks(run: RunDir, until: Until) -> None:
    assert reading.process(run).state == "none"
    request, child = parent.ask(run, TYPED | {"temperature": 0, "checkpoint": 2}, idle_s=0.5)
    assert child is not None
    assert answered(run, request.id).progress == "waiting"
    until(done(run, request.id))
    found = answered(run, request.id)
    assert (found.progress, found.step, list(found.sides)) == ("done", 2, ["base", "tuned"])
    with chats.opened(run, "2", "cpu", say=lambda line: None) as chat:
        for side, said in found.sides.items():
            dialogue = chats.Dialogue(chat, chats.ChatSettings(0, 12), side == "base")
            again = dialogue.say("Reverse: kihpg", lambda text: None)
            assert (said.text, said.tokens, said.truncated) == (again.text, again.tokens, again.cut)
    pieces = [line for line in journal.read(run.tryit_answers) if line["kind"] == "piece"]
    assert {line["side"] for line in pieces} == {"base", "tuned"}
    assert "".join(line["text"] for line in pieces if line["side"] == "tuned") == found.sides["tuned"].text
    assert child.wait(60) == 0
    ended = reading.process(run)
    assert (ended.state, ended.why) == ("ended", "idle")


def test_a_held_out_row_comes_with_its_answer_and_what_both_are_paid(run: RunDir, until: Until) -> None:
    row, _ = parent.ask(run, {"row": 5, "turns": [], "max_new_tokens": 12, "temperature": 0})
    until(done(run, row.id))
    found = answered(run, row.id)
    assert found.progress == "done", found.problems
    assert (found.row, found.rows) == (1, 4)  # four rows are evaluated: the sixth is the second again
    assert found.prompt[-1]["content"].startswith("Reverse: ")
    word = found.prompt[-1]["content"].removeprefix("Reverse: ")
    assert found.gold == f"<answer>{word[::-1]}</answer>"
    for said in found.sides.values():
        assert set(said.components) == {"correct", "format"}
        assert said.reward == said.components["correct"] + 0.5 * said.components["format"]  # type: ignore[operator]
        assert said.correct == (said.text == found.gold)


def test_two_questions_at_once_are_answered_one_after_the_other_by_one_process(run: RunDir, until: Until) -> None:
    first, child = parent.ask(run, TYPED)
    second, other = parent.ask(run, TYPED | {"checkpoint": 1})
    assert child is not None and other is None
    until(done(run, second.id))
    assert [answered(run, one.id).progress for one in (first, second)] == ["done", "done"]
    assert [answered(run, one.id).step for one in (first, second)] == [2, 1]  # without a wish the best
    same, third = parent.ask(run, TYPED | {"seed": 0})
    assert third is None
    until(done(run, same.id))
    assert answered(run, same.id).step == 1  # and then the one that is loaded


def test_an_answer_is_cancelled_while_it_is_written_and_the_next_one_is_given(run: RunDir, until: Until) -> None:
    forever(run)
    long, _ = parent.ask(run, TYPED | {"max_new_tokens": 25_000, "sides": ["tuned"]})
    after, _ = parent.ask(run, TYPED)
    until(lambda: bool(answered(run, long.id).sides))
    assert parent.cancel(run, long.id)
    until(done(run, after.id))
    assert answered(run, long.id).progress == "cancelled"
    assert answered(run, long.id).sides["tuned"].text
    assert answered(run, after.id).progress == "done"
    assert not parent.cancel(run, long.id)
    assert not parent.cancel(run, "../../spec")


def test_a_killed_process_is_seen_and_the_next_question_starts_another(run: RunDir, until: Until) -> None:
    forever(run)
    long, child = parent.ask(run, TYPED | {"max_new_tokens": 25_000, "sides": ["tuned"]})
    until(lambda: bool(answered(run, long.id).sides))
    identity = reading.process(run).identity
    assert child is not None and identity is not None
    assert identity.send(signal.SIGKILL)
    child.wait(20)
    assert reading.process(run).state == "lost"
    assert answered(run, long.id).progress == "lost"
    again, second = parent.ask(run, TYPED)
    assert second is not None
    until(done(run, again.id))
    assert answered(run, again.id).progress == "done"
    assert answered(run, long.id).progress == "lost"


def test_it_ends_on_request_and_who_waits_is_told(run: RunDir, until: Until) -> None:
    forever(run)
    long, child = parent.ask(run, TYPED | {"max_new_tokens": 25_000, "sides": ["tuned"]})
    waiting, _ = parent.ask(run, TYPED)
    until(lambda: bool(answered(run, long.id).sides))
    assert parent.end(run)
    assert child is not None
    assert child.wait(60) == 130
    ended = reading.process(run)
    assert (ended.state, ended.why) == ("ended", "asked")
    assert answered(run, long.id).progress == "cancelled"
    assert "was ended" in str(answered(run, waiting.id).problems[0])
    assert not parent.end(run)


def test_what_can_not_be_answered_is_said(run: RunDir, until: Until) -> None:
    huge, _ = parent.ask(run, TYPED | {"turns": [{"role": "user", "content": "x" * 20_000}]})
    bad = run.tryit_requests / f"{new_id()}.json"
    write_json(bad, {"turns": "rm -rf", "temperature": float("1e9"), "sides": [3]})
    after, _ = parent.ask(run, TYPED)
    until(done(run, after.id))
    assert answered(run, after.id).progress == "done"
    (problem,) = answered(run, huge.id).problems
    assert (
        problem.where == "prompt" and "20,004 tokens; with 12 for the answer that is more than the 128" in problem.what
    )
    assert not bad.exists()
    assert {problem.where for problem in answered(run, bad.stem).problems} >= {"prompt", "temperature", "sides"}


def test_a_damaged_checkpoint_is_said_and_another_one_answers(run: RunDir, until: Until) -> None:
    with (run.checkpoint(2) / "model.safetensors").open("r+b") as file:
        file.seek(1000)
        file.write(b"damage")
    broken, child = parent.ask(run, TYPED | {"checkpoint": 2})
    until(done(run, broken.id))
    found = answered(run, broken.id)
    assert found.progress == "failed" and "is damaged" in str(found.problems[0])
    assert child is not None and child.wait(60) == 0
    assert (reading.process(run).state, reading.process(run).why) == ("ended", "failed")
    whole, again = parent.ask(run, TYPED | {"checkpoint": 1})
    assert again is not None
    until(done(run, whole.id))
    assert answered(run, whole.id).progress == "done"


def test_a_gpu_on_which_a_run_trains_is_said_and_not_waited_for(run: RunDir) -> None:
    run.tryit_requests.mkdir(parents=True)
    id = new_id()
    write_json(run.tryit_requests / f"{id}.json", TYPED)
    card = gpu.chosen()
    with launch.hold_gpu_lock(card.uuid if card else "unnamed", "busy-1"):
        ended = script(_ON_GPU, run)
    assert ended.returncode == 0, ended.stderr
    (problem,) = answered(run, id).problems
    assert "in use by run busy-1" in problem.what and "stop busy-1" in problem.fix
    assert reading.process(run).state == "ended"


def test_a_system_message_to_a_run_of_plain_text_is_refused_in_words(run: RunDir, until: Until) -> None:
    spec = read_json(run.spec)
    assert spec is not None
    write_json(run.spec, spec | {"data": spec["data"] | {"chat": False}})
    refused, _ = parent.ask(run, TYPED | {"system": "Be brief."})
    until(done(run, refused.id))
    found = answered(run, refused.id)
    assert found.progress == "failed" and "plain text" in str(found.problems[0])


def test_a_run_without_checkpoint_is_refused_before_anything_starts(make_run: Callable[..., RunDir]) -> None:
    with pytest.raises(RunError, match="has no checkpoint to try"):
        parent.ask(make_run("empty-1"), TYPED)


def test_a_checkpoint_that_is_none_is_refused_and_so_are_too_many_questions(run: RunDir) -> None:
    with pytest.raises(RunError, match=r"7 is not a checkpoint of this run.*1, 2"):
        parent.ask(run, TYPED | {"checkpoint": 7})
    run.tryit_requests.mkdir(parents=True)
    for _ in range(parent.MOST_WAITING):
        write_json(run.tryit_requests / f"{new_id()}.json", TYPED)
    with pytest.raises(RunError, match="8 questions are waiting already"):
        parent.ask(run, TYPED)
    assert reading.process(run).state == "none"


def test_only_one_process_answers_for_a_run(run: RunDir, until: Until) -> None:
    request, _ = parent.ask(run, TYPED)
    until(done(run, request.id))
    second = script("", run)
    assert second.returncode == 2 and "another process answers for run short" in second.stderr
    until(lambda: reading.process(run).state == "ready")  # it is said a moment after the answer


def script(first: str, run: RunDir) -> subprocess.CompletedProcess[str]:
    """A process that answers, after those lines."""
    lines = "import sys\nfrom pathlib import Path\n"
    lines += "from trainer.run.rundir import RunDir\nfrom trainer.tryit import worker\n"
    lines += f"{first}worker.LOCK_WAIT_S = 0.0\nsys.exit(worker.main(RunDir(Path(sys.argv[1])), 1.0))\n"
    command = [sys.executable, "-c", lines, str(run.path)]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60)


_ON_GPU = """
from trainer.tryit import chat
from trainer.machine import spawn
from trainer.spec import RunSpec
spawn.one_gpu = dict
chat._with_gpu = lambda device: "cuda"
read = RunDir.read_spec
def on_gpu(self):
    spec = read(self)
    return spec.model_copy(update={"model": spec.model.model_copy(update={"device": "cuda"})})
RunDir.read_spec = on_gpu
"""

"""Rows while they are made: who waits, who is told how far it is, and when the process is ended."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders import until
from trainer.errors import DataError, Problem
from trainer.machine.project import PROJECT
from trainer.tasks import catalogue, generated, making
from trainer.tasks.making import Progress

SLOW = catalogue.tasks()["reasoning_gym:knight_swap"]  # 0.1 s a row


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEGRPO_CACHE", str(tmp_path / "cache"))


def asked(size: int, patience_s: float | None = 0.2) -> Problem | None:
    """What somebody is told who waits so long."""
    try:
        with making.waiting(patience_s):
            generated.file(SLOW, {}, size, 7)
    except DataError as error:
        (problem,) = error.problems
        return problem
    return None


def left_over() -> list[str]:
    return [path.name for path in generated.folder().iterdir()] if generated.folder().is_dir() else []


def test_who_does_not_want_to_wait_is_told_how_far_it_is_until_all_are_there() -> None:
    found = list[Progress]()
    while (problem := asked(12)) is not None:
        assert (problem.key, problem.place, len(making._underway)) == (making.NOT_YET, "data.task", 1)
        found.append(Progress.of(problem))
    done = [one.done for one in found]
    assert done == sorted(done) and done[0] == 0 and any(0 < one < 12 for one in done)
    assert all((one.left_s is None) == (one.done < making.SURE) for one in found)
    with making.waiting(tell=lambda progress: pytest.fail("made twice")):
        file = generated.file(SLOW, {}, 12, 7)
    assert len(list(generated.rows(file))) == 12 and left_over() == [file.name] and not making._underway


def test_who_waits_is_told_too_and_ends_it_with_ctrl_c() -> None:
    def interrupt(progress: Progress) -> None:
        assert progress == Progress("reasoning_gym:knight_swap", 0, 3000, None)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), making.waiting(tell=interrupt):
        generated.file(SLOW, {}, 3000, 7)
    assert left_over() == [] and not making._underway


def test_it_is_ended_when_it_is_stopped_or_nobody_asks_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    first = asked(3000)
    assert first is not None
    making.stop("another.jsonl")
    assert making._underway
    (former,) = making._underway.values()
    making.stop(first.values["file"])
    again = asked(3000, 0.5)  # while it is being ended
    assert again is not None and again.key == making.NOT_YET
    assert former is not next(iter(making._underway.values()))
    monkeypatch.setattr(making, "UNASKED_S", 0.3)
    until(lambda: not making._underway)
    assert left_over() == []


def test_with_no_time_left_nothing_is_begun() -> None:
    problem = asked(3000, 0.0)
    assert problem is not None and problem.key == making.NOT_YET
    assert not making._underway and left_over() == []


def test_the_process_ends_with_the_one_that_started_it(tmp_path: Path) -> None:
    out = tmp_path / "rows"
    request = {"task": "knight_swap", "params": {}, "size": 3000, "seed": 7, "out": str(out)}
    code = (
        f"import time; from trainer.tasks import making; to = making.start().stdin; to.write({json.dumps(request)!r})"
    )
    with subprocess.Popen([sys.executable, "-c", f"{code}; to.close(); time.sleep(99)"], cwd=PROJECT) as parent:
        until(out.exists, 60)
        parent.kill()
    until(lambda: not out.exists())

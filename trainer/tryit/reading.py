"""What a page shows of a run that is tried: the process that answers, and the newest questions with their answers.

Everything is read from the run's folder at every call; a file that has not changed is not parsed again. Torch-free.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from trainer.errors import Problem, RunError
from trainer.machine import notes
from trainer.machine.json_files import read_json
from trainer.machine.process import Identity
from trainer.run.groups import number
from trainer.run.rundir import RunDir
from trainer.tryit import journal
from trainer.tryit.request import ID, Request, checked

State = Literal["none", "starting", "loading", "ready", "answering", "ended", "lost"]
"""Of the process that answers; ended: it said so; lost: it was killed, or its machine was."""
Progress = Literal["waiting", "answering", "done", "cancelled", "failed", "lost"]

AT_WORK: tuple[State, ...] = ("starting", "loading", "ready", "answering")


@dataclass(frozen=True)
class Process:
    """state: see State. why: of one that has ended: "idle", "asked", "failed" or a signal's name. step: of the
    checkpoint that is loaded. device: cpu or cuda; None before that is known. t: when that was said, unix seconds."""

    state: State
    why: str = ""
    step: int | None = None
    device: str | None = None
    t: float = 0.0
    identity: Identity | None = None

    @property
    def at_work(self) -> bool:
        return self.state in AT_WORK


@dataclass(frozen=True)
class Side:
    """What one of the two models said so far. tokens, seconds and truncated: None until it has said all.

    reward, components, correct, failures: of an answer to a held-out row, as the run's rewards judge it. A failure is a
    message as it is stored; text in older lines.
    """

    text: str = ""
    tokens: int | None = None
    seconds: float | None = None
    truncated: bool | None = None
    reward: float | None = None
    components: dict[str, float | None] = field(default_factory=dict)
    correct: bool | None = None
    failures: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Answered:
    """One question and what came of it. prompt: of a held-out row, as the model sees it (messages or a text). gold: its
    answer. rows: how many held-out rows there are. step: of the checkpoint; None while it waits."""

    request: Request
    progress: Progress
    step: int | None = None
    prompt: Any = None
    gold: str | None = None
    row: int | None = None
    rows: int | None = None
    sides: dict[str, Side] = field(default_factory=dict)
    problems: Sequence[Problem] = ()

    @property
    def open(self) -> bool:
        return self.progress in ("waiting", "answering")


def process(rundir: RunDir) -> Process:
    """The process that answers, as it is now: what it says of itself, or that it was started a moment ago."""
    said = read_json(rundir.tryit_worker) or {}
    identity = notes.process(rundir.tryit_worker)
    if identity is not None and identity.alive() and said.get("state") != "ended":
        return Process(_state(said), "", _whole(said.get("step")), _word(said.get("device")), _t(said), identity)
    started = read_json(rundir.tryit_started) or {}
    newest = notes.process(rundir.tryit_started)
    if newest is not None and newest != identity and newest.alive():
        return Process("starting", t=_t(started), identity=newest)
    if identity is None and newest is None:
        return Process("none")
    if newest is not None and newest != identity and _t(started) > _t(said):
        return Process("lost", t=_t(started))
    state: State = "ended" if said.get("state") == "ended" else "lost"
    return Process(state, str(said.get("why", "")), _whole(said.get("step")), _word(said.get("device")), _t(said))


def newest(rundir: RunDir, count: int, process: Process) -> list[Answered]:
    """The newest questions, the oldest first. process: as `process` found it before."""
    known = _answered(rundir, process.state in ("loading", "ready", "answering"))
    begun = {one.request.id for one in known}
    left = [request for request in waiting(rundir) if request.id not in begun]
    # A question nobody is there to answer is answered by the next process, or told that it came too early.
    return [*known, *(Answered(request, "waiting") for request in left)][-count:]


def waiting(rundir: RunDir) -> list[Request]:
    """Requests that nobody has begun to answer, the oldest first."""
    return [found for _, found in asked(rundir) if isinstance(found, Request)]


def asked(rundir: RunDir) -> Iterator[tuple[str, Request | RunError]]:
    """(id, request) of all that was left to be answered, the oldest first; what is wrong with one that is none."""
    for path in sorted(rundir.tryit_requests.glob("*.json")):
        if ID.fullmatch(path.stem):
            try:
                yield path.stem, checked((read_json(path) or {}) | {"id": path.stem})
            except RunError as error:
                yield path.stem, error


def thread(rundir: RunDir) -> str:
    """The conversation that goes on: the same in every browser."""
    return str((read_json(rundir.tryit_thread) or {}).get("thread", "0"))


def _answered(rundir: RunDir, somebody: bool) -> list[Answered]:
    """somebody: is there a process that may be writing the one that has no end?"""
    path = rundir.tryit_answers
    try:
        mark = path.stat()
    except OSError:
        return []
    found = _parsed(path, mark.st_ino, mark.st_size, mark.st_mtime_ns)
    if somebody:
        return list(found)
    return [replace(one, progress="lost") if one.progress == "answering" else one for one in found]


@functools.lru_cache(maxsize=8)
def _parsed(path: Path, inode: int, size: int, changed: int) -> tuple[Answered, ...]:
    """inode, size, changed: of the file now; when they are the same, so is what it says."""
    found = journal.answers(journal.read(path))
    return tuple(one for lines in found.values() if (one := _one(lines)) is not None)


def _one(lines: list[journal.Line]) -> Answered | None:
    begin = lines[0]
    try:
        request = checked(raw if isinstance(raw := begin.get("request"), dict) else {})
    except ValueError:
        return None
    texts: dict[str, list[str]] = {}
    sides: dict[str, Side] = {}
    values: dict[str, Any] = {"step": _whole(begin.get("step"))}
    progress: Progress = "answering"
    for line in lines[1:]:
        if line["kind"] == "piece":
            texts.setdefault(str(line.get("side")), []).append(str(line.get("text", "")))
        elif line["kind"] == "side":
            sides[str(line.get("side"))] = _side(line)
        elif line["kind"] == "row":
            values |= {"prompt": _prompt(line.get("prompt")), "gold": _text(line.get("gold"))}
            values |= {name: _whole(line.get(name)) for name in ("row", "rows")}
        elif line["kind"] == "end":
            ends: dict[str, Progress] = {"done": "done", "cancelled": "cancelled", "lost": "lost"}
            progress = ends.get(str(line.get("state")), "failed")
            found = line.get("problems")
            values["problems"] = [_problem(raw) for raw in found] if isinstance(found, list) else []
    for side, pieces in texts.items():
        sides.setdefault(side, Side("".join(pieces)))
    return Answered(request, progress, sides=sides, **values)


def _side(line: journal.Line) -> Side:
    """What is of another type than it has to be is not known."""
    paid, failed = line.get("components"), line.get("failures")
    right, cut = line.get("correct"), line.get("truncated")
    return Side(
        text=_text(line.get("text")) or "",
        tokens=_whole(line.get("tokens")),
        seconds=number(line.get("seconds")),
        truncated=cut if isinstance(cut, bool) else None,
        reward=number(line.get("reward")),
        components={name: number(value) for name, value in paid.items()} if isinstance(paid, dict) else {},
        correct=right if isinstance(right, bool) else None,
        failures=failed if isinstance(failed, dict) else {},
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _prompt(value: Any) -> Any:
    """A text, or messages."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else _text(value)


def _problem(raw: Any) -> Problem:
    raw = raw if isinstance(raw, dict) else {}
    return Problem.read(raw)


def _state(said: dict[str, Any]) -> State:
    return next((state for state in AT_WORK if state == said.get("state")), "loading")


def _whole(value: Any) -> int | None:
    return value if type(value) is int else None


def _word(value: Any) -> str | None:
    return value if value in ("cpu", "cuda") else None


def _t(said: dict[str, Any]) -> float:
    return number(said.get("t")) or 0.0

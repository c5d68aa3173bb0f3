"""held_out.json: the first held-out questions and what was answered at each evaluation. Written and read here alone.

Figures of an evaluation are in its event; here are the texts that a person reads: the same few questions before, in the
middle and now. Bounded: MOST_ROWS questions, MOST_EVALUATIONS evaluations, MOST_CHARACTERS of a text. Torch-free.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from trainer.machine.json_files import read_json, write_json
from trainer.run.groups import number
from trainer.run.rundir import RunDir

MOST_ROWS = 6
MOST_EVALUATIONS = 64  # beyond them every second one is forgotten, never the first or the newest
MOST_CHARACTERS = 2000
MOST_BYTES = 16 * 2**20  # of the file: a larger one was written by nobody of us

Question = tuple[str, str | None]
"""What is asked, and a perfect answer where one is known."""


@dataclass(frozen=True)
class Answer:
    text: str
    reward: float | None
    correct: bool | None


@dataclass(frozen=True)
class Asked:
    """One question. answers: by step, in order. gold: a perfect answer; None where none is known."""

    question: str
    gold: str | None
    answers: dict[int, Answer] = field(default_factory=dict)


def note(rundir: RunDir, step: int, questions: Sequence[Question], answers: Sequence[Answer]) -> None:
    """Add what was answered with the weights after `step`. Raises OSError.

    What is stored of later steps belongs to an attempt that was taken back; of other questions, to other data.
    """
    asked = [{"question": _cut(question), "gold": gold and _cut(gold)} for question, gold in questions[:MOST_ROWS]]
    stored = _stored(rundir)
    known = stored.get("evaluations") if stored.get("questions") == asked else None
    kept = [one for one in known or () if isinstance(one, dict) and _step(one) is not None and _step(one) < step]  # type: ignore[operator]
    kept.append({"step": step, "answers": [_line(answer) for answer in answers[:MOST_ROWS]]})
    if len(kept) > MOST_EVALUATIONS:
        kept = [*kept[:-1:2], kept[-1]]
    write_json(rundir.held_out, {"questions": asked, "evaluations": kept})


def read(rundir: RunDir, steps: Collection[int]) -> list[Asked]:
    """The questions with their answers; [] of a run that did not record them. steps: evaluations that count."""
    stored = _stored(rundir)
    questions, evaluations = stored.get("questions"), stored.get("evaluations")
    found = [
        Asked(str(one.get("question") or ""), str(one["gold"]) if one.get("gold") is not None else None)
        for one in (questions if isinstance(questions, list) else [])[:MOST_ROWS]
        if isinstance(one, dict)
    ]
    for one in evaluations if isinstance(evaluations, list) else ():
        step = _step(one)
        answers = one.get("answers") if step in steps else None
        for asked, said in zip(found, answers if isinstance(answers, list) else (), strict=False):
            if isinstance(said, dict) and step is not None:
                asked.answers[step] = _answer(said)
    return [asked for asked in found if asked.answers]


def _stored(rundir: RunDir) -> dict[str, Any]:
    try:
        fits = rundir.held_out.stat().st_size <= MOST_BYTES
    except OSError:
        return {}
    return (read_json(rundir.held_out) or {}) if fits else {}


def _step(evaluation: Any) -> int | None:
    step = evaluation.get("step") if isinstance(evaluation, dict) else None
    return step if isinstance(step, int) and not isinstance(step, bool) else None


def _line(answer: Answer) -> dict[str, Any]:
    return {"text": _cut(answer.text), "reward": answer.reward, "correct": answer.correct}


def _answer(said: dict[str, Any]) -> Answer:
    correct = said.get("correct")
    return Answer(
        _cut(str(said.get("text") or "")),
        number(said.get("reward")),
        correct if isinstance(correct, bool) else None,
    )


def _cut(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 1]}\u2026"

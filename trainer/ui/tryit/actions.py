"""What the buttons of this tab do. Everything a browser sends is checked here and again by who answers; no gradio."""

from __future__ import annotations

from typing import Any

from trainer.run.best import find_best
from trainer.run.checkpoints import listed
from trainer.run.rundir import RunDir
from trainer.tryit import exporting, parent, reading
from trainer.tryit.reading import Answered, Process
from trainer.ui.actions import opened, started
from trainer.ui.known_runs import Seen

SHOWN = 24  # questions that are read: prompts, and those of a conversation


def chosen_step(seen: Seen, wanted: str | None, loaded: int | None) -> int | None:
    """The checkpoint that is tried: the wanted one, else the loaded, the best, the newest; None without any."""
    steps = [checkpoint.step for checkpoint in listed(seen.rundir.checkpoints)]
    found = find_best(seen.rundir, seen.state)
    for step in (_step(wanted), loaded, found.step if found else None):
        if step in steps:
            return step
    return steps[-1] if steps else None


def _step(text: str | None) -> int | None:
    return int(text) if text and len(text) <= 12 and text.isascii() and text.isdigit() else None


def ask(run: str | None, step: int | None, values: dict[str, Any]) -> None:
    """Put a question to a run: `values` are those of a Request. Raises RunError with all that is wrong."""
    rundir = opened(run)
    length = values.get("max_new_tokens") or rundir.read_spec().generation.max_completion_length
    system = values.get("system") or None
    given = values | {"checkpoint": step, "max_new_tokens": length, "system": system}
    _, child = parent.ask(rundir, given)
    if child is not None:
        started(child)


def next_row(found: list[Answered]) -> int:
    """The held-out row after the newest that was asked for."""
    rows = [one.request.row if one.row is None else one.row for one in found if one.request.row is not None]
    return (rows[-1] or 0) + 1 if rows else 0


def turns(found: list[Answered], side: str) -> list[dict[str, str]]:
    """What was said in a conversation so far; answers that were cut short by somebody are left out."""
    said: list[dict[str, str]] = []
    for one in found:
        if one.progress == "done" and one.request.turns:
            answer = one.sides.get(side) or next(iter(one.sides.values()), None)
            if answer is not None:
                said += [dict(one.request.turns[-1]), {"role": "assistant", "content": answer.text}]
    return said


def look(rundir: RunDir) -> tuple[Process, list[Answered], list[Answered]]:
    """The process, the newest prompts, the newest of the conversation that goes on."""
    process = reading.process(rundir)
    found = reading.newest(rundir, SHOWN, process)
    thread = reading.thread(rundir)
    prompts = [one for one in found if one.request.thread is None]
    return process, prompts, [one for one in found if one.request.thread == thread]


def stop(run: str | None) -> int:
    """Cancel every question that is open; how many."""
    rundir = opened(run)
    _, prompts, talk = look(rundir)
    return sum(parent.cancel(rundir, one.request.id) for one in (*prompts, *talk) if one.open)


def end(run: str | None) -> bool:
    return parent.end(opened(run))


def export(run: str | None, kind: str, step: int | None, repo: str | None, private: bool, language: str) -> None:
    """Raises ExportRefused with what stands in the way."""
    wanted = -1 if step is None else step
    started(exporting.start(opened(run), kind, wanted, (repo or "").strip() or None, private, language))

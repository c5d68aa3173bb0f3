"""What a judge is asked: a text of params.prompt or of a file (params.rubric), filled in row by row.

Imports no library.
"""

from __future__ import annotations

import errno
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.errors import Unfit
from trainer.machine.regular_files import read_file, why
from trainer.rewards.gold import written

MOST_BYTES = 32 * 2**10
"""Of a rubric's file: it is sent with every question, and is kept in the settings of the run."""


@dataclass(frozen=True)
class Rubric:
    """text: with {prompt}, the field that the completions are put in, and {columns}, each of which is read from the
    column of the data that `sources` names."""

    text: str
    sources: dict[str, str]

    @classmethod
    def of(cls, prompt: str | None, file: str | None, shows: str, answer_column: str | None) -> Rubric:
        """shows: the field that the completions are put in. answer_column: the column that {answer} stands for. Raises
        Unfit for a text that no judge can be asked, and what the file cannot be read for."""
        if (prompt is None) == (file is None):
            raise Unfit("rewards.unfit.judge_text")
        text = read(file) if file is not None else str(prompt)
        named = _fields(text)
        if shows not in named:
            raise Unfit("rewards.unfit.judge_completion", field=f"{{{shows}}}")
        fields = named - {shows, "prompt"}
        if answer_column is not None and "answer" not in fields:
            raise Unfit("rewards.unfit.judge_answer", field="{answer}")
        return cls(text, {name: answer_column if name == "answer" and answer_column else name for name in fields})

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the data that it reads."""
        return tuple(sorted(set(self.sources.values())))

    def values(self, prompt: Any, columns: Mapping[str, Sequence[Any]], row: int) -> dict[str, str] | None:
        """What a row puts into it; None where one of its columns holds null."""
        found = {name: columns[source][row] for name, source in self.sources.items()}
        if any(value is None for value in found.values()):
            return None
        return {name: written(value) for name, value in found.items()} | {"prompt": _as_text(prompt)}


def _fields(text: str) -> set[str]:
    try:
        found = [part[1:] for part in string.Formatter().parse(text) if part[1] is not None]
    except ValueError:  # a brace without its other half
        found = [("", "", None)]
    # All values are texts, which :.2f does not fit, and a completion that is cut would lose the mark it ends with.
    if any(not (name or "").isidentifier() or width or conversion for name, width, conversion in found):
        raise Unfit("rewards.unfit.judge_field", braces="{{, }}")
    return {str(name) for name, _, _ in found}


def read(path: str) -> str:
    """The text of a rubric's file, without white space around it. Raises Unfit."""
    try:
        text = read_file(Path(path), MOST_BYTES).decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise Unfit("rewards.unfit.rubric_encoding", path=path, byte=error.start) from None
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        if getattr(error, "errno", None) == errno.EFBIG:
            raise Unfit("rewards.unfit.rubric_long", path=path, most=MOST_BYTES) from None
        raise Unfit("rewards.unfit.rubric_unreadable", path=path, said=why(error)) from None
    if not text:
        raise Unfit("rewards.unfit.rubric_empty", path=path)
    return text


def sendable(question: str) -> str:
    """Half a surrogate pair cannot be sent."""
    return question.encode("utf-8", "replace").decode("utf-8")


def _as_text(prompt: Any) -> str:
    if isinstance(prompt, str):
        return prompt
    if len(prompt) == 1:
        return str(prompt[0]["content"])
    return "\n\n".join(f"{message['role']}: {message['content']}" for message in prompt)

"""Every error a user is meant to read, in one tree.

    TrainerError                 shown as one line a problem, never as a traceback
    |- InputError (ValueError)   what was typed is wrong: nothing was started, exit code 2
    |  |- PresetError            the preset file: not found, not TOML
    |  |- SpecError              a value breaks a rule
    |  |- PlanError              the values are legal one by one, the combination is not
    |  |- DataError              the data file: names file and line
    |  |- RunError               the run asked for: not there, there already, in use
    |  `- ExportRefused          the export asked for: target taken, tool, token or room missing
    `- WorkError (RuntimeError)  something failed while working: exit code 1
       |- EngineError            model or device
       |- RewardError            a reward function
       |- CheckpointError        saving or loading a checkpoint
       |- ExportError            making, verifying or uploading an export
       `- EventLogError          the event log cannot be written

Rule for a new class: it also is the standard-library type it replaces, and it is constructed from problems, so that
every message says what, where, what was seen, what is allowed and what to type.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple, Self

from trainer import text
from trainer.text import Message, Words

_PARTS: tuple[Literal["where", "what", "fix"], ...] = ("where", "what", "fix")


class Said(NamedTuple):
    """A problem in the words of one language."""

    where: str
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" + (f"  ->  {self.fix}" if self.fix else "")


class Problem:
    """One thing that is wrong, as a key with values: Problem("spec.bound", "optim.learning_rate", seen=3, most=1).

    Its words are in trainer/text under `problem.<key>`: `what` is the rule that was broken with the value seen, `fix`
    what to type instead (none where nothing can be typed), `where` a thing such as "run {name}". place: a setting's
    key (`optim.learning_rate`) or a place (`data.jsonl:17`); it stands instead of the words' `where`.
    """

    def __init__(self, key: str, place: str = "", /, **values: Any) -> None:
        self.key, self.place, self.values = key, place, values
        self._english: Said | None = None

    @classmethod
    def plain(cls, where: str, what: str, fix: str = "") -> Self:
        """Of words that are nobody's but a library's, a person's or an older version's."""
        return cls("plain", where, what=what, fix=fix)

    def said(self, words: Words) -> Said:
        """In that language; as it was said in English where that is not possible any more."""
        where, what, fix = (words.said(self.part(name)) for name in _PARTS)
        return Said(where, what, fix)

    @property
    def where(self) -> str:
        return self.said(text.words(text.DEFAULT)).where

    @property
    def what(self) -> str:
        return self.said(text.words(text.DEFAULT)).what

    @property
    def fix(self) -> str:
        return self.said(text.words(text.DEFAULT)).fix

    def part(self, name: Literal["where", "what", "fix"]) -> Message:
        """One part of it, as a value of another text; an empty text where it has none."""
        key = f"problem.{self.key}.{name}"
        if name == "where" and self.place:
            return Message("plain.text", text=self.place)
        english = getattr(self._english, name, "")
        if not english and (self._english is not None or key not in text.words(text.DEFAULT)):
            return Message("plain.text", text="")
        message = Message(key, **self.values)
        message.english = english
        return message

    def message(self) -> Message:
        """The whole problem as one sentence: where a problem is a warning among others."""
        parts = {name: self.part(name) for name in _PARTS}
        return Message("plain.problem_with_fix" if self.fix else "plain.problem", **parts)

    def stored(self) -> dict[str, Any]:
        """As JSON, with its English: in the event log, or on its way from another process."""
        said = self.said(text.words(text.DEFAULT))
        return {**said._asdict(), "key": self.key, "place": self.place, "values": text.storable(self.values)}

    @classmethod
    def read(cls, stored: Any) -> Self:
        """What `stored` made, or {where, what, fix} of an older version."""
        found: dict[str, Any] = stored if isinstance(stored, dict) else {}
        english = Said(*(str(found.get(part) or "") for part in Said._fields))
        if not isinstance(found.get("key"), str):
            return cls.plain(*english)
        problem = cls(found["key"], str(found.get("place") or ""), **text.readable(found.get("values")))
        problem._english = english
        return problem

    def __str__(self) -> str:
        """In English: for logs and tracebacks."""
        return str(self.said(text.words(text.DEFAULT)))

    def __repr__(self) -> str:
        return f"Problem({self.key!r}, {self.place!r}, **{self.values!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Problem):
            return NotImplemented
        return (self.key, self.place, self.values) == (other.key, other.place, other.values)

    def __hash__(self) -> int:
        return hash((self.key, self.place))


class Unfit(ValueError):
    """A value that cannot be used, and why, as a message: Unfit("data.why.bytes"). Who catches it knows the place and
    makes a Problem of it; nobody is shown it alone.
    """

    def __init__(self, key: str, /, **values: Any) -> None:
        self.message = Message(key, **values)
        super().__init__(key)

    def __str__(self) -> str:
        return str(self.message)


def reason(error: BaseException) -> Message:
    """Why, to be put into a problem: the message of what is ours, a library's text as it is."""
    found = getattr(error, "message", None)
    return found if isinstance(found, Message) else Message("plain.text", text=str(error))


class TrainerError(Exception):
    """Root of the tree. `problems` holds every problem found, not only the first."""

    exit_code = 1

    def __init__(self, problems: Problem | Iterable[Problem]) -> None:
        self.problems = [problems] if isinstance(problems, Problem) else list(problems)
        super().__init__(self.problems)  # the one argument, so that pickling rebuilds it

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class InputError(TrainerError, ValueError):
    exit_code = 2


class PresetError(InputError):
    pass


class SpecError(InputError):
    pass


class PlanError(InputError):
    pass


class DataError(InputError):
    pass


class RunError(InputError):
    pass


class ExportRefused(InputError):
    pass


class WorkError(TrainerError, RuntimeError):
    pass


class EngineError(WorkError):
    pass


class RewardError(WorkError):
    pass


class CheckpointError(WorkError):
    pass


class ExportError(WorkError):
    pass


class EventLogError(WorkError):
    pass

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
       `- EventLogError          the event log can not be written

Rule for a new class: it also is the standard-library type it replaces, and it is constructed from problems, so that
every message says what, where, what was seen, what is allowed and what to type. Imports nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    where: a key (`optim.learning_rate`), a place (`data.jsonl:17`) or a thing (`run tiny-3`).
    what: the rule that was broken, with the value seen.
    fix: what to type instead; empty when nothing can be typed.
    """

    where: str
    what: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" + (f"  ->  {self.fix}" if self.fix else "")


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

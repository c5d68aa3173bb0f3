"""How an error ends a command: as lines and an exit code, or with its traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable

from trainer import launch, text
from trainer.console import printing, rows_made
from trainer.errors import Problem, TrainerError
from trainer.machine import leftovers
from trainer.machine.project import OUTPUTS_VARIABLE
from trainer.machine.regular_files import why
from trainer.run.outputs import outputs_problem
from trainer.run.rundir import outputs_dir
from trainer.text import forms


def exit_code(call: Callable[[], int]) -> int:
    """Run a command. Errors a user is meant to read become lines; any other keeps its traceback."""
    leftovers.clear()
    try:
        code = _ended(call)
    except BrokenPipeError:  # of a library: what we say never raises
        code = launch.EXIT_FAILED
    for stream in (sys.stdout, sys.stderr):
        printing.put(to=stream, end="")  # what libraries have left in them
    if lost := printing.trouble():
        _say([Problem("console.not_written", said=lost.strerror or str(lost))])
        return launch.EXIT_FAILED
    return code


def _ended(call: Callable[[], int]) -> int:
    try:
        with rows_made.told():
            return call()
    except TrainerError as error:
        _say(error.problems)
        return error.exit_code
    except BrokenPipeError:
        raise
    except OSError as error:
        wrong = outputs_problem(outputs_dir())
        if wrong is not None:
            _say([wrong])
            return launch.EXIT_INPUT
        if error.filename is None or not str(error.filename).startswith(str(outputs_dir())):
            raise  # nothing a person can fix by looking at the outputs folder
        _say([Problem("console.outputs", str(error.filename), said=why(error), variable=OUTPUTS_VARIABLE)])
        return launch.EXIT_INPUT
    except KeyboardInterrupt:
        return launch.EXIT_STOPPED


def _say(problems: Iterable[Problem]) -> None:
    words = text.here()
    for problem in problems:
        printing.put(words("console.error", said=forms.printable(str(problem.said(words)))), sys.stderr)

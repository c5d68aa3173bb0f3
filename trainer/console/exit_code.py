"""How an error ends a command: as lines and an exit code, or with its traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable

from trainer import launch, text
from trainer.errors import Problem, TrainerError
from trainer.run.rundir import OUTPUTS_VARIABLE, outputs_dir, outputs_problem
from trainer.text import forms


def exit_code(call: Callable[[], int]) -> int:
    """Run a command. Errors a user is meant to read become lines; any other keeps its traceback."""
    try:
        code = _ended(call)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # `| head` has seen enough
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except BrokenPipeError:  # what it still holds would be written, and fail, when the interpreter ends
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return launch.EXIT_FAILED


def _ended(call: Callable[[], int]) -> int:
    try:
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
        place, said = str(error.filename), error.strerror
        _say([Problem("console.outputs", place, said=said, variable=OUTPUTS_VARIABLE)])
        return launch.EXIT_INPUT
    except KeyboardInterrupt:
        return launch.EXIT_STOPPED


def _say(problems: Iterable[Problem]) -> None:
    words = text.here()
    for problem in problems:
        print(words("console.error", said=forms.printable(str(problem.said(words)))), file=sys.stderr)

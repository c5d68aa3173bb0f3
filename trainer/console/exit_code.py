"""How an error ends a command: as lines and an exit code, or with its traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from trainer import launch
from trainer.errors import TrainerError
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
        for problem in error.problems:
            print(f"error: {forms.printable(str(problem))}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        raise
    except OSError as error:
        wrong = outputs_problem(outputs_dir())
        if wrong is not None:
            print(f"error: {wrong}", file=sys.stderr)
            return launch.EXIT_INPUT
        if error.filename is None or not str(error.filename).startswith(str(outputs_dir())):
            raise  # nothing a person can mend by looking at the outputs folder
        fix = f"python -m trainer doctor, or another folder: {OUTPUTS_VARIABLE}=FOLDER"
        print(f"error: {error.filename}: {error.strerror}  ->  {fix}", file=sys.stderr)
        return launch.EXIT_INPUT
    except KeyboardInterrupt:
        return launch.EXIT_STOPPED

"""The command line of the processes that work for a run, its folder first: worker, mirror, report, answers."""

from __future__ import annotations

import argparse
from pathlib import Path

from trainer.run.rundir import RunDir


def parser(module: str, description: str) -> argparse.ArgumentParser:
    """One that takes RUN_DIR as `rundir`; without a run's folder it says how it is used and ends with exit code 2."""
    made = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    made.add_argument("rundir", type=_rundir, metavar="RUN_DIR")
    return made


def _rundir(path: str) -> RunDir:
    rundir = RunDir(Path(path))
    if not rundir.spec.is_file():
        raise argparse.ArgumentTypeError(f"{path!r} is not the folder of a run")
    return rundir

"""python -m trainer report: what a run did, in words and pictures"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.console.printing import put

if TYPE_CHECKING:
    from trainer.report.write import Form


def add(commands: Any) -> None:
    """The options carry the names that `report` takes."""
    parser = commands.add_parser(
        "report", help="what a run did, in words and pictures; with several runs, a comparison"
    )
    parser.add_argument("names", nargs="+", metavar="RUN")
    parser.add_argument("--step", type=int, metavar="N", help="the step to show up close (default: a dip, or the last)")
    parser.add_argument("--format", dest="form", choices=("html", "md"), default="html", help="default: %(default)s")
    parser.add_argument("--out", metavar="FILE|-", help="- is standard output (default: the run's report folder)")
    parser.set_defaults(call=report)


def report(names: Sequence[str], *, step: int | None, form: Form, out: str | None) -> int:
    """Write the report of a run, or the comparison of several, and say where; out "-": to standard output."""
    from trainer import launch, text
    from trainer.errors import Problem, RunError
    from trainer.report import write as reports
    from trainer.run.rundir import RunDir, outputs_dir

    if len(set(names)) < len(names):
        raise RunError(Problem("console.same_run"))
    if len(names) > 1 and step is not None:
        raise RunError(Problem("console.one_step", "--step"))
    rundirs = [RunDir.open(outputs_dir(), name) for name in names]
    if out == "-":
        if isinstance(sys.stdout, io.TextIOWrapper):  # a pipe may have an encoding without Korean, or without curves
            sys.stdout.reconfigure(encoding="utf-8")
        put(reports.text_of(rundirs, text.here().language, form, step), end="")
    else:
        put(str(reports.write(rundirs, language=None, form=form, step=step, out=Path(out) if out else None)))
    return launch.EXIT_FINISHED

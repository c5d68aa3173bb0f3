"""python -m trainer report: what a run did, in words and pictures"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainer.report.write import Form


def add(commands: Any) -> None:
    """The options carry the names that `report` takes."""
    parser = commands.add_parser(
        "report", help="what a run did, in words and pictures; with several runs, a comparison"
    )
    parser.add_argument("names", nargs="+", metavar="RUN")
    parser.add_argument("--step", type=int, metavar="N", help="the step to show up close (default: a dip, or the last)")
    parser.add_argument("--lang", metavar="en|ko", help="language (default: this machine's, else en)")
    parser.add_argument("--format", dest="form", choices=("html", "md"), default="html", help="default: %(default)s")
    parser.add_argument("--out", metavar="FILE|-", help="- is standard output (default: the run's report folder)")
    parser.set_defaults(call=report)


def report(names: Sequence[str], *, step: int | None, lang: str | None, form: Form, out: str | None) -> int:
    """Write the report of a run, or the comparison of several, and say where; out "-": to standard output."""
    from trainer import launch, text
    from trainer.errors import Problem, RunError
    from trainer.report import write as reports
    from trainer.run.rundir import RunDir, outputs_dir

    if lang is not None and lang not in text.languages():
        raise RunError(Problem.plain("--lang", f"there is no report in {lang!r}", " or ".join(text.languages())))
    if len(set(names)) < len(names):
        raise RunError(Problem.plain("report", "a run cannot be compared with itself", "different runs"))
    if len(names) > 1 and step is not None:
        raise RunError(Problem.plain("--step", "shows a step of one run", "leave it out, or name one run"))
    rundirs = [RunDir.open(outputs_dir(), name) for name in names]
    if out == "-":
        if isinstance(sys.stdout, io.TextIOWrapper):  # a pipe may have an encoding without Korean, or without curves
            sys.stdout.reconfigure(encoding="utf-8", errors="replace")
        sys.stdout.write(reports.text_of(rundirs, lang or text.here().language, form, step))
    else:
        print(reports.write(rundirs, language=lang, form=form, step=step, out=Path(out) if out else None))
    return launch.EXIT_FINISHED

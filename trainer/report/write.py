"""Reports as files: of one run or of several compared, in a language and a form; and by itself when a run has ended."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from trainer import text as texts
from trainer.errors import Problem, RunError
from trainer.machine.secrets import Redactor
from trainer.report import compare, html, markdown, material, methods, sections
from trainer.report.document import Charts, Report
from trainer.report.material import Material
from trainer.report.methods import Ran
from trainer.run.rundir import RunDir

Form = Literal["html", "md"]
FORMS: dict[Form, Callable[[Report], str]] = {"html": html.render, "md": markdown.render}


def write(
    rundirs: Sequence[RunDir],
    *,
    language: str | None = None,
    form: Form = "html",
    step: int | None = None,
    out: Path | None = None,
) -> Path:
    """The report of one run, or the comparison of several, as a file; where it lies.

    step: the one to show up close. out: instead of the report folder of the (first) run. Raises RunError for a step
    the run has not made, or a file that cannot be written.
    """
    language = language or texts.here().language
    text = text_of(rundirs, language, form, step)
    place = out or rundirs[0].report_file(language, form, step, [rundir.name for rundir in rundirs[1:]])
    try:
        _store(place, text)
    except OSError as error:
        raise RunError(Problem("report.not_written", str(place), said=error.strerror or str(error))) from error
    return place


def _store(place: Path, text: str) -> None:
    """Whole or not at all. Raises OSError."""
    if place.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(place))
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        draft.write_text(text, encoding="utf-8", errors="replace")
        draft.replace(place)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def _build(found: Sequence[Material], language: str, step: int | None) -> Report:
    if len(found) > 1:
        return compare.build(found, language)
    m = found[0]
    if step is not None and step not in m.state.steps:
        if not m.state.steps:
            raise RunError(Problem("report.no_step", "--step", run=m.name))
        nearest = min(m.state.steps, key=lambda known: abs(known - step))
        values = {"seen": step, "first": m.state.steps[0], "last": m.state.last_step, "nearest": nearest}
        raise RunError(Problem("report.other_step", "--step", run=m.name, **values))
    return sections.build(m, language, step)


def text_of(rundirs: Sequence[RunDir], language: str, form: Form, step: int | None = None) -> str:
    """The same as text, written nowhere."""
    return _rendered(_build([material.of(rundir) for rundir in rundirs], language, step), form)


def _rendered(report: Report, form: Form) -> str:
    """Reports are passed on: what is secret stays here. Taken out before a form escapes or breaks it."""
    clean = Redactor(os.environ).clean
    sections = [
        replace(section, blocks=[block if isinstance(block, Charts) else clean(block) for block in section.blocks])
        for section in report.sections
    ]
    return FORMS[form](replace(report, title=clean(report.title), subtitle=clean(report.subtitle), sections=sections))


def write_methods(found: Mapping[str, Sequence[Ran]], budget: int, language: str) -> Path:
    """The comparison of methods in every form, in the report folder of the first run; the page of it."""
    first = next(run.material.rundir for runs in found.values() for run in runs)
    assert first is not None, "it was trained here"
    folder = first.report
    for form in FORMS:
        _store(folder / f"methods.{language}.{form}", _rendered(methods.build(found, budget, language), form))
    return folder / f"methods.{language}.html"


def methods_text(found: Mapping[str, Sequence[Ran]], budget: int, language: str) -> str:
    """The same as text, written nowhere."""
    return _rendered(methods.build(found, budget, language), "md")


def after_run(rundir: RunDir) -> None:
    """Every language and form, once a run has ended. What goes wrong here is said on stderr and fails nothing:
    how the run ended is in its event log already."""
    try:
        m = material.of(rundir)
        if m.live:  # the next attempt is at work: its end is the run's
            return
        for language in texts.languages():
            report = sections.build(m, language)
            for form in FORMS:
                _store(rundir.report_file(language, form), _rendered(report, form))
    except Exception as error:  # whatever a log may hold, a report is not worth a run
        said = f"{type(error).__name__}: {error}"
        print(texts.here()("report.not_made", said=said), file=sys.stderr, flush=True)

"""Check a form and start the run it stands for. Everything a browser sends is checked here again; no gradio."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trainer import launch, preflight, presets
from trainer.data.survey import Survey
from trainer.errors import DataError, PlanError, Problem, SpecError, TrainerError
from trainer.machine import gpu
from trainer.plan import RunPlan
from trainer.plan.duration import Duration
from trainer.preflight import machine, templates
from trainer.run import outputs, rundir
from trainer.run.rundir import RunDir, outputs_dir
from trainer.spec import RunSpec
from trainer.tasks import making
from trainer.text import Message
from trainer.ui import actions, chosen_files
from trainer.ui.train import aside, rows, toml
from trainer.ui.train import form as forms
from trainer.ui.train.form import Form

SURVEY_S = 900.0  # for all rows of large files, before a run is started


@dataclass(frozen=True)
class Checked:
    """A form that was looked at: a plan, or what is wrong with it; both where only this machine does not suit it."""

    form: Form
    base: dict[str, Any]
    """The raw spec without the changes; with the recipes."""
    raw: dict[str, Any]
    """The raw spec with them."""
    spec: RunSpec | None
    plan: RunPlan | None
    problems: list[Problem]
    held_back: bool = False
    """Something is wrong that had to be right for all to be looked at: there may be more problems."""
    is_built: bool = True
    """Whether there is a spec at all, so that its rows can be read."""
    data: Survey | None = None
    """None where the rows were not, or not all, looked at."""
    is_settled: bool = False
    """Whether this machine was asked for all that a run needs, own reward functions tried, the Hub asked."""
    lasts: Duration | None = None
    """How long it will take; None where that is not known."""

    @property
    def making(self) -> Problem | None:
        """That the rows of its task are being made: nothing is wrong, the rest is looked at when they are there."""
        return next((one for one in self.problems if one.key == making.NOT_YET), None)

    @property
    def toml_name(self) -> str:
        return f"{self.form.name or self.form.stem.replace('/', '-')}.toml"

    @property
    def toml(self) -> str:
        """The settings as a file; "" while something is wrong."""
        return toml.written(self.spec, [self.command]) if self.spec else ""

    @property
    def command(self) -> str:
        """What to type to start the same run without a browser. Of a run or an upload that takes the saved TOML."""
        words = ["python", "app.py", "--headless", "--preset"]
        if self.form.kind == "preset":
            words.append(self.form.base)
            for name in self.form.recipes:
                words += ["--recipe", name]
            for change in self.form.changes:
                words += ["--set", change]
        else:
            words.append(self.toml_name)
        words += ["--name", self.form.name] if self.form.name else []
        return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)

    @property
    def next_name(self) -> str:
        return self.form.name or outputs.next_name(outputs_dir(), self.form.stem)


def check(form: Form) -> Checked:
    """Find all that can be wrong with a form; writes nothing, asks no network."""
    problems = list(_name_problems(form.name))
    try:
        base = forms.source(form)
    except TrainerError as error:
        found = [*problems, *error.problems]
        return Checked(form, {}, {}, None, None, found, held_back=True, is_built=False)
    draft = presets.draft(base.raw, form.changes, base.where)
    of_files = list(file_problems(draft.raw))
    problems += [*base.problems, *draft.problems, *of_files]
    chosen_files.used(draft.raw)
    if draft.spec is None or of_files:  # a path that is not known here is not read
        return Checked(form, base.raw, draft.raw, None, None, problems, held_back=True, is_built=False)
    data, plan, more = _planned(draft.spec)
    problems += more
    unfit = machine_problems(draft.spec, plan) if plan is not None else []
    if problems:
        return Checked(form, base.raw, draft.raw, None, None, [*problems, *unfit], held_back=plan is None, data=data)
    lasts = launch.expected_anywhere(draft.spec, plan, form.base if form.kind == "preset" else None) if plan else None
    return Checked(form, base.raw, draft.raw, draft.spec, plan, unfit, data=data, lasts=lasts)


def settle(form: Form) -> Checked:
    """The same with what takes a moment: all that is known before a model is loaded. Writes nothing; a person's reward
    functions run in a process of their own, and a model on the Hub is looked at for five seconds at most."""
    found = check(form)
    if found.spec is None or found.plan is None or found.problems:
        return replace(found, is_settled=True)
    try:
        preflight.check(found.spec, found.plan)
    except SpecError as error:
        return replace(found, problems=error.problems, is_settled=True)
    return replace(found, is_settled=True)


def machine_problems(spec: RunSpec, plan: RunPlan) -> list[Problem]:
    """What GPU, packages and main memory refuse: the part of trainer.preflight that asks no network."""
    return list(machine.problems(spec, plan, gpu.chosen() is not None))


def _planned(spec: RunSpec) -> tuple[Survey | None, RunPlan | None, list[Problem]]:
    """Rows and plan of a sound spec, and what is wrong with either."""
    data, plan, problems, odd = None, None, [], list[Message]()
    try:
        data = rows.surveyed(spec)
        odd = [*(data.warnings if data is not None else ()), *templates.inspect(spec)]
    except DataError as error:
        problems += error.problems
    try:
        plan = launch.plan_here(spec, data.rows if data is not None else None)
    except PlanError as error:
        problems += error.problems
    return data, launch.told(spec, plan, odd) if plan is not None else None, problems


def _name_problems(name: str | None) -> Iterator[Problem]:
    if name is None:
        return
    if not rundir.NAME.fullmatch(name):
        yield Problem("page.name_rule", name=name[:80], instead=outputs.next_name(outputs_dir(), name))
    elif os.path.lexists(outputs_dir() / name):
        yield Problem("page.name_taken", name=name, instead=outputs.next_name(outputs_dir(), forms.numberless(name)))


def file_problems(raw: dict[str, Any]) -> Iterator[Problem]:
    """Paths whose folder is not known, and reward code that came in through the page."""
    for key, value in forms.relative_files(raw):
        likely = forms.likely_place(value)
        if likely is not None:
            yield Problem("page.relative_found", key, path=value[:200], found=str(likely))
        else:
            yield Problem("page.relative", key, path=value[:200])
    for key, value in forms.reward_files(raw):
        if is_uploaded(value):
            yield Problem("page.uploaded_code", key)


def is_uploaded(path: str) -> bool:
    """Whether a file lies where the page keeps what browsers send."""
    try:
        return Path(path).expanduser().resolve().is_relative_to((launch.state_dir() / "page").resolve())
    except (OSError, ValueError, RuntimeError):
        return True  # a path that cannot be followed is not run either


def start(form: Form, how: str | None = None) -> RunDir:
    """Create the run and start its worker, or let it wait for its turn. Raises InputError with every problem.

    how: `beside` others or in the `queue` behind them; without it actions.Beside is raised where there are others.
    """
    checked = check(form)
    if checked.spec is None or checked.plan is None:
        raise (forms.HeldBack if checked.held_back else SpecError)(checked.problems)
    spec, plan = checked.spec, checked.plan
    others = launch.queue.beside(spec, outputs_dir())
    if others and how not in actions.HOW:
        raise actions.Beside(others)
    if checked.data is None and spec.data.path is not None:  # too large to be read while somebody typed
        plan = _counted(spec)
    run = launch.create(form.stem, spec, plan, form.name, checked.lasts)
    if how == "queue":
        launch.queue.add(run)
    else:
        actions.free_gpu()
        actions.started(launch.start(run, beside=bool(others)))
    return run


def _counted(spec: RunSpec) -> RunPlan:
    """The plan with all rows of large files read, by a process of its own. Raises TrainerError."""
    found = aside.run("survey", spec, {}, SURVEY_S)
    plan = launch.plan_here(spec, found["rows"])
    odd = [*map(Message.read, found["warnings"]), *templates.inspect(spec)]
    return launch.told(spec, plan, odd)

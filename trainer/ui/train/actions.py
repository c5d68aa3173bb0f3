"""Check a choice and start it. Everything a browser sends is checked here again; no gradio.

The words of problems that launch, presets and plan find are theirs (English).
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from trainer import launch, presets, rundir
from trainer.errors import Problem, SpecError, TrainerError
from trainer.plan import RunPlan, card
from trainer.presets import PresetInfo
from trainer.rundir import RunDir, outputs_dir
from trainer.spec import RunSpec
from trainer.ui import actions
from trainer.ui.text import Words

MOST_TEXT = 20_000  # characters of changes a browser may send

@dataclass(frozen=True)
class Checked:
    """A choice that was looked at: either a plan, or what is wrong with it."""

    preset: str
    overrides: list[str]
    name: str | None
    spec: RunSpec | None
    plan: RunPlan | None
    problems: list[Problem]

    @property
    def card(self) -> str:
        return card.render(self.spec, self.plan) if self.spec and self.plan else ""

    @property
    def command(self) -> str:
        return command(self.preset, self.overrides, self.name)


def known_presets() -> list[PresetInfo]:
    return presets.list_presets()


def preset_info(name: str | None) -> PresetInfo | None:
    return next((info for info in known_presets() if info.name == name), None)


def lines_of(text: str) -> list[str]:
    """One change a line; empty lines and comments are left out, a pasted `--set` is taken off."""
    found = [line.strip().removeprefix("--set ").strip() for line in text.splitlines()]
    return [line for line in found if line and not line.startswith("#")]


def command(preset: str, overrides: Sequence[str], name: str | None) -> str:
    """What to type to start the same run without a browser."""
    words = ["python", "app.py", "--headless", "--preset", preset]
    for override in overrides:
        words += ["--set", override]
    words += ["--name", name] if name else []
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def check(preset: str | None, text: str | None, name: str | None, words: Words) -> Checked:
    """Find all that can be wrong with a choice; writes nothing."""
    preset, text, name = preset or "", text or "", (name or "").strip() or None
    problems: list[Problem] = []
    if len(text) > MOST_TEXT:
        where, what = "problem.text_long_where", "problem.text_long"
        problems.append(Problem(words(where), words(what, most=MOST_TEXT)))
        text = ""
    overrides = lines_of(text)
    problems += _name_problems(name, words)
    spec, plan = None, None
    # presets.load would also read any .toml on this disk: a page gets only what it was offered.
    if preset_info(preset) is None:
        what = words("problem.preset_unknown", preset=repr(preset[:80]))
        problems.append(Problem(words("problem.preset"), what, words("problem.preset_fix")))
    else:
        try:
            spec, plan = launch.prepare(preset, overrides)
        except TrainerError as error:
            problems += error.problems
    return Checked(preset, overrides, name, spec, plan, problems)


def _name_problems(name: str | None, words: Words) -> list[Problem]:
    if name is None:
        return []
    where, fix = words("problem.name"), words("problem.name_fix")
    if not rundir.NAME.fullmatch(name):
        what = words("problem.name_rule", name=repr(name[:80]))
        return [Problem(where, what, rundir.next_name(outputs_dir(), name))]
    if os.path.lexists(outputs_dir() / name):
        return [Problem(where, words("problem.name_taken", name=name), fix)]
    return []


def start(preset: str | None, text: str | None, name: str | None, words: Words) -> RunDir:
    """Create the run and start its worker. Raises InputError with every problem."""
    checked = check(preset, text, name, words)
    if checked.problems or checked.spec is None or checked.plan is None:
        raise SpecError(checked.problems)
    run = launch.create(checked.preset, checked.spec, checked.plan, checked.name)
    actions.started(launch.start(run))
    return run

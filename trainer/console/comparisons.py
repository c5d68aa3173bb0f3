"""Comparisons of methods: what is asked, its runs, and the processes that train them one after the other.

    outputs/.comparisons/NAME.json    what was asked, and who is at it
    outputs/.comparisons/NAME.log     what that one printed, where a page started it
    outputs/.comparisons/lock         held from the look who is at one to the note that says so

A process (`python -m trainer compare-methods`) that was ended goes on where it was when the same is asked again: what
its runs came to is in their own folders, and nothing of it is stored a second time. Torch-free.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from trainer import launch, presets
from trainer.console.runs_there import hash_of, hash_there
from trainer.errors import Problem, RunError, SpecError
from trainer.machine import notes, spawn
from trainer.machine.json_files import read_json
from trainer.machine.process import Identity, Lock
from trainer.machine.project import OUTPUTS_VARIABLE
from trainer.plan import RunPlan
from trainer.report import material
from trainer.report import methods as compared
from trainer.report.methods import Ran
from trainer.run.outputs import COMPARISONS, comparing, has_process
from trainer.run.rundir import NAME, RunDir, outputs_dir
from trainer.run.state import state_of
from trainer.spec import RunSpec
from trainer.spec.methods import SAMPLING, SUPERVISED
from trainer.text import LANGUAGE_VARIABLE, languages, words

METHODS = ("sft", "rft", "online_rft", "dpo", "grpo")
"""Those whose runs answer the held-out rows."""
SEEDS = (1, 2, 3)
TRIES = (1, 2, 4, 8, 16)
"""k of pass@k and maj@k."""
EPOCHS = 3
"""Passes over the examples of a method that has them before its first step."""
_MOST_ERRORS = 4
_TURN_S = 10.0

Specs = Mapping[tuple[str, int], RunSpec]


@dataclass(frozen=True)
class Comparison:
    """budget: completions that each run may write. name: its runs are NAME-METHOD-SEED. specs: a hash of the settings
    of each run, in the order of `runs`; () where nobody has noted them."""

    preset: str
    methods: tuple[str, ...]
    budget: int
    seeds: tuple[int, ...]
    overrides: tuple[str, ...] = ()
    name: str = ""
    specs: tuple[str, ...] = field(default=(), compare=False)

    @property
    def runs(self) -> dict[tuple[str, int], RunDir]:
        """By method and seed, in the order in which they are trained."""
        return {(method, seed): self._run(method, seed) for method in self.methods for seed in self.seeds}

    def _run(self, method: str, seed: int) -> RunDir:
        return RunDir(outputs_dir() / f"{self.name}-{method.replace('_', '-')}-{seed}")


def asked(
    preset: str, methods: str, budget: int | None, seeds: str, overrides: Sequence[str] = (), name: str | None = None
) -> Comparison:
    """What was typed, or all that is wrong with it (TrainerError). budget None: that of a GRPO run."""
    chosen, numbers = _listed("--methods", methods), _numbers(seeds)
    spec, plan = launch.prepare(preset, [*overrides, "run.method=grpo"])
    if spec.chain is not None:
        raise SpecError([Problem("console.methods_of_stages", "--preset", preset=preset)])
    refused = [*_of_sampling(spec, chosen), *_of_rows(plan, chosen, preset)]
    least = plan.completions_per_phase * plan.phases_per_update
    if budget is None and plan.optimizer_steps is None:
        refused.append(Problem("console.budget_unknown", "--budget", preset=preset))
    if budget is not None and budget < least:
        refused.append(Problem("console.budget", "--budget", seen=budget, least=least))
    stem = name or f"compare-{Path(preset).name.removesuffix('.toml')}"
    whole = budget if budget is not None else least * (plan.optimizer_steps or 0) // plan.updates_per_phase
    one = Comparison(preset, tuple(chosen), max(whole, least), tuple(numbers), tuple(overrides), stem)
    if refused := [*refused, *_of_name(one)]:
        raise SpecError(refused)
    return one


def _of_name(one: Comparison) -> list[Problem]:
    longest = max((rundir.name for rundir in one.runs.values()), key=len)
    return [] if NAME.fullmatch(longest) else [Problem("run.bad_name", seen=longest)]


def apart(one: Comparison) -> Comparison:
    """The same under the first name of NAME, NAME-2, ... that it goes on with or nobody has: a name belongs to one
    preset, budget and settings. Raises SpecError where that is no name."""
    names = itertools.chain([one.name], (f"{one.name}-{number}" for number in itertools.count(2)))
    made = specs(one)
    found = next(each for name in names if _goes_on(each := replace(one, name=name), made))
    if refused := _of_name(found):
        raise SpecError(refused)
    return found


def _goes_on(one: Comparison, made: Specs) -> bool:
    begun = _read(file(one.name))
    if begun is not None and (begun.preset, begun.budget, begun.overrides) != (one.preset, one.budget, one.overrides):
        return False
    return not _others(one, made)


def _others(one: Comparison, made: Specs) -> list[str]:
    """Names of runs that are there, where one of its own would be, with other settings."""
    return [run.name for each, run in one.runs.items() if hash_there(run) not in (None, hash_of(made[each]))]


def _of_sampling(spec: RunSpec, methods: Sequence[str]) -> list[Problem]:
    """Settings with which more completions are written than the steps say."""
    if all(method in SUPERVISED for method in methods):
        return []
    found = []
    if spec.sampling.max_rounds > 1:
        found.append(Problem("console.budget_of_sampling", "sampling.max_rounds", key="sampling.max_rounds", plain=1))
    if spec.sampling.measures:
        found.append(Problem("console.budget_of_sampling", "sampling.measure", key="sampling.measure", plain=0))
    return found


def _of_rows(plan: RunPlan, methods: Sequence[str], preset: str) -> list[Problem]:
    """Methods that write for each row before their first step, where nobody knows how many rows there are."""
    found = [method for method in methods if method in SAMPLING]
    if plan.rows is not None or not found:
        return []
    return [Problem("console.budget_of_rows", "--methods", methods=found, preset=preset)]


def settings(one: Comparison, method: str, seed: int) -> list[str]:
    """What is typed over the preset for one run."""
    return _typed(one, method, seed, _plan(one))


def specs(one: Comparison) -> Specs:
    """What its runs are made with, without the checks of what they need."""
    plan = _plan(one)
    return {each: presets.load(one.preset, _typed(one, *each, plan)) for each in one.runs}


def _plan(one: Comparison) -> RunPlan:
    return launch.prepare(one.preset, [*one.overrides, "run.method=grpo"])[1]


def _typed(one: Comparison, method: str, seed: int, plan: RunPlan) -> list[str]:
    changes = [*one.overrides, f"run.method={method}", f"run.seed={seed}", f"eval.pass_at={list(TRIES)}"]
    changes += ["eval.at_start=true", "eval.at_end=true", f"eval.samples={max(TRIES)}", "eval.eval_steps="]
    changes += ["log.rollouts=true"]  # what was written is counted
    if method not in SUPERVISED:
        steps = one.budget // plan.completions_per_phase * plan.updates_per_phase // plan.phases_per_update
        return [*changes, f"optim.max_steps={steps}"]
    changes += ["optim.max_steps=", f"optim.num_train_epochs={EPOCHS}"]
    if method not in SAMPLING:
        return changes
    assert plan.rows is not None, "asked for"
    group = min(1024, max(2, one.budget // plan.rows))
    rows = min(plan.rows, max(1, one.budget // group))
    return [*changes, f"generation.num_generations={group}", f"data.max_rows={rows}"]


def sampled(rundir: RunDir) -> int:
    """Completions that a run wrote to learn from."""
    state = state_of(rundir)
    written = [int(event.completions) for event in state.rollouts if event.completions is not None]
    first = [int(alert.values["of"]) for alert in state.alerts if alert.key in ("examples_rft", "examples_dpo")]
    return sum(written) + max(first, default=0)


def came_to(one: Comparison) -> dict[str, list[Ran]]:
    """What its runs that have finished came to, by method. One that could not learn is left out."""
    found: dict[str, list[Ran]] = {method: [] for method in one.methods}
    for (method, seed), rundir in own(one).items():
        if launch.status_of(rundir) == "finished":
            ran = compared.ran(material.of(rundir), sampled(rundir), seed)
            found[method] += [ran] if ran is not None else []
    return found


def own(one: Comparison) -> dict[tuple[str, int], RunDir]:
    """Its runs that are there, without those of the same name that have other settings."""
    there = {each: (rundir, hash_there(rundir)) for each, rundir in one.runs.items()}
    noted = dict(zip(one.runs, one.specs, strict=True)) if one.specs else {}
    return {
        each: rundir for each, (rundir, seen) in there.items() if seen is not None and noted.get(each, seen) == seen
    }


def _listed(flag: str, typed: str) -> list[str]:
    """Raises SpecError for a method that is none, or one twice."""
    found = [part.strip() for part in typed.split(",") if part.strip()]
    unknown = [name for name in found if name not in METHODS]
    if unknown or not found or len(set(found)) < len(found):
        raise SpecError([Problem("console.methods", flag, seen=unknown or typed, known=", ".join(METHODS))])
    return found


def _numbers(typed: str) -> list[int]:
    """Raises SpecError for what is no number."""
    try:
        found = [int(part) for part in typed.split(",")]
    except ValueError:
        found = []
    if not found or len(set(found)) < len(found) or min(found) < 0:
        raise SpecError([Problem("console.seeds", "--seeds", seen=typed)])
    return found


# ---- processes


def note(one: Comparison, made: Specs) -> None:
    """This process is at it, for whoever looks. made: the settings of its runs.

    Raises RunError where another process is at it, or one of its runs is there with other settings; the note stays as
    it was then.
    """
    mine = Identity.mine()
    with _turn(one.name):
        # A virtual environment's python.exe starts another: then the page has noted the parent.
        if at_work(one.name) and notes.process(file(one.name)) not in (mine, Identity.of(os.getppid())):
            raise RunError(Problem("console.compared_already", name=one.name))
        if others := _others(one, made):
            raise RunError(Problem("console.other_run", "--name", name=others[0]))
        noted = replace(one, specs=tuple(hash_of(made[each]) for each in one.runs))
        notes.write(file(one.name), mine, **asdict(noted))


@contextmanager
def _turn(name: str) -> Iterator[None]:
    """Between a look who is at it and the note that says so nobody else looks."""
    with Lock(outputs_dir() / COMPARISONS / "lock") as lock:
        if not lock.take(f"pid {os.getpid()}", _TURN_S):
            raise RunError(Problem("console.compared_already", name=name))
        yield


def file(name: str) -> Path:
    return outputs_dir() / COMPARISONS / f"{name}.json"


def log(name: str) -> Path:
    return file(name).with_suffix(".log")


def start(one: Comparison, language: str) -> subprocess.Popen[bytes]:
    """The process that trains what is not there yet. Raises RunError where one is at this or another comparison.
    language: of its output."""
    arguments = ["trainer", "compare-methods", "--preset", one.preset, "--methods", ",".join(one.methods)]
    arguments += ["--budget", str(one.budget), "--seeds", ",".join(map(str, one.seeds)), "--name", one.name]
    for override in one.overrides:
        arguments += ["--set", override]
    environment = {**os.environ, OUTPUTS_VARIABLE: str(outputs_dir()), LANGUAGE_VARIABLE: language}
    with _turn(one.name):
        for name in comparing(outputs_dir()):
            raise RunError(Problem("console.compared_already", name=name))
        place, said = file(one.name), asdict(one)
        return spawn.detached(arguments, log(one.name), environment, append=False, note=place, noted=said)


def stop(name: str) -> None:
    """Ask the process to let its run save and end, and to end. Raises RunError where none is at it."""
    identity = notes.process(file(name))
    if identity is None or not identity.send(signal.SIGTERM):
        raise RunError(Problem("console.not_compared", name=name))


def forget(name: str) -> None:
    """Not shown any more; its runs stay. Raises RunError while a process is at it."""
    if at_work(name):
        raise RunError(Problem("console.compared_already", name=name))
    for path in (file(name), log(name)):
        path.unlink(missing_ok=True)


def at_work(name: str) -> bool:
    return has_process(file(name))


def found(name: str) -> Comparison:
    """Raises RunError where there is none of that name."""
    one = _read(file(name)) if re.fullmatch(NAME, name) else None
    if one is None:
        raise RunError(Problem("console.not_compared", name=name))
    return one


def known() -> list[Comparison]:
    """Those that were begun here, the newest first."""
    try:
        paths = sorted((outputs_dir() / COMPARISONS).glob("*.json"), key=lambda path: -path.stat().st_mtime)
    except OSError:
        return []
    return [one for one in map(_read, paths) if one is not None]


def _read(path: Path) -> Comparison | None:
    """None for what is no note of this version."""
    stored: dict[str, Any] = read_json(path) or {}
    lists = [stored.get(key) for key in ("methods", "seeds", "overrides")]
    if not all(isinstance(each, list) for each in lists) or not isinstance(stored.get("budget"), int):
        return None
    methods, seeds, overrides = (tuple(each or ()) for each in lists)
    fit = all(each in METHODS for each in methods) and all(isinstance(each, int) for each in seeds)
    if not fit or not all(isinstance(each, str) for each in overrides):
        return None
    if not methods or not seeds or len({*methods}) < len(methods) or len({*seeds}) < len(seeds):
        return None
    made = stored.get("specs")
    hashes = tuple(map(str, made)) if isinstance(made, list) and len(made) == len(methods) * len(seeds) else ()
    return Comparison(str(stored.get("preset")), methods, stored["budget"], seeds, overrides, path.stem, hashes)


def last_errors(name: str) -> list[str]:
    """Why the process ended before its runs had, as it printed that."""
    try:
        text = log(name).read_text("utf-8", "replace")
    except OSError:
        return []
    begin = tuple(words(language)("console.error", said="") for language in languages())
    return [line for line in text.splitlines() if line.startswith(begin)][-_MOST_ERRORS:]

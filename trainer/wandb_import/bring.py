"""An exported W&B history -> outputs/<run>/, as if the run had been made here, but for what is not known of it.

events.jsonl gets run_started with `imported`, the plan as far as it is known, the steps, the evaluations, each at the
time it happened where the history has times. There is no last event: how the run ended is not known. Groups hold only
what a run of ours sent to W&B: `train/reward_std` is one thing in one version of TRL and another in the next, so no
spread inside groups is made of it. Torch-free; writes the run directory and nothing else.
"""

from __future__ import annotations

import itertools
import shutil
import time as clock
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from trainer import plan as planning
from trainer.errors import DataError, InputError, PlanError, Problem
from trainer.machine import environment
from trainer.machine.gpu_models import NAMES, gpu_model_named
from trainer.plan import RunPlan
from trainer.presets.explain import nearest
from trainer.run.events import EventWriter
from trainer.run.outputs import next_name
from trainer.run.records import EvalEvent, Origin, PlanEvent, RunStartedEvent, StepEvent
from trainer.run.rundir import RunDir, outputs_dir
from trainer.text import Message
from trainer.wandb_import import exported_files, history, settings
from trainer.wandb_import.history import Evaluation, History, LoggedStep
from trainer.wandb_import.settings import KnownSettings

Found = TypeVar("Found")


@dataclass(frozen=True)
class Imported:
    """What was made, for the person who asked. ignored: {kind: how many}, the kinds those of `wandb_import.ignored` in
    trainer/text."""

    rundir: RunDir
    training: History
    run: str | None
    known: list[str]
    ignored: dict[str, int]
    notes: list[Message]


def bring(
    paths: Sequence[Path],
    *,
    name: str | None = None,
    preset: str | None = None,
    overrides: Sequence[str] = (),
    config_file: Path | None = None,
    run: str | None = None,
    gpu: str | None = None,
) -> Imported:
    """Make the run directory. Raises InputError with every problem; then nothing was written.

    preset, config_file: where the settings come from; one of them, or none. run: which run of a chart of several.
    gpu: the card it ran on, as trainer.machine.gpu_models knows it.
    """
    problems = _gpu_problems(gpu)
    if preset is not None and config_file is not None:
        problems.append(Problem("wandb_import.two_settings", "--config"))
    read = _collected(lambda: exported_files.read(paths, run), problems)
    told = history.training(read.rows) if read else None
    if told is not None and not told.useful:
        problems.append(_no_metrics(paths, read.rows if read else []))
    title = f"W&B: {read.run if read and read.run else paths[0].stem}"
    settings = _collected(lambda: _settings(preset, overrides, config_file, title, told), problems)
    if problems or read is None or told is None or settings is None:
        raise DataError(problems)
    card = gpu_model_named(gpu)
    plan, notes = _plan(settings, card.name if card else None)
    numbers = [step.number for step in told.steps]
    if told.counted_by != exported_files.GLOBAL_STEP and any(b - a != 1 for a, b in itertools.pairwise(numbers)):
        values = {"column": told.counted_by, "step": exported_files.GLOBAL_STEP}
        notes.append(Message("wandb_import.counts_calls", **values))
    if settings.refused:
        told.ignored["config"] = settings.refused
    ignored = {what: count for what, count in sorted((read.ignored + told.ignored).items()) if count}
    outputs = outputs_dir()
    env = {"imported_on": environment.describe()}  # not the machine it ran on
    stem = name or next_name(outputs, read.run or paths[0].stem)
    rundir = RunDir.create(outputs, stem, settings.spec, cast(RunPlan, plan), env)
    imported = Origin(
        source="wandb",
        files=[path.name for path in paths],
        known=settings.known,
        run=read.run,
        gpu=card.name if card else None,
        ignored=dict(ignored),
        counted_by=told.counted_by,
    )
    try:
        _write(rundir, told, imported, plan)
    except BaseException:
        shutil.rmtree(rundir.path, ignore_errors=True)
        raise
    return Imported(rundir, told, read.run, settings.known, ignored, notes)


def _collected(call: Callable[[], Found], problems: list[Problem]) -> Found | None:
    try:
        return call()
    except InputError as error:
        problems += error.problems
        return None


def _gpu_problems(gpu: str | None) -> list[Problem]:
    if gpu is None or gpu_model_named(gpu) is not None:
        return []
    short = {name.removeprefix("RTX "): name for name in NAMES}
    close = [short.get(name, name) for name in nearest(gpu, [*short, *NAMES], count=3)]
    key = "wandb_import.gpu_near" if close else "wandb_import.gpu"
    return [Problem(key, "--gpu", seen=gpu, known=list(dict.fromkeys(close or NAMES)))]


def _no_metrics(paths: Sequence[Path], rows: Sequence[exported_files.ExportedRow]) -> Problem:
    names = list(dict.fromkeys(name for row in rows for name in row.numbers))
    files = ", ".join(path.name for path in paths)
    if not names:
        return Problem("wandb_import.no_numbers", files)
    close = [f"train/{found}" for name in names for found in nearest(name.rpartition("/")[2], history.TRL_NAMES)]
    seen = exported_files.quoted(names)
    if not close:
        return Problem("wandb_import.no_metric", files, seen=seen)
    return Problem("wandb_import.no_metric_near", files, seen=seen, near=list(dict.fromkeys(close)))


def _settings(
    preset: str | None, overrides: Sequence[str], config_file: Path | None, title: str, told: History | None
) -> KnownSettings:
    if preset is not None:
        return settings.of_preset(preset, overrides)
    head, tail = "train/rewards/", "/mean"
    logged = told.metrics if told else []
    rewards = [name[len(head) : -len(tail)] for name in logged if name.startswith(head) and name.endswith(tail)]
    return settings.of_config(config_file, overrides, title, rewards)


def _plan(settings: KnownSettings, gpu: str | None) -> tuple[dict[str, Any], list[Message]]:
    """The plan as far as it is known: of a batch that is not, nothing is computed. And what is to be said."""
    if settings.batch_known:
        try:
            made = planning.make(settings.spec, rows=None, gpu_name=gpu)
        except PlanError as error:
            # Another version of TRL counted the batch in prompts: what was possible there may not be here.
            return {"gpu_name": gpu}, [
                Message("wandb_import.no_plan", problem=problem.message()) for problem in error.problems
            ]
        return made.model_dump(mode="json"), []
    return {"gpu_name": gpu}, []


def _write(rundir: RunDir, told: History, imported: Origin, plan: dict[str, Any]) -> None:
    moment = _Moment(told)
    with EventWriter(rundir.events, 1, clock=moment) as events:
        events.emit(RunStartedEvent(resumed_from_step=0, skipped=[], imported=imported))
        events.emit(PlanEvent(plan=plan))
        everything: list[LoggedStep | Evaluation] = [*told.steps, *told.evals]
        for happened in sorted(everything, key=_place):
            moment.at(happened.time)
            if isinstance(happened, Evaluation):
                at = "during" if happened.step else "before"
                events.emit(EvalEvent(at=at, step=happened.step, **happened.fields))
            else:
                events.emit(
                    StepEvent(
                        step=happened.number,
                        epoch=happened.epoch,
                        seconds=happened.seconds,
                        metrics=dict(happened.metrics),
                        groups=dict(happened.groups),
                        tokens=happened.tokens,
                    )
                )


def _place(happened: LoggedStep | Evaluation) -> tuple[int, bool]:
    """An evaluation comes after its step."""
    return (happened.step, True) if isinstance(happened, Evaluation) else (happened.number, False)


class _Moment:
    """The clock of the events: when a thing happened, and for want of that when the one before it did."""

    def __init__(self, told: History) -> None:
        self.now = told.began if told.began is not None else clock.time()

    def at(self, time: float | None) -> None:
        self.now = max(time, self.now) if time is not None else self.now

    def __call__(self) -> float:
        return self.now

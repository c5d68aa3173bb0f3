"""Rows of a W&B history -> the steps and evaluations of a training. Pure functions.

The rule, for what transformers and TRL log (transformers 5.17, TRL 1.14, wandb 0.31):

- Every call of wandb.log is a row with a `_step` of its own. Metrics of a step (train/...), each profiled call and each
  evaluation are rows of their own, so a step of the training is several rows.
- The row with train/ metrics and train/global_step ends a step and says which. Rows before it without train/ metrics
  were logged during that step and belong to it, whatever train/global_step they have: W&B fills in the one before
  (`define_metric("*", step_metric="train/global_step", step_sync=True)`).
- Profiled seconds of one step are summed; of every other value the last one counts, also of a step logged twice.
- Steps that are evenly apart (logging_steps above 1): profiled seconds are divided by the distance. Unevenly apart
  (run.history() keeps 500 rows): they cannot be placed and are left out.
- Rows with eval/ alone are an evaluation; what was profiled before one was profiled in it.
- Without train/global_step a step is the `_step` of its row. Without train/ metrics every row is of the step it names.
- A chart over train/global_step shows what was profiled one step early, for the reason above, which its points before
  the first step give away: it is moved back. Of several calls in a step a chart keeps the last.

Names without a prefix that TRL has get train/ or eval/ in front. What our own mirror sends (trainer.mirrors: group/...,
time/step_seconds, eval/global_step) means there what it means here. Knows nothing about files.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from trainer.wandb_import.exported_files import GLOBAL_STEP, ExportedRow

PROFILED = "profiling/Time taken: "
OURS = f"{PROFILED}CustomGRPOTrainer."  # the class whose seconds reports read
_SECONDS = ("time/step_seconds", f"{OURS}step", f"{OURS}training_step", "train/step_time")
_CLASS = re.compile(re.escape(PROFILED) + r"[^.]+\.")
_EPOCH = "train/epoch"
_EVAL_STEP = "eval/global_step"
_EVAL_FIELDS = {
    "reward": "reward",
    "correct_frac": "correct_frac",
    "rows": "rows",
    "seconds": "seconds",
    "runtime": "seconds",
}
_GROUPS = {"group/std": "group_std"} | {
    f"group/{name}": name
    for name in ("batch_std", "dead_frac", "all_right_frac", "all_wrong_frac", "constant_frac", "truncated_frac")
}
# What GRPOTrainer of TRL 0.14 to 1.14 and transformers' Trainer log, before the callback of W&B puts train/ there.
TRL_NAMES = (
    "reward", "reward_std", "frac_reward_zero_std", "loss", "policy_loss", "grad_norm", "learning_rate", "epoch", "kl",
    "entropy", "num_tokens", "step_time", "completion_length", "clip_ratio", "cispo_clip_ratio", "entropy_coef",
    "aux_loss",
)  # fmt: skip
_TRL_GROUPS = ("rewards/", "completions/", "clip_ratio/", "sampling/", "tools/", "vespo/")


@dataclass
class LoggedStep:
    """One step. seconds and time (unix seconds) are None where the history does not say them."""

    number: int
    metrics: dict[str, float] = field(default_factory=dict)
    seconds: float | None = None
    time: float | None = None
    epoch: float | None = None
    tokens: int | None = None
    groups: dict[str, float] = field(default_factory=dict)
    profiled: dict[str, float] = field(default_factory=dict)
    """Sums of the rows before its own."""
    began: ExportedRow | None = None
    """The row the step before ended with."""
    ended: ExportedRow | None = None
    over: int | None = None
    """Steps of the training that were logged as this one; None where that is not known."""


@dataclass
class Evaluation:
    """fields: as the event `eval` has them, components too."""

    step: int
    fields: dict[str, Any]
    time: float | None


@dataclass
class History:
    """What a history tells. counted_by: the column that said the step."""

    steps: list[LoggedStep]
    evals: list[Evaluation]
    counted_by: str
    ignored: Counter[str]
    began: float | None = None
    """When the run began, unix seconds; None where the history has no times."""

    @property
    def useful(self) -> bool:
        """Is there anything of a training in it?"""
        return bool(self.evals) or any(name.startswith(("train/", PROFILED)) for name in self.metrics)

    @property
    def metrics(self) -> list[str]:
        return sorted({name for step in self.steps for name in step.metrics})


def training(rows: Sequence[ExportedRow]) -> History:
    """The steps of the rows; none when there is no metric of a training in them."""
    named = [_named(row) for row in rows]
    counted_by = GLOBAL_STEP if any(row.step is not None for row in named) else "_step"
    reading = _Reading(counted_by == GLOBAL_STEP, any(_trained(row) for row in named))
    for row in _moved_back(named):
        reading.take(row)
    reading.ignored["after_last"] += len(reading.pending)
    steps = [reading.steps[number] for number in sorted(reading.steps)]
    _place_profiled(steps, reading)
    for step in steps:
        _finish(step)
    evals = [reading.evaluation(number) for number in sorted(reading.evals)]
    return History([step for step in steps if step.metrics], evals, counted_by, +reading.ignored, _began(rows))


def _began(rows: Sequence[ExportedRow]) -> float | None:
    first = next((row for row in rows if row.time is not None), None)
    return first.time - (first.runtime or 0.0) if first is not None and first.time is not None else None


def named(name: str) -> str:
    """The name a metric has in W&B when transformers logs it."""
    if name.startswith("eval_"):
        return f"eval/{name[5:]}"
    return f"train/{name}" if name in TRL_NAMES or name.startswith(_TRL_GROUPS) else name


def _named(row: ExportedRow) -> ExportedRow:
    numbers = {named(name): value for name, value in row.numbers.items()}
    return ExportedRow(numbers, row.order, row.step, row.time, row.runtime, row.panel)


def _trained(row: ExportedRow) -> bool:
    """Has it metrics of a step? An evaluation has train/epoch as well."""
    return any(name.startswith("train/") and name != _EPOCH for name in row.numbers)


def _moved_back(rows: list[ExportedRow]) -> Iterable[ExportedRow]:
    """Rows of charts over train/global_step with what was profiled after the row of the step before its own."""
    shown = [row for row in rows if row.panel and row.order is None]
    first = next((row.step for row in shown if _trained(row)), None)
    early = [row for row in shown if any(name.startswith(PROFILED) for name in row.numbers)]
    if first is None or not early or (early[0].step or 0) >= first:
        return rows
    found = []
    for row in rows:
        late = {name: value for name, value in row.numbers.items() if name.startswith(PROFILED)}
        rest = {name: value for name, value in row.numbers.items() if name not in late}
        found += [ExportedRow(rest, row.order, row.step, row.time, row.runtime, row.panel)] if rest else []
        found += [ExportedRow(late, row.order, row.step, row.time, row.runtime)] if late else []
    return found


class _Reading:
    """Takes rows in the order they were logged in."""

    def __init__(self, by_trainer: bool, trained: bool) -> None:
        self.by_trainer = by_trainer
        self.trained = trained
        self.steps: dict[int, LoggedStep] = {}
        self.evals: dict[int, dict[str, float]] = {}
        self.eval_times: dict[int, float | None] = {}
        self.ignored: Counter[str] = Counter()
        self.pending: dict[str, float] = {}
        self._newest: ExportedRow | None = None
        self._last = -1

    def take(self, row: ExportedRow) -> None:
        number = self._number(row)
        values = {name: value for name, value in row.numbers.items() if not name.startswith("eval/")}
        evaluated = {name: value for name, value in row.numbers.items() if name.startswith("eval/")}
        at = int(evaluated.pop(_EVAL_STEP)) if _EVAL_STEP in evaluated else number
        stands = _trained(row) or (not self.trained and bool(values)) or (row.panel and row.order is None)
        if evaluated and at is not None:
            self.evals.setdefault(at, {}).update(evaluated)
            self.eval_times[at] = row.time
            self._newest = row
        if evaluated and not stands:
            self.ignored["in_evaluations"] += len(self.pending)
            self.pending.clear()
        elif number is None or not stands:
            self._wait(values)
        elif values:
            self._end(number, row, values)

    def _number(self, row: ExportedRow) -> int | None:
        found = row.step if self.by_trainer else row.order
        if found is None or found < 0 or found != int(found):
            return None
        return int(found)

    def evaluation(self, step: int) -> Evaluation:
        fields: dict[str, Any] = {}
        components = {}
        for name, value in self.evals[step].items():
            inner = name.removeprefix("eval/")
            if inner in _EVAL_FIELDS:
                fields[_EVAL_FIELDS[inner]] = value
            elif inner.startswith("rewards/") and inner.endswith("/mean"):
                components[inner[len("rewards/") : -len("/mean")]] = value
            else:
                self.ignored["of_evaluations"] += 1
        return Evaluation(step, fields | {"components": components}, self.eval_times[step])

    def _wait(self, values: dict[str, float]) -> None:
        for name, value in values.items():
            if name.startswith(PROFILED):
                self.pending[name] = self.pending.get(name, 0.0) + value
            elif name != _EPOCH:
                self.pending[name] = value

    def _end(self, number: int, row: ExportedRow, values: dict[str, float]) -> None:
        """The step ends with this row, or it is a further word on the step that ended last."""
        step = self.steps.setdefault(number, LoggedStep(number))
        if not self.trained and number == self._last:  # seconds alone: several calls of one step
            for name, value in values.items():
                step.metrics[name] = value + (step.metrics.get(name, 0.0) if name.startswith(PROFILED) else 0.0)
            return
        twice = values.keys() & step.metrics.keys()
        self.ignored["twice"] += len(twice)
        if number < self._last or twice:  # after a resume: what was profiled since the newest row is of two steps
            self.ignored["around_resume"] += len(self.pending)
            self.pending.clear()
            step.began, step.ended = None, row
        elif number > self._last:
            step.profiled = {name: value for name, value in self.pending.items() if name.startswith(PROFILED)}
            step.metrics |= {name: value for name, value in self.pending.items() if name not in step.profiled}
            step.began, step.ended = self._newest, row
            self.pending.clear()
        step.metrics |= values
        step.time = row.time if row.time is not None else step.time
        self._last, self._newest = number, row


def _place_profiled(steps: Sequence[LoggedStep], reading: _Reading) -> None:
    """Give every step the seconds that were profiled in it."""
    gaps = {later.number - earlier.number for earlier, later in itertools.pairwise(steps)} or {1}
    apart = next(iter(gaps)) if len(gaps) == 1 else None
    before = None
    for step in steps:
        gap = step.number - before if before is not None else min(step.number, apart or step.number)
        if not reading.by_trainer:  # W&B counts rows, and all of them are there
            step.over = 1 if apart is not None else None
            step.metrics = step.profiled | step.metrics
        elif gap in (1, apart):
            step.over = gap
            step.metrics = {name: value / gap for name, value in step.profiled.items()} | step.metrics
        else:
            reading.ignored["left_out_steps"] += len(step.profiled)
        before = step.number


def _finish(step: LoggedStep) -> None:
    for name in [name for name in step.metrics if _CLASS.match(name)]:
        step.metrics.setdefault(_CLASS.sub(OURS, name, count=1), step.metrics[name])
    step.groups = {ours: step.metrics.pop(name) for name, ours in _GROUPS.items() if name in step.metrics}
    step.epoch = step.metrics.pop(_EPOCH, None)
    tokens = step.metrics.get("train/num_tokens")
    step.tokens = int(tokens) if tokens is not None else None
    said = next((step.metrics[name] for name in _SECONDS if name in step.metrics), None)
    step.seconds = said if said is not None else _between(step)


def _between(step: LoggedStep) -> float | None:
    """Seconds since the step before it ended, where both rows say when and the steps follow each other."""
    if step.began is None or step.ended is None or step.over is None:
        return None
    for then, now in ((step.began.runtime, step.ended.runtime), (step.began.time, step.ended.time)):
        if then is not None and now is not None and now >= then:
            return (now - then) / step.over
    return None

"""Events -> one row of numbers a step, in order, each once: what a service that only takes growing steps can be told.

Steps that a resume makes again were sent by the attempt before and are left out; a row that was taken back before it
was sent is never sent. Pure: no clock, no service. May import trainer.run.records.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from trainer.run.records import (
    EvalEvent,
    Event,
    GpuEvent,
    HeartbeatEvent,
    RolloutsEvent,
    RunStartedEvent,
    SampledScores,
    SpanEvent,
    StepEvent,
)

GLOBAL_STEP = "train/global_step"
EVAL_STEP = "eval/global_step"
HOLD_S = 5.0  # spans, rollouts and an evaluation of the step follow its event; a step may take half an hour
_GROUPS = {
    "group_std": "group/std",
    "batch_std": "group/batch_std",
    "dead_frac": "group/dead_frac",
    "all_right_frac": "group/all_right_frac",
    "all_wrong_frac": "group/all_wrong_frac",
    "constant_frac": "group/constant_frac",
    "truncated_frac": "group/truncated_frac",
    "same_text_frac": "group/same_text_frac",
}
_READINGS = {
    "rss_gib": "memory/rss_gib",
    "peak_gib": "memory/peak_gib",
    "used_gib": "memory/gpu_used_gib",
    "utilization_frac": "memory/gpu_utilization_frac",
}


@dataclass
class MetricRow:
    """What belongs to one step. rollouts: its completions are in the run's folder."""

    step: int
    values: dict[str, Any] = field(default_factory=dict)
    rollouts: bool = False
    stepped: bool = False
    evaluated: bool = False
    last: bool = False
    t: float = 0.0


class Rows:
    """Collects rows. `take` every event of the log in order, then `ready` gives what can be sent.

    attempt: nothing is sent before its run_started said which steps of the attempts before stand. sent: the newest step
    that a service has, -1 for none. eval_steps: how often an evaluation follows a step.
    """

    def __init__(self, attempt: int, sent: int = -1, eval_steps: int | None = None) -> None:
        self.attempt, self.sent, self.eval_steps = attempt, sent, eval_steps
        self.begun = False
        self.again = 0
        """Steps that were made again and not sent again."""
        self.late: dict[str, Any] = {}
        """Evaluations whose step was sent before they were there; they go with the next row."""
        self._rows: dict[int, MetricRow] = {}
        self._readings: dict[str, float] = {}
        self._tokens: float = 0
        self._without_eval: set[int] = set()  # sent by this object

    def take(self, event: Event) -> None:
        if isinstance(event, RunStartedEvent):
            self._start(event)
        elif isinstance(event, GpuEvent):
            self._read({"used_gib": event.used_gib, "utilization_frac": event.utilization_frac})
        elif isinstance(event, HeartbeatEvent):
            self._read({"rss_gib": event.rss_gib, "peak_gib": event.peak_gib})
        elif isinstance(event, StepEvent):
            self._step(event)
        elif isinstance(event, EvalEvent):
            self._eval(event)
        elif isinstance(event, SpanEvent) and event.step > self.sent:
            self._row(event).values.update(_spans(event))
        elif isinstance(event, RolloutsEvent) and event.step > self.sent:
            self._row(event).rollouts = True

    def ready(self, now: float, ended: bool = False) -> Iterator[MetricRow]:
        """Rows to send, the earlier first; they are forgotten. now: unix seconds. ended: nothing more will come."""
        if not self.begun:
            return
        last = max(self._rows, default=0)
        for step in sorted(self._rows):
            row = self._rows[step]
            newest = step == last
            if newest and not ended and (now - row.t < HOLD_S or self._awaited(row)):
                return
            if newest and not row.stepped and step > 0 and not ended:
                return  # under way
            del self._rows[step]
            if not row.stepped and step > 0:
                continue  # it failed, or was killed: the next attempt makes it
            row.values |= {GLOBAL_STEP: step, **self.late}
            self.late = {}
            self.sent = step
            if not row.evaluated:
                self._without_eval.add(step)
            yield row

    def _row(self, event: StepEvent | EvalEvent | SpanEvent | RolloutsEvent) -> MetricRow:
        row = self._rows.setdefault(event.step, MetricRow(event.step))
        row.t = max(row.t, event.t)
        return row

    def _awaited(self, row: MetricRow) -> bool:
        """Is an evaluation of that step still to come?"""
        due = row.last or bool(self.eval_steps and row.step and row.step % self.eval_steps == 0)
        return due and not row.evaluated

    def _start(self, event: RunStartedEvent) -> None:
        kept = event.resumed_from_step or 0
        for step in [step for step in self._rows if step > kept or kept == 0]:
            del self._rows[step]
        self.begun = self.begun or event.attempt == self.attempt
        self._readings.clear()

    def _read(self, found: dict[str, float | None]) -> None:
        for name, value in found.items():
            if value is not None:
                key = _READINGS[name]
                self._readings[key] = max(value, self._readings.get(key, value))

    def _step(self, event: StepEvent) -> None:
        before, self._tokens = self._tokens, event.tokens or self._tokens
        if event.step <= self.sent:
            self.again += self.begun
            return
        row = self._row(event)
        row.stepped, row.last = True, event.step == event.of
        row.values |= {name: value for name, value in (event.metrics or {}).items() if _is_number(value)}
        groups = event.groups or {}
        row.values |= {key: groups[name] for name, key in _GROUPS.items() if _is_number(groups.get(name))}
        row.values |= self._readings
        self._readings = {}
        if event.epoch is not None:
            row.values.setdefault("train/epoch", event.epoch)
        if event.seconds is not None and event.seconds > 0:
            row.values["time/step_seconds"] = event.seconds
            if self._tokens > before:
                row.values["time/tokens_per_s"] = (self._tokens - before) / event.seconds

    def _eval(self, event: EvalEvent) -> None:
        if event.step > self.sent:
            row = self._row(event)
            row.evaluated = True
            row.values |= _evaluation(event)
        elif event.step in self._without_eval:
            self.late |= _evaluation(event)


def _spans(event: SpanEvent) -> dict[str, float]:
    """Seconds of the step in each span itself, without the spans inside it: they add up to the step."""
    totals: dict[str, float] = {}
    for span in event.spans or ():
        if span.self_s is not None:
            key = f"time/{span.name}"
            totals[key] = totals.get(key, 0.0) + span.self_s
    return totals


def _evaluation(event: EvalEvent) -> dict[str, Any]:
    parts: dict[str, Any] = {f"eval/{name}": value for name, value in (event.components or {}).items()}
    parts |= {
        "eval/reward": event.reward,
        "eval/correct_frac": event.correct_frac,
        "eval/pairs": event.pairs,
        "eval/correlation": event.correlation,
        "eval/rows": event.rows,
        "eval/seconds": event.seconds,
        "eval/failed": event.failed,
    }
    sampled = event.sampled or SampledScores()
    for shares, word in ((sampled.pass_at, "pass"), (sampled.maj_at, "maj")):
        parts |= {f"eval/{word}@{count}": share for count, share in shares.items()}
    parts["eval/groups_all_right_frac"] = sampled.all_right_frac
    parts["eval/groups_all_wrong_frac"] = sampled.all_wrong_frac
    found = {name: value for name, value in parts.items() if _is_number(value)}
    return {**found, "eval/at": event.at, EVAL_STEP: event.step}


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)

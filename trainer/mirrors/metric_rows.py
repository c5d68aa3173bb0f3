"""Events -> one row of numbers a step, in order, each once: what a service that only takes growing steps can be told.

Steps that a resume makes again were sent by the attempt before and are left out; a row that was taken back before it
was sent is never sent. Pure: no clock, no service. May import trainer.run.events.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from trainer.run.events import Event

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
        self._tokens = 0
        self._without_eval: set[int] = set()  # sent by this object

    def take(self, event: Event) -> None:
        kind, step = event["kind"], event.get("step")
        if kind == "run_started":
            self._start(event)
        elif kind in ("gpu", "heartbeat"):
            self._read(event)
        elif not isinstance(step, int):
            return
        elif kind == "step":
            self._step(step, event)
        elif kind == "eval":
            self._eval(step, event)
        elif step > self.sent and kind == "span":
            self._row(step, event).values.update(_spans(event))
        elif step > self.sent and kind == "rollouts":
            self._row(step, event).rollouts = True

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

    def _row(self, step: int, event: Event) -> MetricRow:
        row = self._rows.setdefault(step, MetricRow(step))
        row.t = max(row.t, event["t"])
        return row

    def _awaited(self, row: MetricRow) -> bool:
        """Is an evaluation of that step still to come?"""
        due = row.last or bool(self.eval_steps and row.step and row.step % self.eval_steps == 0)
        return due and not row.evaluated

    def _start(self, event: Event) -> None:
        kept = int(event.get("resumed_from_step") or 0)
        for step in [step for step in self._rows if step > kept or kept == 0]:
            del self._rows[step]
        self.begun = self.begun or event["attempt"] == self.attempt
        self._readings.clear()

    def _read(self, event: Event) -> None:
        for name, key in _READINGS.items():
            value = event.get(name)
            if _is_number(value):
                self._readings[key] = max(value, self._readings.get(key, value))

    def _step(self, step: int, event: Event) -> None:
        before, self._tokens = self._tokens, event.get("tokens") or self._tokens
        if step <= self.sent:
            self.again += self.begun
            return
        row = self._row(step, event)
        row.stepped, row.last = True, step == event.get("of")
        row.values |= {name: value for name, value in (event.get("metrics") or {}).items() if _is_number(value)}
        groups = event.get("groups") or {}
        row.values |= {key: groups[name] for name, key in _GROUPS.items() if _is_number(groups.get(name))}
        row.values |= self._readings
        self._readings = {}
        if _is_number(event.get("epoch")):
            row.values.setdefault("train/epoch", event["epoch"])
        seconds = event.get("seconds")
        if _is_number(seconds) and seconds > 0:
            row.values["time/step_seconds"] = seconds
            if self._tokens > before:
                row.values["time/tokens_per_s"] = (self._tokens - before) / seconds

    def _eval(self, step: int, event: Event) -> None:
        if step > self.sent:
            row = self._row(step, event)
            row.evaluated = True
            row.values |= _evaluation(step, event)
        elif step in self._without_eval:
            self.late |= _evaluation(step, event)


def _spans(event: Event) -> dict[str, float]:
    """Seconds of the step in each span itself, without the spans inside it: they add up to the step."""
    totals: dict[str, float] = {}
    for span in event.get("spans") or []:
        if isinstance(span, dict) and _is_number(span.get("self_s")):
            key = f"time/{span.get('name')}"
            totals[key] = totals.get(key, 0.0) + span["self_s"]
    return totals


def _evaluation(step: int, event: Event) -> dict[str, Any]:
    parts = {f"eval/{name}": value for name, value in (event.get("components") or {}).items()}
    names = ("reward", "correct_frac", "rows", "seconds", "failed")
    parts |= {f"eval/{name}": event[name] for name in names if name in event}
    sampled = event.get("sampled") or {}
    for key, word in (("pass_at", "pass"), ("maj_at", "maj")):
        parts |= {f"eval/{word}@{count}": share for count, share in (sampled.get(key) or {}).items()}
    for key in ("all_right_frac", "all_wrong_frac"):
        parts[f"eval/groups_{key}"] = sampled.get(key)
    found = {name: value for name, value in parts.items() if _is_number(value)}
    return {**found, "eval/at": str(event.get("at")), EVAL_STEP: step}


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)

"""From the trainer to the event log: steps, spans, rollouts, checkpoints, and when a run must not go on."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from trainer.errors import Problem, WorkError
from trainer.grpo.spans import Span
from trainer.machine.regular_files import why
from trainer.run import checkpoints, rollouts
from trainer.run.best import find_best
from trainer.run.events import EventReader, EventWriter
from trainer.run.records import (
    AlertEvent,
    CheckpointEvent,
    EvalEvent,
    PlanEvent,
    RolloutsEvent,
    RunStartedEvent,
    SpanEvent,
    SpanSeconds,
    StepEvent,
)
from trainer.run.rollouts import FELL, SAME_TEXT, Batch, advantage_stats, group_stats, groups
from trainer.run.rundir import RunDir
from trainer.run.state import PROFILED, RunState, fold
from trainer.spec import RunSpec
from trainer.text import Message

WARMUP_STEPS = 2  # the first steps of a process are slower: allocations, compilation, caches
DEAD_STEPS = 10  # steps in a row without any gradient after which the user is told
NOT_METRICS = {"epoch"}


class BestStep:
    """Step of the best checkpoint as far as it is known now: it is the last to be deleted.

    Of the event log only what is new is read, and only what the best follows from is kept: it grows with every step.
    """

    def __init__(self, rundir: RunDir) -> None:
        self.rundir = rundir
        self._log = EventReader(rundir.events)
        self._state = RunState()

    def __call__(self) -> int | None:
        for event in self._log.read():
            # A resume takes evaluations back; the plan says whether the judge is the same for all of them.
            if isinstance(event, RunStartedEvent | EvalEvent | PlanEvent):
                fold(self._state, event)
        found = find_best(self.rundir, self._state)
        return found.step if found else None


class RunObserver:
    """Writes what CustomGRPOTrainer tells (trainer.grpo.trainer.Observer)."""

    def __init__(
        self,
        rundir: RunDir,
        events: EventWriter,
        spec: RunSpec,
        steps: int,
        evaluate: Callable[[str, int], None],
        saved: Callable[[int, Path], None],
        manifest: dict[str, Any],
    ) -> None:
        self.rundir = rundir
        self.events = events
        self.spec = spec
        self.steps = steps
        self.evaluate = evaluate
        self.saved = saved
        self.manifest = manifest
        self.best_step = BestStep(rundir)
        self.tokens = 0
        self.last_step = 0
        self._first_step: int | None = None
        self._groups: list[dict[str, Any]] = []  # of the newest generation
        self._again: list[float] = []  # advantages of what it trains on beside them
        self._groups_step = 0
        self._dead_steps = 0
        self._earned: float | None = None  # mean reward of the best step with a gradient
        self._failed_rows: Counter[str] = Counter()  # by component

    def rollouts(self, step: int, batch: Batch) -> None:
        """Write a generation batch to rollouts/step_N.jsonl; several batches of one step share the file."""
        again = step == self._groups_step
        lines = groups(batch, self.spec.generation.num_generations, len(self._groups) if again else 0)
        self._groups = [*self._groups, *lines] if again else lines
        self._again = [*self._again, *batch.again] if again else [*batch.again]
        self._groups_step = step
        self._watch_failures(step, batch)
        if not self.spec.log.rollouts:
            return
        path = self.rundir.rollouts_file(step)
        rollouts.write(path, step, lines, more=again)
        completions = sum(len(line["completions"]) for line in self._groups)
        self.events.emit(RolloutsEvent(step=step, file=path.name, groups=len(self._groups), completions=completions))

    def step(self, step: int, logs: dict[str, Any], spans: list[Span]) -> None:
        """Write the step event and its spans; then evaluate if it is time. Raises WorkError on a broken loss."""
        self.last_step = step
        self._first_step = step if self._first_step is None else self._first_step
        seconds = sum(span.total_s for span in spans if span.name == "step")
        self.tokens = int(logs.get("num_tokens") or self.tokens)
        metrics = {f"train/{key}": value for key, value in logs.items() if key not in NOT_METRICS and value is not None}
        stats = group_stats(self._groups) if self._groups else None
        advantages = advantage_stats(self._groups, self._again) if self._groups else {}
        self.events.emit(
            StepEvent(
                step=step,
                of=self.steps,
                epoch=logs.get("epoch"),
                seconds=seconds,
                metrics=metrics | advantages | profile(spans),
                groups=stats,
                tokens=self.tokens,
            )
        )
        warmup = step - self._first_step < WARMUP_STEPS
        self.events.emit(_seconds(step, spans, warmup))
        refuse_broken(step, logs)
        if stats is not None:
            self._watch_signal(step, stats)
        every = self.spec.eval.eval_steps
        if every and step % every == 0 and step < self.steps:
            self.evaluate("during", step)

    def failed_step(self, spans: list[Span]) -> None:
        """Write where a step was when it failed; nothing when no step was under way."""
        if spans:
            self.events.emit(_seconds(self.last_step + 1, spans, warmup=False))

    def checkpoint(self, step: int, staged: Path) -> None:
        """Publish a staged checkpoint, say so, delete the oldest beyond save_total_limit, then tell `saved`."""
        started = time.perf_counter()
        with checkpoints.saving(self.rundir.checkpoints, staged.name):
            published = checkpoints.publish(staged, self.rundir.checkpoints, self.manifest | {"step": step})
        size, seconds = checkpoints.size(published.path), time.perf_counter() - started
        self.events.emit(
            CheckpointEvent(step=step, name=published.path.name, bytes=size, seconds=seconds, verified=True)
        )
        self._rotate()
        self.saved(step, published.path)

    def _rotate(self) -> None:
        """What cannot be deleted costs room and nothing else: the run goes on, and says so."""
        try:
            checkpoints.rotate(self.rundir.checkpoints, self.spec.checkpoint.save_total_limit, self.best_step())
        except OSError as error:
            self.events.emit(AlertEvent.of("warn", "not_deleted", file=str(error.filename), said=why(error)))

    def _watch_failures(self, step: int, batch: Batch) -> None:
        """Say that rows could not be judged: the first time, and each time ten times as many have come together."""
        found: dict[str, list[int]] = {}
        for row, failed in enumerate(batch.failures):
            for name in failed:
                found.setdefault(name, []).append(row)
        for name, rows in found.items():
            before = self._failed_rows[name]
            self._failed_rows[name] += len(rows)
            if before and len(str(self._failed_rows[name])) == len(str(before)):
                continue
            counted = "counts_zero" if self.spec.reward.on_error == "zero" else "no_reward"
            self.events.emit(
                AlertEvent.of(
                    "warn",
                    "reward_failed",
                    name=name,
                    count=len(rows),
                    of=len(batch.rewards),
                    step=step,
                    total=self._failed_rows[name],
                    effect=Message(f"alert.reward_failed.{counted}"),
                    reasons=_reasons([batch.failures[row][name] for row in rows]),
                )
            )

    def _watch_signal(self, step: int, stats: dict[str, float]) -> None:
        dead = stats["dead_frac"] == 1.0 and not any(self._again)
        self._dead_steps = self._dead_steps + 1 if dead else 0
        earned = [line["reward_mean"] for line in self._groups if line["reward_mean"] is not None]
        mean = sum(earned) / len(earned) if earned else None
        if mean is not None and not self._dead_steps:
            self._earned = mean if self._earned is None else max(mean, self._earned)
        if self._dead_steps != DEAD_STEPS:
            return
        fell = mean is not None and self._earned is not None and self._earned - mean > FELL * abs(self._earned)
        if fell and stats["same_text_frac"] >= SAME_TEXT and stats["all_right_frac"] < SAME_TEXT:
            rate = self.spec.optim.learning_rate
            values = {"same": stats["same_text_frac"], "before": self._earned, "now": mean, "rate": rate}
            self.events.emit(AlertEvent.of("warn", "collapsed", steps=DEAD_STEPS, **values))
        else:
            shares = {"right": stats["all_right_frac"], "wrong": stats["all_wrong_frac"]}
            self.events.emit(AlertEvent.of("warn", "no_gradient", steps=DEAD_STEPS, **shares))


def _reasons(reasons: list[Message]) -> list[Message]:
    """The most common ones, with how often each was met."""
    common = Counter(reasons).most_common(3)
    if len(common) == 1:
        return [Message("alert.reward_failed.reason", said=common[0][0])]
    return [Message("alert.reward_failed.reason_of", said=said, count=count) for said, count in common]


def _seconds(step: int, spans: list[Span], warmup: bool) -> SpanEvent:
    return SpanEvent(step=step, spans=[SpanSeconds(**asdict(span)) for span in spans], warmup=warmup)


def profile(spans: list[Span]) -> dict[str, float]:
    """Seconds of the step per span under TRL's profiling names (sum over the calls of a step)."""
    totals: dict[str, float] = {}
    for span in spans:
        totals[PROFILED + span.name] = totals.get(PROFILED + span.name, 0.0) + span.total_s
    return totals


def refuse_broken(step: int, logs: dict[str, Any]) -> None:
    """Stop before weights that are not numbers are saved: the last good checkpoint stays the newest."""
    for key in ("loss", "grad_norm"):
        value = logs.get(key)
        if value is not None and not math.isfinite(float(value)):
            raise WorkError(Problem("worker.diverged", step=step, name=key, value=value))

"""Events -> RunState: what a run has done so far, as columns every view can draw.

`fold` takes one event at a time; a tick costs the same however long the run is. A resumed
attempt takes back everything newer than its checkpoint: no step is doubled, none is missing.
Torch-free.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from trainer.errors import RunError
from trainer.run.columns import Column, Table
from trainer.run.events import EventReader
from trainer.run.records import (
    AlertEvent,
    CheckpointEvent,
    EndEvent,
    EvalEvent,
    Event,
    GpuEvent,
    HeartbeatEvent,
    Number,
    PhaseEvent,
    PlanEvent,
    RolloutsEvent,
    RunFailedEvent,
    RunFinishedEvent,
    RunStartedEvent,
    SpanEvent,
    StepEvent,
)
from trainer.run.rundir import RunDir

PROFILED = "profiling/Time taken: CustomGRPOTrainer."
"""TRL's own head of the metrics with seconds of a step (trl/extras/profiling.py)."""


@dataclass
class RunState:
    """All a reader needs. Columns are aligned with `steps`; None where a step did not report."""

    attempts: int = 0
    """Newest attempt that wrote an event."""
    started: RunStartedEvent | None = None
    """run_started of the newest attempt."""
    final: EndEvent | None = None
    """run_finished, run_paused, run_stopped or run_failed of the newest attempt."""
    plan: dict[str, Any] | None = None
    """The plan as the worker found it, rows counted exactly."""
    data: dict[str, Any] | None = None
    """What was found out about the rows: how many, dropped, cut, fingerprints."""
    trained: PlanEvent | None = None
    """What really trains: engine, device, dtype, trainer_class, trainer_bases."""
    open_phases: list[str] = field(default_factory=list)
    """What the worker is doing, the outer before the inner."""
    phases: list[PhaseEvent] = field(default_factory=list)
    """Finished phases with their seconds."""
    steps: list[int] = field(default_factory=list)
    steps_total: int | None = None
    metrics: Table = field(default_factory=Table)
    groups: Table = field(default_factory=Table)
    seconds: Column = field(default_factory=Column)
    epochs: Column = field(default_factory=Column)
    tokens_at: Column = field(default_factory=Column)
    """Cumulative tokens after each step."""
    self_s: Table = field(default_factory=Table)
    """{span: seconds of a step inside it and in none of its children}: together they are the step's."""
    memory: Table = field(default_factory=Table)
    """Newest readings when a step ended: rss_gib, used_gib and utilization_frac of the GPU."""
    warmup: set[int] = field(default_factory=set)
    """First steps of an attempt: slower, because memory is allocated and code compiled."""
    rollouts: list[RolloutsEvent] = field(default_factory=list)
    checkpoints: list[CheckpointEvent] = field(default_factory=list)
    evals: list[EvalEvent] = field(default_factory=list)
    alerts: list[AlertEvent] = field(default_factory=list)
    resumes: list[RunStartedEvent] = field(default_factory=list)
    """run_started of every attempt that continued a checkpoint."""
    heartbeat: HeartbeatEvent | None = None
    gpu: GpuEvent | None = None
    peak_memory_gib: float | None = None
    train_seconds: float = 0.0
    """Spent in training steps by all attempts, those that a resume took back included."""
    attempt_t: dict[int, tuple[float, float]] = field(default_factory=dict)
    """Time of the first and the newest event of each attempt, unix seconds."""
    retries: int = 0
    """How often a step was too large for the GPU and the run went on with a smaller micro-batch."""
    skipped: int = 0
    """Lines of the log that were no event."""
    not_text: int = 0
    """Those of them that hold bytes which are not UTF-8."""

    @property
    def phase(self) -> str:
        """The innermost phase; "" between phases."""
        return self.open_phases[-1] if self.open_phases else ""

    @property
    def last_step(self) -> int:
        """Newest finished step; 0 before the first."""
        return self.steps[-1] if self.steps else 0

    @property
    def tokens(self) -> int | None:
        return next((int(count) for count in reversed(self.tokens_at) if count is not None), None)


def fold(state: RunState, event: Event) -> None:
    """Take one event into the state."""
    attempt = event.attempt
    first = state.attempt_t.get(attempt, (event.t, 0.0))[0]
    state.attempt_t[attempt] = (first, event.t)
    state.attempts = max(state.attempts, attempt)
    if isinstance(event, StepEvent):  # the most frequent kinds first
        _step(state, event)
    elif isinstance(event, SpanEvent):
        _spans(state, event)
    elif isinstance(event, HeartbeatEvent):
        state.heartbeat = event
        _peak(state, event.peak_gib)
    elif isinstance(event, GpuEvent):
        state.gpu = event
    elif isinstance(event, RolloutsEvent):
        state.rollouts.append(event)
    else:
        _seldom(state, event)


def _seldom(state: RunState, event: Event) -> None:
    if isinstance(event, RunStartedEvent):
        _start(state, event)
    elif isinstance(event, PlanEvent):
        state.plan, state.data, state.trained = event.plan, event.data, event
    elif isinstance(event, PhaseEvent):
        _phase(state, event)
    elif isinstance(event, CheckpointEvent):
        state.checkpoints.append(event)
    elif isinstance(event, EvalEvent):
        state.evals.append(event)
    elif isinstance(event, AlertEvent):
        state.alerts.append(event)
    elif isinstance(event, EndEvent):
        _end(state, event)


def _start(state: RunState, event: RunStartedEvent) -> None:
    state.started, state.final = event, None
    state.open_phases.clear()
    kept = event.resumed_from_step or 0
    if kept or event.resumed_from:
        state.resumes.append(event)
    _take_back(state, kept)


def _take_back(state: RunState, kept: int) -> None:
    """Forget everything newer than step `kept`: the attempt that begins does it again."""
    _cut_columns(state, kept)
    state.rollouts[:] = [event for event in state.rollouts if event.step <= kept]
    state.checkpoints[:] = [event for event in state.checkpoints if event.step <= kept]
    state.evals[:] = [event for event in state.evals if event.step <= kept]
    if kept == 0:  # also what was measured before the first step is measured again
        state.evals.clear()


def _cut_columns(state: RunState, kept: int) -> None:
    if not state.steps or state.steps[-1] <= kept:
        return
    while state.steps and state.steps[-1] > kept:
        state.warmup.discard(state.steps.pop())
    for table in (state.metrics, state.groups, state.self_s, state.memory):
        table.cut(len(state.steps))
    for column in (state.seconds, state.epochs, state.tokens_at):
        column.cut(len(state.steps))


def _step(state: RunState, event: StepEvent) -> None:
    _cut_columns(state, event.step - 1)  # said twice: the later word counts
    state.steps_total = state.steps_total if event.of is None else event.of
    state.metrics.append(event.metrics)
    state.groups.append(event.groups)
    state.self_s.append(None)  # its spans come in the next event
    state.memory.append(_readings(state))
    state.steps.append(event.step)
    state.seconds.append(event.seconds)
    state.epochs.append(event.epoch)
    state.tokens_at.append(event.tokens)
    state.train_seconds += event.seconds or 0.0


def _spans(state: RunState, event: SpanEvent) -> None:
    """Seconds of the newest step; those of a step that failed belong to none."""
    if not state.steps or event.step != state.steps[-1]:
        return
    if event.warmup:
        state.warmup.add(state.steps[-1])
    amounts: dict[str, float] = {}
    for span in event.spans or ():
        amounts[span.name] = amounts.get(span.name, 0.0) + (span.self_s or 0.0)
    state.self_s.add(amounts)


def _readings(state: RunState) -> dict[str, Number | None]:
    found = {"rss_gib": state.heartbeat.rss_gib if state.heartbeat else None}
    if state.gpu:
        found["used_gib"], found["utilization_frac"] = state.gpu.used_gib, state.gpu.utilization_frac
    return found


def _phase(state: RunState, event: PhaseEvent) -> None:
    if event.state == "start":
        state.open_phases.append(event.name)
    else:
        state.phases.append(event)
        if event.name in state.open_phases:  # and whatever was inside it
            del state.open_phases[state.open_phases.index(event.name) :]


def _end(state: RunState, event: EndEvent) -> None:
    state.final = event
    state.open_phases.clear()
    if isinstance(event, RunFailedEvent):
        state.retries += bool(event.retry)
    elif isinstance(event, RunFinishedEvent):
        _peak(state, event.peak_memory_gib)


def _peak(state: RunState, seen: float | None) -> None:
    if seen is not None:
        state.peak_memory_gib = max(seen, state.peak_memory_gib or 0.0)


class RunFollower:
    """Folds a growing log, a tick at a time. Reading raises RunError where the log cannot be read."""

    def __init__(self, rundir: RunDir) -> None:
        self.rundir = rundir
        self.state = RunState()
        self._reader = EventReader(rundir.events)

    def read(self) -> list[Event]:
        """Events that are new since the last call; the state holds them already."""
        events: list[Event] = []
        self._fold(events.append)
        return events

    def tick(self) -> RunState:
        """The state with all that is new; the events themselves are not kept."""
        self._fold(None)
        return self.state

    def _fold(self, keep: Callable[[Event], None] | None) -> None:
        try:
            for event in self._reader.stream():
                fold(self.state, event)
                if keep is not None:
                    keep(event)
        except OSError as error:
            raise RunError(self.rundir.unreadable(error, self.rundir.events)) from error
        self.state.skipped, self.state.not_text = self._reader.skipped, self._reader.not_text


def state_of(rundir: RunDir) -> RunState:
    """The state from the whole log, once."""
    return RunFollower(rundir).tick()

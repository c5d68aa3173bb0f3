"""What a line of events.jsonl says: one record a kind, written and read as such (trainer.run.events).

A field is in the line as it is here, `kind` beside it; what is None is not written. Lines of other versions are read
too: a field this version does not know is passed over, one that is missing has its default. A number may be missing
from any line, because one that is not finite is never written; only what a record means nothing without has no default.
Inside free-form objects (metrics, components, plan, ...) anything may stand: what is no number there counts as None.

Free of what the numbers mean. A new kind: a record here, added to KINDS; docs/events.md names it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple, Self

import msgspec

from trainer.errors import Problem
from trainer.text import Message, Words, storable

Whole = Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)]  # an integer of hundreds of digits is no number of ours
Number = Whole | float
Level = Literal["info", "warn", "error"]


class Record(msgspec.Struct, kw_only=True, gc=False):
    """An object of an event, or the event itself. Cannot be part of a cycle: gc=False spares the collector the look."""


class Event(Record, tag_field="kind"):
    """A line. t: unix seconds; attempt: of the run, from 1; both are the writer's to say.

    dropped, shortened: where the writer had to change something. Paths of non-finite numbers; names of fields, or lists
    without their end, of a line that was too long; paths of strings.
    """

    t: float = math.nan
    attempt: Whole = -1
    dropped: tuple[str, ...] = msgspec.field(name="_dropped", default=())
    shortened: tuple[str, ...] = msgspec.field(name="_shortened", default=())

    @property
    def kind(self) -> str:
        return str(self.__struct_config__.tag)


class Skipped(Record):
    """A checkpoint that did not verify. reason: why, a message as it is stored; text in older lines."""

    checkpoint: str = ""
    reason: str | dict[str, Any] = ""


class Origin(Record):
    """Where a run that was made elsewhere comes from (trainer.wandb_import).

    source: "wandb". files: names. known: section.key of the settings of spec.json that are known, the others are
    placeholders. run: its name there. gpu: name. ignored: what, how many. counted_by: the column that said the step.
    """

    source: str = msgspec.field(name="from", default="")
    files: list[str] = []
    known: list[str] = []
    run: str | None = None
    gpu: str | None = None
    ignored: dict[str, Number] = {}
    counted_by: str | None = None


class RunStartedEvent(Event, tag="run_started"):
    """pid, pid_started (kernel start ticks), boot_id: the worker's process. folder, folder_id: path and file number of
    the run's folder (trainer.machine.notes): in a copy of the run they are another's. resumed_from_step: 0 for a fresh
    run.

    resumed_from: name of a checkpoint. extended_from: steps that were planned until now, where more were asked for
    since. imported: of a run that was made elsewhere; it has no process, and no last event.
    """

    pid: Whole | None = None
    pid_started: str | Whole | None = None
    boot_id: str | None = None
    folder: str | None = None
    folder_id: str | None = None
    resumed_from_step: Whole | None = None
    resumed_from: str | None = None
    skipped: list[Skipped] | None = None
    extended_from: Whole | None = None
    imported: Origin | None = None


class PlanEvent(Event, tag="plan"):
    """Once the rows are known exactly. plan: the RunPlan; data: its report (rows, dropped, cut, fingerprint, ...).

    why: this engine, a message as it is stored; text in older lines.
    """

    plan: dict[str, Any] | None = None
    data: dict[str, Any] | None = None
    engine: str | None = None
    device: str | None = None
    dtype: str | None = None
    why: str | dict[str, Any] | None = None
    trainer_class: str | None = None
    trainer_bases: list[str] | None = None


class PhaseEvent(Event, tag="phase"):
    """name: load | warm_start | data | rewards | policy_probe | eval | train | memory_probe, pass_rates, samples,
    held_out_samples (inside train; the last in eval where that comes first).
    state: start | end.

    seconds: at its end only.
    """

    name: str = ""
    state: str = ""
    seconds: Number | None = None
    detail: str | None = None


class StepEvent(Event, tag="step", kw_only=True):
    """A finished optimizer step. of: steps planned. metrics: {W&B name: number}. tokens: cumulative.

    groups: count, dead_frac, all_right_frac, all_wrong_frac, constant_frac, group_std, batch_std, truncated_frac,
    same_text_frac.
    """

    step: Whole
    of: Whole | None = None
    epoch: Number | None = None
    seconds: Number | None = None
    metrics: dict[str, Any] | None = None
    groups: dict[str, Any] | None = None
    tokens: Number | None = None


class SpanSeconds(Record):
    """All calls of one name under one parent within a step (trainer.grpo.spans.Span)."""

    name: str = ""
    parent: str | None = None
    calls: Whole | None = None
    total_s: Number | None = None
    self_s: Number | None = None
    ok: bool | None = None


class SpanEvent(Event, tag="span", kw_only=True):
    """Where a step's seconds went. warmup: one of the first steps of its process."""

    step: Whole
    spans: list[SpanSeconds] | None = None
    warmup: bool | None = None


class GpuEvent(Event, tag="gpu"):
    """A reading; no such event without a GPU."""

    used_gib: Number | None = None
    total_gib: Number | None = None
    utilization_frac: Number | None = None


class RolloutsEvent(Event, tag="rollouts", kw_only=True):
    """file: name in rollouts/."""

    step: Whole
    file: str | None = None
    groups: Whole | None = None
    completions: Whole | None = None


class CheckpointEvent(Event, tag="checkpoint", kw_only=True):
    """name: of the folder. bytes: of its files."""

    step: Whole
    name: str | None = None
    bytes: Number | None = None
    seconds: Number | None = None
    verified: bool | None = None


class SampledScores(Record):
    """With eval.pass_at. pass_at, maj_at: {k: share}. all_right_frac, all_wrong_frac: expected groups of `group`."""

    pass_at: dict[str, Any] = {}
    maj_at: dict[str, Any] = {}
    all_right_frac: Number | None = None
    all_wrong_frac: Number | None = None
    rows: Number | None = None
    samples: Number | None = None
    group: Number | None = None
    failed: Number | None = None


class EvalEvent(Event, tag="eval", kw_only=True):
    """at: before | during | after. components: {name: mean}. reward_std: over the rows. failed: answers that could not
    be judged, None for none.

    Of a reward model, which writes nothing: correct_frac is the share of `pairs` completions of one row that it orders
    as the rewards do, correlation Spearman's of its scores with the rewards; there is no reward.
    """

    step: Whole
    at: str = ""
    reward: Number | None = None
    correct_frac: Number | None = None
    components: dict[str, Any] | None = None
    rows: Number | None = None
    reward_std: Number | None = None
    seconds: Number | None = None
    sampled: SampledScores | None = None
    failed: Number | None = None
    pairs: Number | None = None
    correlation: Number | None = None


class SaidAlert(NamedTuple):
    """An alert in the words of one language."""

    title: str
    text: str

    def __str__(self) -> str:
        return f"{self.title}: {self.text}"


class AlertEvent(Event, tag="alert"):
    """key: of the words under `alert.` in trainer/text, values: what is put into them; "" in lines of older versions.

    title, text: the same in English, for other tools. generation_gib, update_gib: what older versions wrote of a memory
    probe; now they are values.
    """

    level: str = "info"
    key: str = ""
    values: dict[str, Any] = {}
    title: str = ""
    text: str = ""
    generation_gib: Number | None = None
    update_gib: Number | None = None

    @classmethod
    def of(cls, level: Level, key: str, /, **values: Any) -> Self:
        title, text = Message(f"alert.{key}.title", **values), Message(f"alert.{key}.text", **values)
        return cls(level=level, key=key, values=storable(values), title=str(title), text=str(text))

    def said(self, words: Words) -> SaidAlert:
        """In that language; as it was said in English where that is not possible any more."""
        return SaidAlert(words.said(self._part("title", self.title)), words.said(self.message()))

    def level_said(self, words: Words) -> str:
        """info, warn or error in that language; a level this version does not know as it is."""
        key = f"run.alert_level.{self.level}"
        return words(key) if key in words else self.level

    def message(self) -> Message:
        """Its text, to be said in whichever language it is read in."""
        return self._part("text", self.text)

    def _part(self, part: str, english: str) -> Message:
        if not self.key:
            return Message.read(english)
        return Message.read({"key": f"alert.{self.key}.{part}", "values": self.values, "text": english or self.key})


class HeartbeatEvent(Event, tag="heartbeat"):
    """peak_gib: peak resident or GPU memory of the worker."""

    step: Whole | None = None
    rss_gib: Number | None = None
    peak_gib: Number | None = None


class EndEvent(Event):
    """The last event of an attempt."""

    step: Whole | None = None


class RunFinishedEvent(EndEvent, tag="run_finished"):
    seconds: Number | None = None
    tokens: Number | None = None
    peak_memory_gib: Number | None = None


class EndedOnRequestEvent(EndEvent):
    """checkpoint: the newest. reason: SIGTERM | SIGINT | request | time."""

    seconds: Number | None = None
    checkpoint: str | None = None
    reason: str | None = None


class RunStoppedEvent(EndedOnRequestEvent, tag="run_stopped"):
    pass


class RunPausedEvent(EndedOnRequestEvent, tag="run_paused"):
    """It ended on request, to be continued."""


class RunFailedEvent(EndEvent, tag="run_failed"):
    """error: class name. problems: as trainer.errors.Problem stores them. retry: out of memory, and the next attempt
    is on its way."""

    error: str | None = None
    problems: list[Any] | None = None
    traceback_tail: Any = None
    exit_code: Whole | None = None
    retry: bool | None = None

    def reasons(self) -> list[Problem]:
        """Why, at least one."""
        found = [Problem.read(problem) for problem in self.problems or [] if isinstance(problem, dict)]
        return found or [Problem("run.failed_at", str(self.error), step=self.step)]


KINDS: Mapping[str, type[Event]] = {
    str(record.__struct_config__.tag): record
    for record in (
        RunStartedEvent, PlanEvent, PhaseEvent, StepEvent, SpanEvent, GpuEvent, RolloutsEvent, CheckpointEvent,
        EvalEvent, AlertEvent, HeartbeatEvent, RunPausedEvent, RunFinishedEvent, RunStoppedEvent, RunFailedEvent,
    )
}  # fmt: skip

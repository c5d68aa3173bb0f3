"""How long a run will take on this machine: from runs that took as long here, from the preset's own figure, else
estimated (trainer.plan.duration). Torch-free; reads the ends of a few event logs."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from trainer import presets
from trainer.errors import TrainerError
from trainer.launch.preparation import plan_here
from trainer.machine import environment, gpu
from trainer.machine.gpu import GPU
from trainer.machine.gpu_models import gpu_model_named
from trainer.machine.json_files import read_json
from trainer.machine.speed import cpu_speed
from trainer.plan import RunPlan, batch_of, duration
from trainer.plan.checks import next_whole
from trainer.plan.duration import Duration, Processor
from trainer.plan.estimate import Machine, runs_on_gpu
from trainer.run.events import EventReader
from trainer.run.records import CheckpointEvent, EvalEvent, Event, RunFinishedEvent, StepEvent
from trainer.run.rundir import RunDir, list_runs, outputs_dir
from trainer.run.state import PROFILED
from trainer.spec import RunSpec
from trainer.text import Message

MOST_ALIKE = 3  # runs with the same settings
MOST_RUNS = 30  # the newest ones that are looked at
_TAIL_BYTES = 1 << 18
_RECENT, _LEAST = 20, 3  # steps the pace is taken from
REWARDS = f"{PROFILED}_calculate_rewards"
_CORES = re.compile(r"\d+")


@dataclass(frozen=True)
class Pauses:
    """Seconds of a checkpoint and of an evaluation, between two steps; 0 where neither was measured."""

    save_s: float = 0.0
    eval_s: float = 0.0

    def total_s(self, spec: RunSpec, plan_save_steps: int, steps: int | None) -> float:
        """Of a run of so many steps; the last checkpoint is always written."""
        if not steps:
            return 0.0
        evals = int(spec.eval.at_start) + int(spec.eval.at_end)
        evals += (steps - 1) // spec.eval.eval_steps if spec.eval.eval_steps else 0
        saves = -(-steps // plan_save_steps)
        return saves * self.save_s + (evals * self.eval_s if spec.data.has_held_out_rows else 0.0)


@dataclass(frozen=True)
class Sample:
    """What a step took, and the rest of that run beside its pauses; None where that is not known."""

    spec: RunSpec
    step_s: float
    rewards_s: float
    """Of the step: it goes with the completions, whatever the model; 0 where it was not measured."""
    pauses: Pauses
    other_s: float | None
    exact: str
    """Key of the words where a step is the same as the one that is asked for, and where it only is of the same kind."""
    scaled: str
    said: tuple[tuple[str, object], ...]


def expected(spec: RunSpec, plan: RunPlan, preset: str | None = None) -> Duration | None:
    """The time of a run here, from the best that is known; None where nothing is. preset: asked first."""
    machine = Machine(plan.gpu_total_gib, environment.ram_gib(), environment.package_version("unsloth") is not None)
    card = gpu.chosen() if runs_on_gpu(spec, machine) else None
    on = _processor(spec, card, runs_on_gpu(spec, machine))
    batch = batch_of(spec, plan.rows)
    rounds = spec.sampling.max_rounds
    counted, most = (duration.step_seconds(spec, batch, machine, on, times) if on else None for times in (1, rounds))
    # The newest first; near: with what it says of a step of this one, and of one with all rounds.
    exact, near = list[Sample](), list[tuple[Sample, float, float]]()
    for sample in _samples(preset, card):
        if duration.alike(spec, sample.spec):
            exact.append(sample)
            if len(exact) == MOST_ALIKE:
                break
        elif not near and on is not None and counted and most and duration.same_kind(spec, sample.spec):
            other_batch = batch_of(sample.spec, plan.rows)
            there = duration.step_seconds(sample.spec, other_batch, machine, on)
            if there:
                judged = batch.completions_per_update / other_batch.completions_per_update
                all_rounds = _scaled(sample, most / there, rounds * judged)
                near.append((sample, _scaled(sample, counted / there, judged), all_rounds))
    here = sorted((one for one in exact if one.other_s is not None), key=lambda one: one.step_s)
    if exact:
        sample = here[len(here) // 2] if here else exact[0]  # one may have been disturbed: the middle one counts
        kind: duration.Kind = "run" if here else "preset"
        other = duration.START_S["gpu" if card else "cpu"] if sample.other_s is None else sample.other_s
        other += sample.pauses.total_s(spec, plan.save_steps, plan.optimizer_steps)
        return Duration(sample.step_s, plan.optimizer_steps, other, kind, Message(sample.exact, **dict(sample.said)))
    if on is None or counted is None:
        return None
    steps, other = plan.optimizer_steps, duration.other_seconds(spec, batch, machine, on, plan.written_first)
    if near:
        sample, step_s, most_s = near[0]
        said = Message(sample.scaled, **dict(sample.said))
        # What is written before the first step is of other rows.
        measures = spec.sampling.measures or sample.spec.sampling.measures or spec.samples_first
        around = (other if measures else sample.other_s or other) + sample.pauses.total_s(spec, plan.save_steps, steps)
        return Duration(step_s, steps, around, "scaled", said, rounds=rounds, most_step_s=most_s)
    source = Message("plan.duration.from_card", card=on.name) if on.is_gpu else Message("plan.duration.from_cpu")
    return Duration(counted, steps, other, "card" if on.is_gpu else "cpu", source, rounds=rounds, most_step_s=most)


def _scaled(sample: Sample, times: float, judged: float) -> float:
    """Seconds of a step where what the model does takes so many times as long, and `judged` times the completions get
    their rewards."""
    return (sample.step_s - sample.rewards_s) * times + sample.rewards_s * judged


def expected_of(spec: RunSpec, rows: int | None) -> Duration | None:
    """The same for a run that is there already, of which the number of rows is known."""
    try:
        return expected(spec, plan_here(spec, rows))
    except TrainerError:
        return None


def expected_anywhere(spec: RunSpec, plan: RunPlan, preset: str | None = None) -> Duration | None:
    """The same; for a run that needs a GPU and finds none that holds it, on the smallest usual card that does."""
    fits_here = plan.memory_verdict in ("fits", "tight")
    if plan.memory_on == "RAM" or fits_here or not plan.fits_gb:
        return expected(spec, plan, preset)
    return duration.on_a_card(spec, plan.rows, plan.optimizer_steps, plan.fits_gb[0])


def _processor(spec: RunSpec, card: GPU | None, on_gpu: bool) -> Processor | None:
    """None for a GPU that is not there or not in the table: nothing is guessed."""
    if on_gpu:
        model = gpu_model_named(card.name) if card is not None else None
        return Processor.of_card(model) if model is not None else None
    return Processor.of_cpu(cpu_speed(), spec.model.cpu_threads or os.cpu_count() or 1)


# ---- what was measured


def _samples(preset: str | None, card: GPU | None) -> Iterator[Sample]:
    for rundir in list_runs(outputs_dir())[:MOST_RUNS]:
        try:
            found = rundir.events.stat()
            sample = _of_run(rundir.path, found.st_size, found.st_mtime_ns, card.name if card else None)
        except OSError:  # not begun, or not to be read
            continue
        if sample is not None:
            yield sample
    measured = sorted(presets.measured(), key=lambda path: path.stem != preset)
    for path in measured:
        sample = _of_preset(path, path.stat().st_mtime_ns)
        if sample is not None and _same_machine(dict(sample.said)["device"], card):
            yield sample


@functools.lru_cache(maxsize=256)
def _of_run(path: Path, size: int, changed: int, card: str | None) -> Sample | None:
    """What the newest steps of a run took, if that was here. size, changed: of its event log. Raises OSError."""
    rundir = RunDir(path)
    if not _was_here(rundir, card):
        return None
    try:
        spec = rundir.read_spec()
    except TrainerError:
        return None
    if "fast" not in spec.run.model_fields_set:
        return None  # of a version that computed every prompt again
    reader = EventReader(rundir.events)
    reader.offset = max(0, size - _TAIL_BYTES)
    events = reader.read()
    steps = [event for event in events if isinstance(event, StepEvent) and event.seconds]
    batch = batch_of(spec, None)
    updates = batch.updates_per_phase  # not every step generates: whole phases are looked at
    recent = steps[-max(_RECENT, updates) :]
    if len(recent) < max(_LEAST, min(updates, steps[-1].step) if steps else 0):
        return None
    each, rewards, pauses = fmean(map(_seconds, recent)), fmean(map(_rewards, recent)), _pauses(events)
    other, final = duration.START_S["gpu" if card else "cpu"], events[-1]
    if isinstance(final, RunFinishedEvent) and final.seconds and final.attempt == 1:
        done = steps[-1].step
        between = pauses.total_s(spec, next_whole(spec.checkpoint.save_steps, updates), done)
        other = max(0.0, final.seconds - done * each - between)
    said = (("run", rundir.name),)
    return Sample(spec, each, rewards, pauses, other, "plan.duration.of_run", "plan.duration.by_run", said)


def _seconds(step: StepEvent) -> float:
    return float(step.seconds or 0.0)


def _rewards(step: StepEvent) -> float:
    found = (step.metrics or {}).get(REWARDS)
    return min(float(found), _seconds(step)) if isinstance(found, int | float) else 0.0


def _pauses(events: Sequence[Event]) -> Pauses:
    """As the newest ones took: the first evaluation is slower, and the model was another."""
    saves = [float(each.seconds) for each in events if isinstance(each, CheckpointEvent) and each.seconds]
    evals = [float(each.seconds) for each in events if isinstance(each, EvalEvent) and each.seconds]
    return Pauses(fmean(saves[-_RECENT:]) if saves else 0.0, fmean(evals[-_RECENT:]) if evals else 0.0)


def _was_here(rundir: RunDir, card: str | None) -> bool:
    env = read_json(rundir.env) or {}
    gpus = env.get("gpus")
    names = [each.get("name") for each in gpus if isinstance(each, dict)] if isinstance(gpus, list) else []
    here = (env.get("cpu_count"), env.get("ram_gib")) == (os.cpu_count(), environment.ram_gib())
    return here and (card is None or card in names)


@functools.lru_cache(maxsize=64)
def _of_preset(path: Path, changed: int) -> Sample | None:
    """What its header says was measured; None where it says that in other words."""
    try:
        measured = presets.headers.measured(presets.header(path.read_text(encoding="utf-8", errors="replace")))
        values = measured.values if measured is not None else {}
        device, seconds = values.get("device"), float(values.get("seconds") or 0)
        if not seconds:
            return None
        spec = presets.load(path)
    except (TrainerError, OSError, ValueError):
        return None
    said = (("preset", path.stem), ("device", device), ("date", values.get("date")))
    return Sample(spec, seconds, 0.0, Pauses(), None, "plan.duration.of_preset", "plan.duration.by_preset", said)


def _same_machine(device: object, card: GPU | None) -> bool:
    if isinstance(device, Message):  # CPU cores
        return card is None and device.values.get("count") == os.cpu_count()
    measured = gpu_model_named(str(device))
    return card is not None and measured is not None and measured == gpu_model_named(card.name)

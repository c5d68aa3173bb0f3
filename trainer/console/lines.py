"""Words for a terminal: one event, one step, one failure as text, each number with its unit.

Pure functions; the caller decides where the text goes.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

from trainer.run.records import (
    AlertEvent,
    CheckpointEvent,
    EndedOnRequestEvent,
    EvalEvent,
    Event,
    Number,
    PhaseEvent,
    PlanEvent,
    RunFinishedEvent,
    RunPausedEvent,
    RunStartedEvent,
    SampledScores,
)
from trainer.run.rundir import RunDir
from trainer.run.state import RunState
from trainer.text import here
from trainer.text.forms import duration, number, percent, size

LEGEND = (
    "",
    "reward: mean of the step   spread: of the rewards inside a group   dead: groups without any, nothing is learnt",
    "from them   kl: to the reference model, n/a with beta 0   grad: norm   tok: length of a completion",
    "",
)
_RECENT = 20  # steps the expected time is taken from
_QUIET_PHASES = {"data", "eval", "save", "train"}  # each has an event of its own that says more


def header(rundir: RunDir, plan: dict[str, Any]) -> Iterator[str]:
    """What is about to run, before the first event."""
    spec = rundir.read_spec()
    tuned = f"LoRA r {spec.lora.r}" if spec.lora.enabled else "all weights"
    yield f"run    {rundir.name}" + (f": {spec.title}" if spec.title else "")
    yield f"model  {spec.model.name}, {tuned}{', 4-bit' if spec.model.load_in_4bit else ''}"
    prompts = plan.get("prompts_per_update")
    text = (
        f"plan   {number(plan.get('optimizer_steps'))} steps of "
        f"{number(plan.get('completions_per_update'))} completions "
        f"({'n/a' if prompts is None else format(prompts, 'g')} prompts x "
        f"{spec.generation.num_generations}), "
        f"a checkpoint every {number(plan.get('save_steps'))} steps"
    )
    memory = plan.get("memory_total_gib")
    yield text + (f", about {number(memory)} GiB of memory" if memory is not None else "")
    yield f"reward {spec.reward.formula()}"
    for warning in plan.get("warnings") or []:
        yield f"note   {warning}"
    yield f"files  {rundir.path}"
    yield from LEGEND


def step_line(state: RunState, index: int, beta: float) -> str:
    """Everything about one step, in fixed order; `legend` says what the words mean."""
    metric = {name: column[index] for name, column in state.metrics.items()}
    group = {name: column[index] for name, column in state.groups.items()}
    of = f"/{state.steps_total}" if state.steps_total else ""
    memory = (state.gpu.used_gib if state.gpu else None) or state.peak_memory_gib
    kl = number(metric.get("train/kl")) if beta else "n/a"
    loss = metric.get("train/loss")
    loss_text = "n/a" if loss is None else f"{loss:.4f}"  # about 0 by construction: aligned by its point
    right, wrong = group.get("all_right_frac"), group.get("all_wrong_frac")
    parts = [
        f"step {state.steps[index]:>{max(3, len(of) - 1)}}{of}",
        f"reward {number(metric.get('train/reward')):>6}",
        f"spread {number(group.get('group_std')):>6}",
        f"dead {percent(group.get('dead_frac')):>5} ({percent(right):>5} right, {percent(wrong):>5} wrong)",
        f"loss {loss_text:>7}",
        f"kl {kl:>7}",
        f"grad {number(metric.get('train/grad_norm')):>6}",
        f"{number(metric.get('train/completions/mean_length')):>5} tok",
        f"{number(tokens_per_s(state, index)):>6} tok/s",
        f"{number(state.seconds[index])} s",
        f"{number(memory)} GiB",
        f"ETA {duration(eta_s(state, index))}",
    ]
    return "  ".join(parts)


def tokens_per_s(state: RunState, index: int) -> float | None:
    now, seconds = state.tokens_at[index], state.seconds[index]
    before = state.tokens_at[index - 1] if index else 0
    if now is None or before is None or not seconds:
        return None
    return (now - before) / seconds


def eta_s(state: RunState, index: int) -> float | None:
    """Seconds until the last step, at the pace of the newest steps."""
    recent = state.seconds[max(0, index + 1 - _RECENT) : index + 1]
    known = [seconds for seconds in recent if seconds is not None]
    if not known or state.steps_total is None:
        return None
    return (state.steps_total - state.steps[index]) * sum(known) / len(known)


def bar(state: RunState, width: int) -> str:
    """Progress with the expected time, `width` characters wide at most."""
    done, total = state.last_step, state.steps_total or 0
    words = f" {done}/{total} steps  ETA {duration(eta_s(state, len(state.steps) - 1))}"
    room = min(40, width - len(words) - 2)
    if not total or room < 5:
        return words.strip()[:width]
    full = min(room, room * done // total)
    return f"[{'#' * full}{'.' * (room - full)}]{words}"


def event_line(event: Event) -> str:
    """A line for an event that is worth one, else ""."""
    if isinstance(event, RunStartedEvent):
        return _started(event)
    if isinstance(event, PhaseEvent):
        return _phase(event)
    if isinstance(event, PlanEvent):
        return _plan(event)
    if isinstance(event, EvalEvent):
        return _eval(event)
    if isinstance(event, CheckpointEvent):
        return _checkpoint(event)
    if isinstance(event, AlertEvent):
        return f"{event.level}: {event.said(here())}"
    if isinstance(event, EndedOnRequestEvent):
        return _stopped(event)
    return _finished(event) if isinstance(event, RunFinishedEvent) else ""


def _started(event: RunStartedEvent) -> str:
    parts = [f"skipped {skipped.checkpoint}: {skipped.reason}" for skipped in event.skipped or ()]
    if event.extended_from:
        parts.append(f"extended: {event.extended_from} steps were planned before")
    if event.resumed_from:
        parts.append(f"resumed from {event.resumed_from}, {event.resumed_from_step} steps are done")
    elif event.attempt > 1:
        parts.append("no checkpoint to resume from: training starts at step 1")
    return "; ".join(parts)


def _phase(event: PhaseEvent) -> str:
    if event.name == "memory_probe":  # its result is an alert; its start is said because it can take as long as a step
        said = f"memory probe: the longest prompt at full length, once ({event.detail})"
        return said if event.state == "start" else ""
    if event.state != "end" or event.name in _QUIET_PHASES:
        return ""
    return f"{event.name.replace('_', ' ')} {duration(event.seconds)}"


def _plan(event: PlanEvent) -> str:
    """What trains on what, once both are known; rows left out are never silent."""
    data = event.data or {}
    limit = (event.plan or {}).get("max_prompt_tokens")
    text = f"data {number(data.get('rows'))} rows, {number(data.get('eval_rows'))} held out"
    words = {"dropped": "dropped", "cut": "cut", "eval_dropped": "dropped of held out", "eval_cut": "cut of held out"}
    for done, word in words.items():
        if data.get(done):
            text += f"; {word}: {number(data[done])} prompts longer than {number(limit)} tokens"
    bases = " <- ".join((event.trainer_bases or [])[:1])
    return f"{text}\nengine {event.engine}: {event.why}; {event.trainer_class} <- {bases}"


def _eval(event: EvalEvent) -> str:
    shown = ", ".join(f"{name} {number(value)}" for name, value in (event.components or {}).items())
    return (
        (
            f"eval {event.at} (step {event.step})  reward {number(event.reward)}  "
            f"correct {percent(event.correct_frac)} of {number(event.rows)} rows{_failed(event.failed)}  "
            f"{duration(event.seconds)}"
        )
        + (f"  ({shown})" if shown else "")
        + (_sampled(event.sampled) if event.sampled is not None else "")
    )


def _sampled(found: SampledScores) -> str:
    """pass@k and maj@k, and the dead groups to be expected, of `samples` answers a row."""
    at = {"pass": found.pass_at, "maj": found.maj_at}
    rates = [f"{name}@{k} {percent(value)}" for name, shares in at.items() for k, value in shares.items()]
    dead = f"{percent(found.all_right_frac)} all right, {percent(found.all_wrong_frac)} all wrong"
    group, samples, failed = number(found.group), number(found.samples), _failed(found.failed)
    return f"\n  sampled {samples} times: {', '.join(rates)}; groups of {group} without spread: {dead}{failed}"


def _failed(count: Number | None) -> str:
    return f", {count} answers not judged" if count else ""


def _checkpoint(event: CheckpointEvent) -> str:
    verified = "verified" if event.verified else "NOT verified"
    return f"saved {event.name}  {size(event.bytes)}  {duration(event.seconds)}  {verified}"


def _stopped(event: EndedOnRequestEvent) -> str:
    kept = f"saved as {event.checkpoint}" if event.checkpoint else "no checkpoint was saved"
    word = "paused" if isinstance(event, RunPausedEvent) else "stopped"
    return f"{word} ({event.reason}) at step {event.step}, {kept}"


def _finished(event: RunFinishedEvent) -> str:
    return (
        f"finished {event.step} steps in {duration(event.seconds)}, "
        f"{number(event.tokens)} tokens, "
        f"peak memory {number(event.peak_memory_gib)} GiB"
    )


def stopping(state: RunState) -> str:
    """What happens after a stop was asked for, and how long it may take."""
    pace = [seconds for seconds in state.seconds[-_RECENT:] if seconds is not None]
    step = f"(about {duration(max(pace))})" if pace else "(its first one)"
    if not state.steps:
        return "asked the worker to stop: it does so when the model is loaded or its step is done"
    return f"asked the worker to save and stop: it finishes its step {step}, saves and ends"


def death(exit_status: int | None) -> str:
    """A worker that ended without a final event."""
    if exit_status is None or exit_status >= 0:
        shown = "" if exit_status is None else f" (exit status {exit_status})"
        return f"the worker ended without saying why{shown}"
    try:
        name = signal.Signals(-exit_status).name
    except ValueError:
        name = f"signal {-exit_status}"
    text = f"the worker was ended by {name}"
    if name == "SIGKILL":
        text += (
            "; if nobody killed it, the machine ran out of memory (the kernel's OOM killer: see "
            "`dmesg`): lower optim.per_device_train_batch_size or generation.max_completion_length"
        )
    return text

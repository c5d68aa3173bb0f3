"""Words for a terminal: one event, one step, one failure as text, each number with its unit.

Pure functions; the caller decides where the text goes.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from typing import Any

from trainer.run.events import Event
from trainer.run.rundir import RunDir
from trainer.run.state import RunState
from trainer.text import Message, here
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
    yield f"run    {rundir.name}" + (f": {title}" if (title := spec.title_in(here().language)) else "")
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
        yield f"note   {here().said(Message.read(warning))}"
    yield f"files  {rundir.path}"
    yield from LEGEND


def step_line(state: RunState, index: int, beta: float) -> str:
    """Everything about one step, in fixed order; `legend` says what the words mean."""
    metric = {name: column[index] for name, column in state.metrics.items()}
    group = {name: column[index] for name, column in state.groups.items()}
    of = f"/{state.steps_total}" if state.steps_total else ""
    memory = (state.gpu or {}).get("used_gib") or state.peak_memory_gib
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
    words = {
        "run_started": _started,
        "phase": _phase,
        "plan": _plan,
        "eval": _eval,
        "checkpoint": _checkpoint,
        "alert": _alert,
        "run_paused": _stopped,
        "run_stopped": _stopped,
        "run_finished": _finished,
    }
    return words[event["kind"]](event) if event["kind"] in words else ""


def _started(event: Event) -> str:
    parts = []
    for checkpoint in event.get("skipped") or []:
        parts.append(f"skipped {checkpoint.get('checkpoint')}: {checkpoint.get('reason')}")
    if event.get("extended_from"):
        parts.append(f"extended: {event['extended_from']} steps were planned before")
    if event.get("resumed_from"):
        step = event.get("resumed_from_step")
        parts.append(f"resumed from {event['resumed_from']}, {step} steps are done")
    elif event["attempt"] > 1:
        parts.append("no checkpoint to resume from: training starts at step 1")
    return "; ".join(parts)


def _phase(event: Event) -> str:
    name = str(event.get("name"))
    if name == "memory_probe":  # its result is an alert; its start is said because it can take as long as a step
        said = f"memory probe: the longest prompt at full length, once ({event.get('detail')})"
        return said if event.get("state") == "start" else ""
    if event.get("state") != "end" or name in _QUIET_PHASES:
        return ""
    return f"{name.replace('_', ' ')} {duration(event.get('seconds'))}"


def _plan(event: Event) -> str:
    """What trains on what, once both are known; rows left out are never silent."""
    data = event.get("data") or {}
    limit = (event.get("plan") or {}).get("max_prompt_tokens")
    text = f"data {number(data.get('rows'))} rows, {number(data.get('eval_rows'))} held out"
    words = {"dropped": "dropped", "cut": "cut", "eval_dropped": "dropped of held out", "eval_cut": "cut of held out"}
    for done, word in words.items():
        if data.get(done):
            text += f"; {word}: {number(data[done])} prompts longer than {number(limit)} tokens"
    bases = " <- ".join(str(base) for base in (event.get("trainer_bases") or [])[:1])
    return f"{text}\nengine {event.get('engine')}: {event.get('why')}; {event.get('trainer_class')} <- {bases}"


def _eval(event: Event) -> str:
    rows, seconds = number(event.get("rows")), duration(event.get("seconds"))
    parts = event.get("components") or {}
    shown = ", ".join(f"{name} {number(value)}" for name, value in parts.items())
    return (
        (
            f"eval {event.get('at')} (step {event.get('step')})  reward {number(event.get('reward'))}  "
            f"correct {percent(event.get('correct_frac'))} of {rows} rows{_failed(event)}  {seconds}"
        )
        + (f"  ({shown})" if shown else "")
        + _sampled(event.get("sampled") or {})
    )


def _sampled(found: Mapping[str, Any]) -> str:
    """pass@k and maj@k, and the dead groups to be expected, of `samples` answers a row."""
    if not found:
        return ""
    rates = [f"{name}@{k} {percent(value)}" for name in ("pass", "maj") for k, value in found[f"{name}_at"].items()]
    dead = f"{percent(found['all_right_frac'])} all right, {percent(found['all_wrong_frac'])} all wrong"
    group, samples = number(found.get("group")), number(found.get("samples"))
    return f"\n  sampled {samples} times: {', '.join(rates)}; groups of {group} without spread: {dead}{_failed(found)}"


def _failed(found: Mapping[str, Any]) -> str:
    return f", {found['failed']} answers not judged" if found.get("failed") else ""


def _checkpoint(event: Event) -> str:
    verified = "verified" if event.get("verified") else "NOT verified"
    return f"saved {event.get('name')}  {size(event.get('bytes'))}  {duration(event.get('seconds'))}  {verified}"


def _alert(event: Event) -> str:
    return f"{event.get('level')}: {event.get('title')}: {event.get('text')}"


def _stopped(event: Event) -> str:
    saved = event.get("checkpoint")
    kept = f"saved as {saved}" if saved else "no checkpoint was saved"
    word = "paused" if event["kind"] == "run_paused" else "stopped"
    return f"{word} ({event.get('reason')}) at step {event.get('step')}, {kept}"


def _finished(event: Event) -> str:
    return (
        f"finished {event.get('step')} steps in {duration(event.get('seconds'))}, "
        f"{number(event.get('tokens'))} tokens, "
        f"peak memory {number(event.get('peak_memory_gib'))} GiB"
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

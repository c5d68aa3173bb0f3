"""Words for a terminal: one event, one step, one failure as text, each number with its unit.

Pure functions; the caller decides in which language, and where the text goes.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from trainer.run.events import Event
from trainer.run.rundir import RunDir
from trainer.run.state import RunState
from trainer.run.status import failure
from trainer.text import Message, Words
from trainer.text.forms import number, percent, size

_RECENT = 20  # steps the expected time is taken from
_QUIET_PHASES = {"data", "eval", "save", "train"}  # each has an event of its own that says more


def header(rundir: RunDir, plan: dict[str, Any], words: Words) -> Iterator[str]:
    """What is about to run, before the first event."""
    say, spec = words.under("console.head"), rundir.read_spec()
    method = say("lora", r=spec.lora.r) if spec.lora.enabled else say("whole")
    title = spec.title_in(words.language)
    yield say("run_titled", name=rundir.name, title=title) if title else say("run", name=rundir.name)
    four_bit = say("four_bit", method=method) if spec.model.load_in_4bit else method
    yield say("model", model=spec.model.name, method=four_bit)
    prompts, memory = plan.get("prompts_per_update"), plan.get("memory_total_gib")
    yield say(
        "plan" if memory is None else "plan_memory",
        steps=plan.get("optimizer_steps"),
        completions=plan.get("completions_per_update"),
        prompts="n/a" if prompts is None else format(prompts, "g"),
        group=spec.generation.num_generations,
        save=plan.get("save_steps"),
        memory=memory,
    )
    yield say("reward", formula=spec.reward.formula())
    for warning in plan.get("warnings") or []:
        yield say("note", text=words.said(Message.read(warning)))
    yield say("files", path=rundir.path)
    yield from ("", say("legend_1"), say("legend_2"), "")


def step_line(state: RunState, index: int, beta: float, words: Words) -> str:
    """Everything about one step, in fixed order and width; the legend of `header` says what the words mean."""
    metric = {name: column[index] for name, column in state.metrics.items()}
    group = {name: column[index] for name, column in state.groups.items()}
    of = f"/{state.steps_total}" if state.steps_total else ""
    loss = metric.get("train/loss")
    loss_text = "n/a" if loss is None else f"{loss:.4f}"  # about 0 by construction: aligned by its point
    return words(
        "console.step.line",
        step=f"{state.steps[index]:>{max(3, len(of) - 1)}}{of}",
        reward=f"{number(metric.get('train/reward')):>6}",
        spread=f"{number(group.get('group_std')):>6}",
        dead=f"{percent(group.get('dead_frac')):>5}",
        right=f"{percent(group.get('all_right_frac')):>5}",
        wrong=f"{percent(group.get('all_wrong_frac')):>5}",
        loss=f"{loss_text:>7}",
        kl=f"{number(metric.get('train/kl')) if beta else 'n/a':>7}",
        grad=f"{number(metric.get('train/grad_norm')):>6}",
        length=f"{number(metric.get('train/completions/mean_length')):>5}",
        speed=f"{number(tokens_per_s(state, index)):>6}",
        seconds=state.seconds[index],
        memory=(state.gpu or {}).get("used_gib") or state.peak_memory_gib,
        left=_left(state, index, words),
    )


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


def _left(state: RunState, index: int, words: Words) -> str:
    left = eta_s(state, index)
    return words("time.seconds", seconds=0) if left == 0 else words.duration(left)


def bar(state: RunState, width: int, words: Words) -> str:
    """Progress with the expected time, `width` characters wide at most."""
    done, total = state.last_step, state.steps_total or 0
    said = words("console.step.bar", done=done, total=total, left=_left(state, len(state.steps) - 1, words))
    room = min(40, width - len(said) - 3)
    if not total or room < 5:
        return said[:width]
    full = min(room, room * done // total)
    return f"[{'#' * full}{'.' * (room - full)}] {said}"


def phase_name(name: str, words: Words) -> str:
    """A phase of the run in a word or two; one that this version does not know by its own name."""
    key = f"console.phase.{name}"
    return words(key) if key in words else name.replace("_", " ")


def event_line(event: Event, words: Words) -> str:
    """A line for an event that is worth one, else ""."""
    lines: dict[str, Callable[[Event, Words], str]] = {
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
    return lines[event["kind"]](event, words) if event["kind"] in lines else ""


def _started(event: Event, words: Words) -> str:
    say, parts = words.under("console.event"), []
    for skipped in event.get("skipped") or []:
        reason = words.said(Message.read(skipped.get("reason")))
        parts.append(say("skipped", checkpoint=skipped.get("checkpoint"), reason=reason))
    if event.get("extended_from"):
        parts.append(say("extended", steps=event["extended_from"]))
    if event.get("resumed_from"):
        parts.append(say("resumed", checkpoint=event["resumed_from"], steps=event.get("resumed_from_step")))
    elif event["attempt"] > 1:
        parts.append(say("from_start"))
    return "; ".join(parts)


def _phase(event: Event, words: Words) -> str:
    name = str(event.get("name"))
    if name == "memory_probe":  # its result is an alert; its start is said because it can take as long as a step
        return words("console.phase.probe") if event.get("state") == "start" else ""
    if event.get("state") != "end" or name in _QUIET_PHASES:
        return ""
    return words("console.phase.done", name=phase_name(name, words), seconds=event.get("seconds"))


def _plan(event: Event, words: Words) -> str:
    """What trains on what, once both are known; rows left out are never silent."""
    say, data = words.under("console.event"), event.get("data") or {}
    limit = (event.get("plan") or {}).get("max_prompt_tokens")
    parts = [say("data", rows=data.get("rows"), held=data.get("eval_rows"))]
    for done in ("dropped", "cut", "eval_dropped", "eval_cut"):
        if data.get(done):
            parts.append(say(done, count=data[done], limit=limit))
    base = next(map(str, event.get("trainer_bases") or []), "")
    why = words.said(Message.read(event.get("why")))
    engine = say("engine", engine=event.get("engine"), why=why, trainer=event.get("trainer_class"), base=base)
    return f"{'; '.join(parts)}\n{engine}"


def _eval(event: Event, words: Words) -> str:
    say, at = words.under("console.event"), str(event.get("at"))
    said = say(
        "eval",
        at=say(at) if at in ("before", "during", "after") else at,
        step=event.get("step"),
        reward=event.get("reward"),
        correct=event.get("correct_frac"),
        rows=event.get("rows"),
        failed=_failed(event, say),
        seconds=event.get("seconds"),
    )
    parts = ", ".join(f"{name} {number(value)}" for name, value in (event.get("components") or {}).items())
    return said + (f"  ({parts})" if parts else "") + _sampled(event.get("sampled") or {}, say)


def _sampled(found: Mapping[str, Any], say: Words) -> str:
    """pass@k and maj@k, and the dead groups to be expected, of `samples` answers a row."""
    if not found:
        return ""
    rates = [f"{name}@{k} {percent(value)}" for name in ("pass", "maj") for k, value in found[f"{name}_at"].items()]
    said = say(
        "sampled",
        samples=found.get("samples"),
        rates=", ".join(rates),
        group=found.get("group"),
        right=found["all_right_frac"],
        wrong=found["all_wrong_frac"],
        failed=_failed(found, say),
    )
    return f"\n{said}"


def _failed(found: Mapping[str, Any], say: Words) -> str:
    return say("failed", count=found["failed"]) if found.get("failed") else ""


def _checkpoint(event: Event, words: Words) -> str:
    say = words.under("console.event")
    verified = say("verified" if event.get("verified") else "not_verified")
    return say(
        "saved", name=event.get("name"), size=size(event.get("bytes")), seconds=event.get("seconds"), verified=verified
    )


def _alert(event: Event, words: Words) -> str:
    say, level = words.under("console.event"), str(event.get("level"))
    level = say(level) if level in ("info", "warn", "error") else level
    title, text = (words.said(Message.read(event.get(part))) for part in ("title", "text"))
    return say("alert", level=level, title=title, text=text)


def _stopped(event: Event, words: Words) -> str:
    say, saved, reason = words.under("console.event"), event.get("checkpoint"), str(event.get("reason"))
    key = ("paused" if event["kind"] == "run_paused" else "stopped") + ("" if saved else "_unsaved")
    reason = say("request") if reason == "request" else reason  # else the name of a signal
    return say(key, reason=reason, step=event.get("step"), checkpoint=saved)


def _finished(event: Event, words: Words) -> str:
    return words(
        "console.event.finished",
        steps=event.get("step"),
        seconds=event.get("seconds"),
        tokens=event.get("tokens"),
        memory=event.get("peak_memory_gib"),
    )


def failed(final: Mapping[str, Any], words: Words) -> list[str]:
    """Why a run failed, a line a problem."""
    return [words("console.error", said=str(problem.said(words))) for problem in failure(final)]


def stopping(state: RunState, words: Words) -> str:
    """What happens after a stop was asked for, and how long it may take."""
    say = words.under("console.follow")
    pace = [seconds for seconds in state.seconds[-_RECENT:] if seconds is not None]
    if not state.steps:
        return say("stopping_early")
    return say("stopping", seconds=max(pace)) if pace else say("stopping_first")


def death(exit_status: int | None, words: Words) -> str:
    """A worker that ended without a final event. exit_status: negative for a signal; None when it is not known."""
    say = words.under("console.death")
    if exit_status is None:
        return say("silent")
    if exit_status >= 0:
        return say("silent_status", status=exit_status)
    try:
        name = signal.Signals(-exit_status).name
    except ValueError:
        name = say("number", number=-exit_status)
    return say("killed" if name == "SIGKILL" else "signal", signal=name)

"""Words for a terminal: one event, one step, one failure as text, each number with its unit.

Pure functions; the caller decides in which language, and where the text goes.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from typing import Any

from trainer.plan.duration import Duration
from trainer.run.records import (
    AlertEvent,
    CheckpointEvent,
    EndedOnRequestEvent,
    EvalEvent,
    Event,
    Number,
    PhaseEvent,
    PlanEvent,
    RunFailedEvent,
    RunFinishedEvent,
    RunPausedEvent,
    RunStartedEvent,
    SampledScores,
)
from trainer.run.rundir import RunDir
from trainer.run.start_adapter import called
from trainer.run.state import RunState
from trainer.spec import Method, RunSpec
from trainer.spec.methods import SUPERVISED
from trainer.text import Message, Words, forms
from trainer.text.forms import number, percent, size
from trainer.text.layout import cut, width

_RECENT = 20  # steps the expected time is taken from
_TOKENS = "train/mean_token_accuracy"
_QUIET_PHASES = {"data", "eval", "save", "train"}  # each has an event of its own that says more


def header(rundir: RunDir, plan: dict[str, Any], words: Words) -> Iterator[str]:
    """What is about to run, before the first event."""
    say, spec = words.under("console.head"), rundir.read_spec()
    method = say("lora", r=spec.lora.r) if spec.lora.enabled else say("whole")
    title = spec.title_in(words.language)
    yield say("run_titled", name=rundir.name, title=title) if title else say("run", name=rundir.name)
    four_bit = say("four_bit", method=method) if spec.model.load_in_4bit else method
    yield say("model", model=called(spec.model.name), method=four_bit)
    yield say("method", method=words(f"method.long.{spec.run.method}"))
    yield from _planned(spec, plan, say)
    yield say("reward", formula=spec.reward.formula())
    for warning in plan.get("warnings") or []:
        yield say("note", text=words.said(Message.read(warning)))
    yield say("files", path=rundir.path)
    legend = f"legend_{spec.learns}"
    yield from ("", say(f"{legend}_1"), say(f"{legend}_2"), "")


def _planned(spec: RunSpec, plan: dict[str, Any], say: Words) -> Iterator[str]:
    memory, group = plan.get("memory_total_gib"), spec.generation.num_generations
    prompts, written = plan.get("prompts_per_update"), plan.get("written_first")
    if spec.samples_first:
        rows = plan.get("rows")
        yield say("first_each", group=group) if written is None else say("first", count=written, rows=rows, group=group)
    key = "plan_examples" if spec.is_supervised else "plan"
    yield say(
        key if memory is None else f"{key}_memory",
        steps=plan.get("optimizer_steps"),
        completions=plan.get("completions_per_update"),
        prompts="n/a" if prompts is None else format(prompts, "g"),
        group=group,
        save=plan.get("save_steps"),
        memory=memory,
    )


def step_line(state: RunState, index: int, beta: float, words: Words, method: Method = "grpo") -> str:
    """Everything about one step, in fixed order and width; the legend of `header` says what the words mean."""
    metric = {name: column[index] for name, column in state.metrics.items()}
    if method in SUPERVISED:
        return _supervised_line(state, index, metric, words, method)
    group = {name: column[index] for name, column in state.groups.items()}
    loss = metric.get("train/loss")
    loss_text = "n/a" if loss is None else f"{loss:.4f}"  # about 0 by construction: aligned by its point
    return words(
        "console.step.line",
        step=_counted(state, index),
        reward=f"{number(metric.get('train/reward')):>6}",
        spread=f"{number(group.get('group_std')):>6}",
        dead=f"{percent(group.get('dead_frac')):>5}",
        right=f"{percent(group.get('all_right_frac')):>5}",
        wrong=f"{percent(group.get('all_wrong_frac')):>5}",
        loss=f"{loss_text:>7}",
        kl=f"{number(metric.get('train/kl')) if beta else 'n/a':>7}",
        grad=f"{number(metric.get('train/grad_norm')):>6}",
        length=f"{number(metric.get('train/completions/mean_length')):>5}",
        **_cost(state, index, words),
    )


def _supervised_line(
    state: RunState, index: int, metric: Mapping[str, Number | None], words: Words, method: Method
) -> str:
    """What a step says that learns from examples."""
    loss, rate = metric.get("train/loss"), metric.get("train/learning_rate")
    right = metric.get({"dpo": "train/rewards/accuracies", "reward_model": "train/accuracy"}.get(method, _TOKENS))
    form = "pairs" if method == "dpo" else "examples"
    if method == "reward_model":
        form = "judged" if right is None else "pairs"
    return words(
        f"console.step.{form}",
        step=_counted(state, index),
        loss=f"{'n/a' if loss is None else f'{loss:.4f}':>7}",
        right=f"{percent(right):>6}",
        margin=f"{number(metric.get('train/rewards/margins' if method == 'dpo' else 'train/margin')):>6}",
        score=f"{number(metric.get('train/mean_reward')):>6}",
        error=f"{number(metric.get('train/absolute_error')):>6}",
        grad=f"{number(metric.get('train/grad_norm')):>6}",
        rate=f"{'n/a' if rate is None else f'{rate:.3g}':>8}",
        **_cost(state, index, words),
    )


def _counted(state: RunState, index: int) -> str:
    of = f"/{state.steps_total}" if state.steps_total else ""
    return f"{state.steps[index]:>{max(3, len(of) - 1)}}{of}"


def _cost(state: RunState, index: int, words: Words) -> dict[str, Any]:
    return {
        "speed": f"{number(tokens_per_s(state, index)):>6}",
        "seconds": state.seconds[index],
        "memory": (state.gpu.used_gib if state.gpu else None) or state.peak_memory_gib,
        "left": _left(state, index, words),
    }


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


def bar(state: RunState, columns: int, words: Words, now: float) -> str:
    """Progress with the time that is left and the one when it is done, so many columns wide at most."""
    done, total = state.last_step, state.steps_total or 0
    index = len(state.steps) - 1
    clock = forms.moment(now + (eta_s(state, index) or 0.0), now)
    said = words("console.step.bar", done=done, total=total, left=_left(state, index, words), clock=clock)
    room = min(40, columns - width(said) - 3)
    if not total or room < 5:
        return cut(said, columns)
    full = min(room, room * done // total)
    return f"[{'#' * full}{'.' * (room - full)}] {said}"


def lasts(found: Duration, words: Words, now: float) -> str:
    """What is expected of a run before it starts; "" where the number of its steps is not known."""
    if found.total_s is None:
        return ""
    values = {"step": found.step_s, "total": found.total_s, "source": found.source}
    said = words("console.step.lasts", **values, clock=forms.moment(now + found.total_s, now))
    return said if found.at_most is None else f"{said}\n{words.said(found.at_most)}"


def took(found: Mapping[str, Any], words: Words) -> str:
    """What a run took beside what was expected of it; "" for one that was interrupted, extended or ended early."""
    expected, wall_s = found["expected_seconds"], found["wall_seconds"]
    if found["status"] != "finished" or found["attempts"] != 1 or not expected or not wall_s:
        return ""
    return words("console.step.took", took=wall_s, expected=expected, times=f"{expected / wall_s:.2f}")


def phase_name(name: str, words: Words) -> str:
    """A phase of the run in a word or two; one that this version does not know by its own name."""
    key = f"console.phase.{name}"
    return words(key) if key in words else name.replace("_", " ")


def event_line(event: Event, words: Words, method: Method = "grpo") -> str:
    """A line for an event that is worth one, else ""."""
    if isinstance(event, RunStartedEvent):
        return _started(event, words)
    if isinstance(event, PhaseEvent):
        return _phase(event, words)
    if isinstance(event, PlanEvent):
        return _plan(event, words)
    if isinstance(event, EvalEvent):
        return _eval(event, words, method)
    if isinstance(event, CheckpointEvent):
        return _checkpoint(event, words)
    if isinstance(event, AlertEvent):
        return _alert(event, words)
    if isinstance(event, EndedOnRequestEvent):
        return _stopped(event, words)
    return _finished(event, words) if isinstance(event, RunFinishedEvent) else ""


def _started(event: RunStartedEvent, words: Words) -> str:
    say, parts = words.under("console.event"), []
    for skipped in event.skipped or ():
        reason = words.said(Message.read(skipped.reason))
        parts.append(say("skipped", checkpoint=skipped.checkpoint, reason=reason))
    if event.extended_from:
        parts.append(say("extended", steps=event.extended_from))
    if event.resumed_from:
        parts.append(say("resumed", checkpoint=event.resumed_from, steps=event.resumed_from_step))
    elif event.attempt > 1:
        parts.append(say("from_start"))
    return "; ".join(parts)


def _phase(event: PhaseEvent, words: Words) -> str:
    if event.name == "memory_probe":  # its result is an alert; its start is said because it can take as long as a step
        return words("console.phase.probe") if event.state == "start" else ""
    if event.state != "end" or event.name in _QUIET_PHASES:
        return ""
    return words("console.phase.done", name=phase_name(event.name, words), seconds=event.seconds)


def _plan(event: PlanEvent, words: Words) -> str:
    """What trains on what, once both are known; rows left out are never silent."""
    say, data = words.under("console.event"), event.data or {}
    limit = (event.plan or {}).get("max_prompt_tokens")
    parts = [say("data", rows=data.get("rows"), held=data.get("eval_rows"))]
    for done in ("dropped", "cut", "eval_dropped", "eval_cut"):
        if data.get(done):
            parts.append(say(done, count=data[done], limit=limit))
    base = next(iter(event.trainer_bases or ()), "")
    why = words.said(Message.read(event.why))
    engine = say("engine", engine=event.engine, why=why, trainer=event.trainer_class, base=base)
    return f"{'; '.join(parts)}\n{engine}"


def _eval(event: EvalEvent, words: Words, method: Method) -> str:
    say, name = words.under("console.event"), words(f"method.{method}")
    said = say(
        "eval" if event.pairs is None else "eval_pairs",
        ordered=event.correct_frac,
        correlation=event.correlation,
        pairs=event.pairs,
        at=say(event.at, method=name) if event.at in ("before", "during", "after") else event.at,
        step=event.step,
        reward=event.reward,
        correct=event.correct_frac,
        rows=event.rows,
        failed=_failed(event.failed, say),
        seconds=event.seconds,
    )
    parts = ", ".join(f"{name} {number(value)}" for name, value in (event.components or {}).items())
    return said + (f"  ({parts})" if parts else "") + (_sampled(event.sampled, say) if event.sampled else "")


def _sampled(found: SampledScores, say: Words) -> str:
    """pass@k and maj@k, and the dead groups to be expected, of `samples` answers a row."""
    at = {"pass": found.pass_at, "maj": found.maj_at}
    said = say(
        "sampled",
        samples=found.samples,
        rates=", ".join(f"{name}@{k} {percent(value)}" for name, shares in at.items() for k, value in shares.items()),
        group=found.group,
        right=found.all_right_frac,
        wrong=found.all_wrong_frac,
        failed=_failed(found.failed, say),
    )
    return f"\n{said}"


def _failed(count: Number | None, say: Words) -> str:
    return say("failed", count=count) if count else ""


def _checkpoint(event: CheckpointEvent, words: Words) -> str:
    say = words.under("console.event")
    verified = say("verified" if event.verified else "not_verified")
    return say("saved", name=event.name, size=size(event.bytes), seconds=event.seconds, verified=verified)


def _alert(event: AlertEvent, words: Words) -> str:
    say, (title, text) = words.under("console.event"), event.said(words)
    return say("alert", level=event.level_said(words), title=title, text=text)


def _stopped(event: EndedOnRequestEvent, words: Words) -> str:
    say, saved = words.under("console.event"), event.checkpoint
    word = "paused" if isinstance(event, RunPausedEvent) else "stopped"
    reason = say(event.reason) if event.reason in ("request", "time") else event.reason  # else the name of a signal
    return say(word if saved else f"{word}_unsaved", reason=reason, step=event.step, checkpoint=saved)


def _finished(event: RunFinishedEvent, words: Words) -> str:
    return words(
        "console.event.finished",
        steps=event.step,
        seconds=event.seconds,
        tokens=event.tokens,
        memory=event.peak_memory_gib,
    )


def failed(final: RunFailedEvent, words: Words) -> list[str]:
    """Why a run failed, a line a problem."""
    return [words("console.error", said=str(problem.said(words))) for problem in final.reasons()]


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

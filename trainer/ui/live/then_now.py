"""A question it never trained on, answered before, in the middle and now, each answer with its reward. No gradio."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.run import held_out_texts
from trainer.run.held_out_texts import Answer, Asked
from trainer.run.status import LIVE
from trainer.text import Words, forms
from trainer.ui.elements import element, escape
from trainer.ui.known_runs import Seen


def asked(seen: Seen) -> list[Asked]:
    """The questions that were kept; the one whose reward changed most first."""
    found = held_out_texts.read(seen.rundir, {event.step for event in seen.state.evals})
    return sorted(found, key=_changed, reverse=True)


def _changed(one: Asked) -> float:
    rewards = [answer.reward for answer in one.answers.values() if answer.reward is not None]
    return abs(rewards[-1] - rewards[0]) if rewards else -1.0


def shown_steps(steps: Sequence[int]) -> list[int]:
    """The first, the one in the middle between it and the newest, the newest: as many as there are."""
    if len(steps) < 3:
        return list(steps)
    half = (steps[0] + steps[-1]) / 2
    return [steps[0], min(steps[1:-1], key=lambda step: abs(step - half)), steps[-1]]


def panel(seen: Seen | None, found: Sequence[Asked], say: Words) -> str:
    """A card of one size in every state of a run, and without one."""
    title = f'<div class="g-chart-head">{element("span", say("live.then.title"))}</div>'
    if seen is None or not found:
        return f'<div class="g-card g-then">{title}{element("p", say(_missing(seen)), "g-empty")}</div>'
    first, *others = found
    steps = list(first.answers)
    told = [_question(first, say)]
    told += [_answer(_when(step, steps, seen, say), first.answers[step], say) for step in shown_steps(steps)]
    notes = [_next(seen, steps[-1], say)] if seen.status in LIVE else []
    notes += [say("live.then.why", count=len(found))] if others else []
    told.append(element("p", " ".join(notes), "g-next"))
    return f'<div class="g-card g-then">{title}{"".join(told)}{_others(others, say)}</div>'


def _missing(seen: Seen | None) -> str:
    """Key of the reason why there is nothing."""
    if seen is not None and seen.method == "reward_model":
        return "live.then.judge"
    if seen is not None and seen.state.evals:
        return "live.then.unrecorded"
    if seen is not None and seen.spec is not None and not seen.spec.data.has_held_out_rows:
        return "live.then.no_rows"
    return "live.then.soon" if seen is None or seen.status in (*LIVE, "queued") else "live.then.unrecorded"


def _question(one: Asked, say: Words) -> str:
    gold = "" if one.gold is None else f"<p>{element('b', say('live.then.gold'))} {element('q', one.gold)}</p>"
    asked = f"<p>{element('b', say('live.then.asked'))} {element('q', one.question)}</p>"
    return f'<div class="g-asked-of">{asked}{gold}</div>'


def _when(step: int, steps: Sequence[int], seen: Seen, say: Words) -> str:
    if step == 0:
        warm = seen.spec is not None and seen.spec.model.warm_start is not None
        method = say(f"method.{seen.method}")
        return say("live.then.before_warm", method=method) if warm else say("live.then.before")
    if step != steps[-1]:
        return say("live.then.at", step=f"{step:,}")
    return say("live.then.now" if seen.status in LIVE else "live.then.end", step=f"{step:,}")


def _next(seen: Seen, newest: int, say: Words) -> str:
    """When it is answered again."""
    every = seen.spec.eval.eval_steps if seen.spec else None
    step = (newest // every + 1) * every if every else None
    if step is None or (seen.total and step > seen.total):
        return say("live.then.at_end")
    return say("live.then.again", step=f"{step:,}")


def _answer(when: str, answer: Answer, say: Words) -> str:
    text = forms.printable(answer.text) if answer.text.strip() else say("live.then.nothing")
    body = f'<div class="g-said-then" tabindex="0">{escape(text)}</div>'
    return f'<div class="g-answered"><p>{element("b", when)} {mark(answer, say)}</p>{body}</div>'


def mark(answer: Answer, say: Words) -> str:
    """What it was paid, and whether it is right: a sign and a word, never colour alone."""
    paid = element("span", say("live.then.reward", reward=forms.number(answer.reward)), "g-paid")
    if answer.correct is None:
        return paid
    kind = "right" if answer.correct else "wrong"
    sign = "\u2713" if answer.correct else "\u2715"
    return f'{paid} <span class="g-is-{kind}">{sign} {escape(say(f"live.then.{kind}"))}</span>'


def _others(others: Sequence[Asked], say: Words) -> str:
    if not others:
        return ""
    rows = []
    for one in others:
        first, *_, last = [*one.answers.values(), *one.answers.values()]
        rows.append(_question(one, say) + _answer(say("live.then.first"), first, say))
        rows.append(_answer(say("live.then.last"), last, say))
    summary = element("summary", say("live.then.others", count=len(others)))
    return f"<details>{summary}{''.join(rows)}</details>"

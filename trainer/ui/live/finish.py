"""What a run came to when all its steps are done: a figure, its best answers, what can be done with it. No gradio."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from trainer.errors import TrainerError
from trainer.run.held_out_texts import Answer, Asked
from trainer.run.summary import summary
from trainer.text import Words, forms
from trainer.ui import actions, elements
from trainer.ui.elements import element
from trainer.ui.known_runs import Seen
from trainer.ui.live import then_now
from trainer.ui.live.buttons import Action

DEEDS = ("tryit", "export", "further")
NO_USE = ("stop", "pause", "stop_at", "save", "resume")  # of the buttons, when all steps are done and none is planned
BROKEN_OFF = ("stopped", "paused", "failed", "lost")
BEST = 3  # answers


def buttons(can: dict[str, Action], seen: Seen, say: Words) -> dict[str, Action]:
    """Those that there are, and what to do next with a run that has finished."""
    ended = seen.status == "finished"
    # What was saved of a run that broke off or was stopped can be tried and taken along as well.
    saved = seen.status in BROKEN_OFF and bool(seen.state.checkpoints)
    there = {name: ended or (saved and name != "further") for name in DEEDS}
    deeds = {name: Action(on, say(f"live.finish.{name}_does"), f"live.finish.{name}", on) for name, on in there.items()}
    kept = {
        name: replace(one, shown=one.shown and not (ended and name in NO_USE and not one.on))
        for name, one in can.items()
    }
    return kept | deeds


def question(seen: Seen, say: Words) -> str:
    """What training on would do, with what to know first."""
    try:
        planned = actions.extension(seen.rundir.name, None)
    except TrainerError as error:
        return elements.refused(error, say)
    before, after = f"{planned.before:,}", f"{planned.after:,}"
    text = say("live.finish.sure", run=seen.rundir.name, steps=f"{planned.steps:,}", before=before, after=after)
    return element("b", text) + "".join(element("p", say.said(note)) for note in planned.notes)


def card(seen: Seen, asked: Sequence[Asked], say: Words) -> str:
    """ "47 % -> 98 % on 128 questions it never saw"; "" before the end."""
    if seen.status != "finished":
        return ""
    figure, what, gain = _figure(seen, say)
    kind = "" if not gain else " g-better" if gain > 0 else " g-worse"
    best = _best(asked)
    shown = "".join(
        f"<li>{element('q', one.question)} \u2192 {element('q', forms.printable(answer.text))} "
        f"{then_now.mark(answer, say)}</li>"
        for one, answer in best
    )
    answers = f"<div>{element('h3', say('live.finish.best'))}<ul>{shown}</ul></div>" if shown else ""
    warm = "" if seen.spec is None or seen.spec.model.warm_start is None else _warm(seen, say)
    note = element("p", warm, "g-effect") if warm and seen.state.evals else ""
    told = f"<div>{element('p', figure, 'g-figure')}{element('p', what)}{note}</div>"
    return f'<div class="g-card g-finish{kind}">{told}{answers}</div>'


def _figure(seen: Seen, say: Words) -> tuple[str, str, float]:
    """What changed, on what it was measured, and by how much."""
    found = summary(seen.state, seen.rundir, seen.status)
    rows = next((event.rows for event in reversed(seen.state.evals)), None)
    for key, form in (("correct", forms.percent), ("eval", forms.number)):
        before, after = found[f"{key}_before"], found[f"{key}_after"]
        if before is not None and after is not None:
            figure = say("live.finish.change", before=form(before), after=form(after))
            if found["pairs"] is not None:
                return figure, say("live.finish.on_ordered", rows=forms.number(found["pairs"])), after - before
            return figure, say(f"live.finish.on_{key}", rows=forms.number(rows)), after - before
    before, after = found["reward_first"], found["reward_last"]
    if before is None or after is None:
        return say("live.finish.done"), say("live.finish.on_nothing"), 0.0
    figure = say("live.finish.change", before=forms.number(before), after=forms.number(after))
    return figure, say("live.finish.on_training"), after - before


def _warm(seen: Seen, say: Words) -> str:
    return say("live.finish.warm", method=say(f"method.{seen.method}"))


def _best(asked: Sequence[Asked]) -> list[tuple[Asked, Answer]]:
    """The newest answers that were paid most; a wrong one is none of them, whatever it was paid."""
    newest = [(one, list(one.answers.values())[-1]) for one in asked]
    paid = [(one, said) for one, said in newest if said.reward is not None and said.text.strip()]
    paid = [(one, said) for one, said in paid if said.correct is not False]
    return sorted(paid, key=lambda pair: -(pair[1].reward or -math.inf))[:BEST]

"""The stages that a run is one of, in a line: what each is, how it stands, its held-out score. A click opens its run.

No gradio. Live's line is of runs, Train's of a preset.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trainer import launch
from trainer.launch.chain import Held, Stage
from trainer.plan import RunPlan
from trainer.run.status import LIVE
from trainer.spec import RunSpec
from trainer.text import Words, forms
from trainer.ui import elements
from trainer.ui.elements import element, escape
from trainer.ui.known_runs import RunRow, Seen

ARROW, TO_COME = "\u2192", "\u2026"
# A click on a stage: the run is chosen as by the list of runs in the head (address.js).
CLICKED = """element.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-stage]");
    if (button) window.pageRun(button.dataset.stage);
});"""


def of_run(seen: Seen, rows: Sequence[RunRow], say: Words) -> str:
    """Of the run that Live shows, and below it why the next one is not there; "" of a run alone."""
    if seen.spec is None or seen.spec.chain is None:
        return ""
    known = {row.name: row for row in rows if row.openable}
    stages = launch.chain.stages(seen.rundir, seen.spec)
    items = [_item(stage, stage.rundir == seen.rundir, known.get(stage.rundir.name), say) for stage in stages]
    name = launch.chain.whole(seen.rundir, seen.spec.chain)
    held = launch.chain.held(seen.rundir, seen.status, seen.state)
    return _line(say("stages.of", name=name), items) + (_held(held, name, say) if held is not None else "")


def of_preset(spec: RunSpec, plan: RunPlan, say: Words) -> str:
    """Before there are runs: what each is and how many steps it takes; "" without stages."""
    if spec.chain is None:
        return ""
    every: list[tuple[str, str, Any]] = [(spec.chain.name, spec.run.method, plan.optimizer_steps)]
    for each in spec.chain.following:
        method = each.settings.get("run", {}).get("method", "grpo")
        every.append((each.name, method, each.settings.get("optim", {}).get("max_steps")))
    items = [
        f"<li>{element('b', f'{number} {name}')}{_method(name, method, say)}"
        f"{element('span', say('stages.steps', count=steps)) if isinstance(steps, int) else ''}</li>"
        for number, (name, method, steps) in enumerate(every, 1)
    ]
    return _line(say("stages.title"), items)


def _line(label: str, items: Sequence[str]) -> str:
    return f'<nav class="g-stages" aria-label="{escape(label)}"><ol>{"".join(items)}</ol></nav>'


def _item(stage: Stage, shown: bool, row: RunRow | None, say: Words) -> str:
    """row: None where it has no run yet."""
    name = f"{stage.number} {stage.name}"
    first = f'<button type="button" data-stage="{escape(stage.rundir.name)}">{escape(name)}</button>'
    now = ' aria-current="true"' if shown else ""
    method = _method(stage.name, stage.method, say)
    if row is None:
        return f"<li{now}>{element('b', name)}{method}{element('span', say('stages.to_come'))}</li>"
    return f"<li{now}>{first}{method}{_state(row, say)}{_score(row)}</li>"


def _method(name: str, method: str, say: Words) -> str:
    called = say(f"method.{method}")
    return "" if called.lower() == name.lower() else element("span", called, "g-effect")


def _state(row: RunRow, say: Words) -> str:
    if row.status is None:
        return element("span", say("runs.reading" if row.broken is None else "runs.broken"))
    told = say(f"status.{row.status}")
    if row.status in LIVE and row.steps:
        total = "?" if row.total is None else f"{row.total:,}"
        told = say("stages.at", state=told, step=f"{row.steps:,}", total=total)
    return f"<span>{elements.dot(row.status)}{escape(told)}</span>"


def _score(row: RunRow) -> str:
    """Of the held-out rows, as Runs has it."""
    right = row.correct[0] is not None
    first, last = row.correct if right else row.held_out
    if first is None:
        return ""
    form = forms.percent if right else forms.number
    return element("b", f"{form(first)} {ARROW} {TO_COME if last is None else form(last)}")


def _held(held: Held, name: str, say: Words) -> str:
    """Why the next stage is not there, and what starts it."""
    values: Mapping[str, Any] = {"name": held.stage.name, "number": held.stage.number}
    how = element("p", say("stages.how", button=say("live.next_stage"), command=resume_line(name)), "g-effect")
    if not held.reasons:
        return elements.notice(say("stages.not_begun", **values), "g-wrong") + how
    return elements.problems(say("stages.refused", **values), held.reasons, say("live.fix"), say) + how


def resume_line(name: str) -> str:
    return f"python app.py --headless --resume {name}"

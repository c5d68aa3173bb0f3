"""Methods compared, on Runs: what is asked for one comparison, how far each is, its table. No gradio.

What a comparison is and who trains its runs knows trainer.console.comparisons; nothing of it is kept here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trainer import launch, presets
from trainer.console import comparisons
from trainer.console.comparisons import METHODS, SEEDS, Comparison
from trainer.console.runs_there import is_over
from trainer.errors import Problem, RunError, SpecError
from trainer.report import html
from trainer.report import methods as report
from trainer.run.rundir import outputs_dir
from trainer.run.status import LIVE, Status
from trainer.text import Words, forms
from trainer.ui import actions, elements
from trainer.ui.elements import element, escape
from trainer.ui.known_runs import RunRow
from trainer.ui.runs.views import button

FIRST = "tiny"
MOST = 3  # comparisons that are shown
MOST_TYPED = 100  # characters of a field
FIELDS = ("preset", "methods", "budget", "seeds")
Typed = Mapping[str, str]


def typed(told: Any) -> dict[str, str]:
    """What a browser sent of the form; what is none of its fields is left out."""
    found = told if isinstance(told, dict) else {}
    return {name: str(found[name])[:MOST_TYPED] for name in FIELDS if name in found}


def asked(fields: Typed) -> Comparison:
    """Raises TrainerError with all that is wrong."""
    budget = fields.get("budget", "").strip().replace(",", "")
    if budget and not (budget.isascii() and budget.isdigit()):
        raise SpecError([Problem("page.budget", "--budget", seen=budget)])
    preset = fields.get("preset", "")
    if preset not in {info.name for info in presets.list_presets()}:  # a browser names no file
        raise SpecError([Problem("page.no_preset", preset=preset)])
    number = int(budget) if budget else None
    return comparisons.asked(preset, fields.get("methods", ""), number, fields.get("seeds", ""))


def start(one: Comparison, language: str) -> None:
    """Raises RunError: others train on the device, or a process is at it."""
    spec = launch.prepare(one.preset, [*one.overrides])[0]
    if others := launch.queue.beside(spec, outputs_dir()):
        raise RunError(Problem("page.compared_beside", names=others))
    actions.free_gpu()
    actions.started(comparisons.start(one, language))


def form(fields: Typed, say: Words) -> str:
    """Preset, methods, budget and seeds, as they were typed or as they usually are."""
    chosen = fields.get("methods", ",".join(METHODS)).split(",")
    infos = [info for info in presets.list_presets() if not info.problems and presets.load(info.path).chain is None]
    preset = fields.get("preset", FIRST)
    options = "".join(
        f'<option value="{escape(info.name)}"{" selected" if info.name == preset else ""}>{escape(info.name)}</option>'
        for info in infos
    )
    boxes = "".join(
        f'<label><input type="checkbox" data-field="methods" value="{name}"{" checked" if name in chosen else ""}> '
        f"{escape(say(f'method.{name}'))}</label>"
        for name in METHODS
    )
    budget = _text("budget", fields.get("budget", ""), say("runs.methods_budget_empty"))
    return (
        f'<div class="g-fields"><label class="g-field">{escape(say("runs.methods_preset"))} '
        f'<select data-field="preset">{options}</select></label>'
        f'<fieldset class="g-field"><legend>{escape(say("runs.methods_methods"))}</legend>{boxes}</fieldset>'
        f'<label class="g-field">{escape(say("runs.methods_budget"))} {budget}</label>'
        f'<label class="g-field">{escape(say("runs.methods_seeds"))} '
        f"{_text('seeds', fields.get('seeds', ','.join(map(str, SEEDS))))}</label></div>"
        f"{element('p', say('runs.methods_means'), 'g-effect')}"
    )


def _text(name: str, value: str, empty: str = "") -> str:
    hint = f' placeholder="{escape(empty)}"' if empty else ""
    return f'<input type="text" data-field="{name}" maxlength="{MOST_TYPED}" value="{escape(value)}"{hint}>'


def boxes(rows: Sequence[RunRow], say: Words) -> str:
    """How far each comparison is; "" where there is none. rows: of the table, which says how the runs stand."""
    known = {row.name: row for row in rows}
    return "".join(_box(one, known, say) for one in comparisons.known()[:MOST])


def _box(one: Comparison, known: Mapping[str, RunRow], say: Words) -> str:
    own = comparisons.own(one).values()
    rows = [(rundir, known[rundir.name]) for rundir in own if rundir.name in known]
    ended = [row for rundir, row in rows if is_over(rundir, row.status)]
    failed = [row.name for row in ended if row.status == "failed"]
    works, whole = comparisons.at_work(one.name), len(ended) == len(one.runs)
    state: Status = "running" if works else "finished" if whole else "stopped"
    what = say(
        "runs.compared_what",
        preset=forms.printable(one.preset),
        methods=", ".join(say(f"method.{method}") for method in one.methods),
        budget=f"{one.budget:,}",
        seeds=", ".join(map(str, one.seeds)),
    )
    told = say("runs.compared_done", state=say(f"status.{state}"), done=len(ended), all=len(one.runs))
    now = next((_now(row, say) for _, row in rows if row.status in LIVE), "")
    names = element("p", say("runs.compared_failed", names=failed), "g-effect") if failed else ""
    why = comparisons.last_errors(one.name) if not works else []
    names += elements.pre(why, "") if why else ""
    bar = f'<div class="g-bar"><i style="width:{100 * len(ended) / len(one.runs):.1f}%"></i></div>'
    return (
        f'<section class="g-compared"><h3>{elements.dot(state)}{escape(say("runs.compared_title", name=one.name))}</h3>'
        f"{element('p', what, 'g-effect')}<p>{escape(told)}{escape(now)}</p>{bar}{names}"
        f'<div class="g-panel-buttons">{"".join(_buttons(one, works, whole, bool(ended), say))}</div></section>'
    )


def _now(row: RunRow, say: Words) -> str:
    total = "?" if row.total is None else f"{row.total:,}"
    return " " + say("runs.compared_now", run=row.name, step=f"{row.steps:,}", total=total)


def _buttons(one: Comparison, works: bool, whole: bool, some: bool, say: Words) -> list[str]:
    found = [button("methods_table", say("runs.compared_table"), on=some, run=one.name)]
    if works:
        return [*found, button("methods_stop", say("runs.compared_stop"), run=one.name)]
    if not whole:
        found.append(button("methods_on", say("runs.compared_on"), run=one.name))
    return [*found, button("methods_forget", say("runs.compared_forget"), run=one.name)]


def table(name: str, language: str) -> str:
    """Table and picture of what has finished, as HTML with the page's look. Raises RunError."""
    one = comparisons.found(name)
    return html.sections(report.build(comparisons.came_to(one), one.budget, language))


def _begin(name: str, fields: Typed, language: str) -> None:
    start(comparisons.apart(asked(fields)), language)


def _go_on(name: str, fields: Typed, language: str) -> None:
    start(comparisons.found(name), language)


def _stop(name: str, fields: Typed, language: str) -> None:
    comparisons.stop(comparisons.found(name).name)


def _forget(name: str, fields: Typed, language: str) -> None:
    comparisons.forget(comparisons.found(name).name)


DEEDS = {"methods_start": _begin, "methods_on": _go_on, "methods_stop": _stop, "methods_forget": _forget}
"""What the buttons do: given the name of a comparison, what was typed and the language. All raise TrainerError."""

"""Views of all runs: the table, its filters, what can be done with a run. Pure functions; no gradio, no files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.errors import Problem, TrainerError
from trainer.run.queue_place import place_of
from trainer.run.status import LIVE, Status
from trainer.text import Words, forms
from trainer.ui import elements
from trainer.ui.elements import element, escape
from trainer.ui.known_runs import RunRow, RunTable, Seen
from trainer.ui.live import buttons
from trainer.ui.runs.choice import MOST_COMPARED, RunChoice
from trainer.ui.sparkline import sparkline

MANY = 8  # runs from which on a filter is worth its room
ARROW, TO_COME, NONE = "\u2192", "\u2026", "-"
# Of the table, between the box to tick and the actions.
COLUMNS = ("run", "state", "model", "steps", "reward", "held_out", "duration", "started")


@dataclass(frozen=True)
class Deed:
    """Something that can be done with a run. name: key of its words. text: its effect, or why it is off."""

    name: str
    on: bool
    text: str


def cells(row: RunRow, words: Words, queue: Sequence[str] = ()) -> list[str]:
    """A row of the table as text: name, state, model, steps, reward, held-out rows, duration, started.

    queue: names of the runs that wait, in order.
    """
    status: Status | None = row.status
    if status is None:
        return [row.name, words("runs.reading"), *[""] * 6]
    state = words(f"status.{status}")
    if row.name in queue:
        state = words("runs.in_queue", state=state, place=queue.index(row.name) + 1, of=len(queue))
    live = status in LIVE
    right = row.correct[0] is not None
    return [
        row.name,
        state,
        words("runs.unreadable") if row.model is None else forms.printable(_short(row.model)),
        f"{row.steps:,} / {'?' if row.total is None else format(row.total, ',')}",
        _from_to(row.reward, forms.number, live),
        _from_to(row.correct if right else row.held_out, forms.percent if right else forms.number, live),
        words.duration(row.seconds) if row.seconds else "-",
        forms.clock(row.started),
    ]


def _short(model: str) -> str:
    """A folder by its last parts."""
    path = Path(model)
    return f"{path.parents[1].name}/{path.name}" if path.is_absolute() and len(path.parts) > 3 else model


def _from_to(pair: tuple[float | None, float | None], form: Callable[[float], str], live: bool) -> str:
    """live: what is not there yet is still to come."""
    first, last = pair
    if first is None:
        return NONE
    return f"{form(first)} {ARROW} {form(last) if last is not None else TO_COME if live else NONE}"


def wanted(rows: Sequence[RunRow], choice: RunChoice, text: str) -> list[RunRow]:
    """Rows that match both filters. Ticked ones stay in sight: they are about to be compared."""
    sought = text.strip().lower()
    return [
        row
        for row in rows
        if row.name in choice.ticked or (choice.state in ("", row.status) and sought in " ".join(_named(row)).lower())
    ]


def _named(row: RunRow) -> list[str]:
    return [row.name, row.title or "", *row.titles.values(), row.model or ""]


def table(
    known: RunTable, choice: RunChoice, text: str, chosen: str | None, deeds: Sequence[Deed], words: Words
) -> str:
    """The whole table. chosen: the run that other tabs show. deeds: of the run whose actions are shown."""
    if not known.rows:
        methods = f'<div class="g-run-bar">{button("methods", words("runs.methods"))}</div>'
        return element("p", words("runs.none"), "g-empty") + methods
    rows = wanted(known.rows, choice, text)
    heads = "".join(element("th", words(f"runs.column_{name}")) for name in COLUMNS)
    body = "".join(_row(row, choice, row.name == chosen, deeds, words, known.queue) for row in rows)
    none = element("p", words("runs.no_match"), "g-empty") if not rows else ""
    more = element("p", words("runs.more", count=known.hidden), "g-empty") if known.hidden else ""
    return (
        f"{_bar(known.rows, choice, words)}"
        f'<table class="g-runs g-all-runs"><thead><tr><th>{_hidden(words("runs.column_compare"))}</th>{heads}'
        f"<th>{_hidden(words('runs.actions'))}</th></tr></thead><tbody>{body}</tbody></table>{none}{more}"
    )


def _bar(rows: Sequence[RunRow], choice: RunChoice, words: Words) -> str:
    """Compare, and a filter by state where there are many runs."""
    ticked = [row.name for row in rows if row.name in choice.ticked]
    count = len(ticked)
    on = 2 <= count <= MOST_COMPARED
    hint = words("runs.compare_hint", count=count, most=MOST_COMPARED)
    if on:
        hint = words("runs.compare_effect", runs=", ".join(ticked))
    compare = button("compare", words("runs.compare"), on=on) + button("methods", words("runs.methods"))
    clear = button("untick", words("runs.untick")) if count else ""
    states = ""
    if len(rows) > MANY:
        counts = Counter(row.status for row in rows if row.status is not None)
        states = _chip(None, words("runs.all"), len(rows), not choice.state)
        for status, number in counts.items():
            states += _chip(status, words(f"status.{status}"), number, status == choice.state)
        states = f'<div class="g-chips" role="group" aria-label="{escape(words("runs.column_state"))}">{states}</div>'
    return f'<div class="g-run-bar">{compare}{clear}{element("span", hint, "g-effect")}</div>{states}'


def _chip(status: Status | None, name: str, count: int, pressed: bool) -> str:
    said = f'aria-pressed="{str(pressed).lower()}" data-do="state" data-state="{status or ""}"'
    return f'<button type="button" {said}>{elements.dot(status)}{escape(name)} <b>{count}</b></button>'


def button(deed: str, label: str, on: bool = True, run: str = "", more: str = "") -> str:
    """A button of the table or of the panel. more: further attributes, escaped already."""
    off = "" if on else " disabled"
    return (
        f'<button type="button" class="g-do" data-do="{escape(deed)}" data-run="{escape(run)}"{off}{more}>'
        f"{escape(label)}</button>"
    )


def _row(
    row: RunRow, choice: RunChoice, chosen: bool, deeds: Sequence[Deed], words: Words, queue: Sequence[str]
) -> str:
    if row.broken is not None:
        return _broken(row.name, row.broken, words)
    name, *texts = cells(row, words, queue)
    opened = row.name == choice.opened and bool(deeds)
    mark = ' class="g-chosen" aria-current="true"' if chosen else ""
    tick = (
        f'<button type="button" class="g-tick" role="checkbox" data-do="tick" data-run="{escape(name)}" '
        f'aria-checked="{str(name in choice.ticked).lower()}" '
        f'aria-label="{escape(words("runs.tick", run=name))}"></button>'
    )
    called = row.titles.get(words.language) or row.title
    title = element("span", forms.printable(called), "g-sub") if called and called != row.model else ""
    first = f'<button type="button" class="g-name" data-do="open" data-run="{escape(name)}">{escape(name)}</button>'
    tds = [f'<td class="g-cell-tick">{tick}</td>', f'<td class="g-cell-run">{first}{title}</td>']
    for column, text in zip(COLUMNS[1:], texts, strict=True):
        label = words(f"runs.column_{column}")
        before = elements.dot(row.status) if column == "state" else ""
        after = sparkline(row.curve, f"{label}: {text}") if column == "reward" else ""
        held = element("span", words("runs.next_stage_held"), "g-sub") if column == "state" and row.held else ""
        cell = f"{before}{escape(text)}{held}"
        tds.append(f'<td class="g-cell-{column}" data-label="{escape(label)}"><div>{after}{cell}</div></td>')
    more = f' aria-expanded="{str(opened).lower()}" aria-label="{escape(words("runs.actions_of", run=name))}"'
    tds.append(f'<td class="g-cell-more">{button("more", words("runs.actions"), run=name, more=more)}</td>')
    line = f"<tr{mark}>{''.join(tds)}</tr>"
    if not opened:
        return line
    shown = "".join(
        f"<li>{button(deed.name, words(f'runs.do_{deed.name}'), deed.on, name)}"
        f"{element('span', deed.text, 'g-effect')}</li>"
        for deed in deeds
    )
    return f'{line}<tr class="g-deeds"><td colspan="{len(COLUMNS) + 2}"><ul>{shown}</ul></td></tr>'


def _broken(name: str, problem: Problem, words: Words) -> str:
    """A run that cannot be read: why, and what to do about it. Nothing of it can be ticked or opened."""
    said, label = problem.said(words), escape(words("runs.column_state"))
    fix = element("span", said.fix, "g-sub") if said.fix else ""
    return (
        f'<tr class="g-broken"><td class="g-cell-tick"></td><td class="g-cell-run">{element("b", name)}</td>'
        f'<td class="g-cell-state" data-label="{label}"><div>{escape(words("runs.broken"))}</div></td>'
        f'<td colspan="{len(COLUMNS) - 1}"><div>{escape(said.what)}{fix}</div></td></tr>'
    )


def _hidden(text: str) -> str:
    """For ears only."""
    return element("span", text, "g-unseen")


def deeds(seen: Seen, queue: Sequence[str], words: Words) -> Iterator[Deed]:
    """What can be done with a run, and what happens then; of what is off, why. queue: the runs that wait, in order."""
    status, live = seen.status, seen.status in LIVE
    yield Deed("open", True, words("runs.effect_open"))
    if status == "imported" or seen.spec is None:
        why = words("runs.off_imported") if status == "imported" else _unreadable(seen, words)
        yield Deed("clone", False, why)
        yield Deed("resume", False, why)
        yield Deed("extend", False, why)
    else:
        going_on = buttons.resume(seen, words)
        yield Deed("clone", True, words("runs.effect_clone"))
        yield Deed("resume", going_on.on, going_on.text)
        yield Deed("extend", not live, words("runs.off_live" if live else "runs.effect_extend"))
        yield from _queueing(seen, queue, going_on.on, words)
    yield Deed("report", True, words("runs.effect_report"))
    yield Deed("delete", not live, words("runs.off_live" if live else "runs.effect_delete"))


def _queueing(seen: Seen, queue: Sequence[str], can_start: bool, words: Words) -> Iterator[Deed]:
    """Waiting for others to end: begin, change the order, and why its turn came to nothing."""
    name = seen.rundir.name
    if name not in queue:
        if can_start:
            yield Deed("queue", True, words("runs.effect_queue"))
        return
    place = place_of(seen.rundir)
    refused = words.said(place.refused) if place is not None and place.refused is not None else ""
    at = queue.index(name) + 1
    sooner = words("runs.queue_refused", why=refused) if refused else words("runs.effect_sooner", place=max(1, at - 1))
    yield Deed("sooner", at > 1 or bool(refused), sooner if at > 1 or refused else words("runs.off_first"))
    last = at == len(queue)
    yield Deed("later", not last, words("runs.off_last") if last else words("runs.effect_later", place=at + 1))
    yield Deed("unqueue", True, words("runs.effect_unqueue"))


def _unreadable(seen: Seen, words: Words) -> str:
    """Why its settings cannot be read, and the way out: what a resume would say."""
    try:
        seen.rundir.read_spec()
    except (TrainerError, OSError) as error:
        said = seen.rundir.unreadable(error, seen.rundir.spec).said(words)
        key = "runs.off_unreadable" if said.fix else "runs.off"
        return words(key, what=said.what, fix=said.fix)
    return words("runs.off_again")

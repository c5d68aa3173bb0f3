"""What stands above the table: a question before something is done, a report, a comparison. No gradio.

A panel is asked for as text (JSON) that lives in the browser, so everything in it is checked where it is used.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trainer.errors import TrainerError
from trainer.text import Words, forms
from trainer.ui import actions as shared
from trainer.ui import elements
from trainer.ui.elements import element, escape
from trainer.ui.runs import actions, choice, compared
from trainer.ui.runs.views import button

OF_METHODS = ("methods_start", "methods_on", "methods_stop", "methods_forget")
DONE = ("resume", "extended", "deleted", *OF_METHODS)  # wishes that are carried out and not only shown
STAY = ("deleted", *OF_METHODS)  # of these, those after which the page does not turn to a run
SHOWN = ("extend", "delete", "report", "compare", "methods", "methods_table")


@dataclass(frozen=True)
class Wish:
    """do: one of DONE or SHOWN, or "". runs: of a comparison. steps: what was typed, None at first. how: one of HOW
    (ui/actions.py), "" for who was not asked. fields: of a comparison of methods, as typed; {} at first."""

    do: str = ""
    run: str = ""
    runs: tuple[str, ...] = ()
    steps: Any = None
    how: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """Never the same twice, so that the same wish again is a change."""
        told = {"do": self.do, "run": self.run, "runs": self.runs, "steps": self.steps, "how": self.how}
        told |= {"fields": dict(self.fields)} if self.fields else {}
        return json.dumps(told | {"nonce": time.time_ns()})


def read(text: str | None) -> Wish:
    """A wish from its text; what is not as it should be is none."""
    try:
        told: Any = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return Wish()
    if not isinstance(told, dict) or told.get("do") not in (*DONE, *SHOWN):
        return Wish()
    run, how = str(told.get("run", "")), str(told.get("how", ""))
    fields = compared.typed(told.get("fields"))
    return Wish(told["do"], run, choice.names(told.get("runs")), told.get("steps"), how, fields)


def carry_out(wish: Wish, words: Words) -> str:
    """Do it; what is said afterwards. Raises TrainerError, and Beside where other runs train on the same device."""
    if wish.do == "deleted":
        actions.delete(wish.run)
        return _box(words("runs.deleted", run=wish.run), "", words)
    with shared.on_disk():
        if wish.do in OF_METHODS:
            compared.DEEDS[wish.do](wish.run, wish.fields, words.language)
            return ""  # what is above the table says the rest
        if wish.do == "extended":
            shared.extend(wish.run, wish.steps, wish.how)
        else:
            shared.resume(wish.run, wish.how)
    return ""  # the page turns to the run, which says the rest


def show(wish: Wish, words: Words) -> str:
    """The panel for a wish; changes nothing. What is wrong is said in it."""
    try:
        if wish.do == "extend":
            return _extend(wish, words)
        if wish.do == "delete":
            return _delete(wish, words)
        if wish.do == "report":
            text = shared.report(wish.run, words.language)
            shown = elements.report(text, f"{wish.run}.html", words("runs.report_save"))
            title = words("runs.report_of", run=wish.run)
            return _box(title, f'<div class="g-report">{shown}</div>', words)
        if wish.do == "compare":
            found = actions.compare(wish.runs, words.language)
            return _box(words("runs.compared", runs=", ".join(wish.runs)), f'<div class="g-read">{found}</div>', words)
        if wish.do == "methods":
            return _methods(wish, words)
        if wish.do == "methods_table":
            found = compared.table(wish.run, words.language)
            title = words("runs.compared_title", name=wish.run)
            return _box(title, f'<div class="g-read">{found}</div>', words)
    except TrainerError as error:
        return wrong(error, words)
    return ""


def beside(wish: Wish, names: Sequence[str], words: Words) -> str:
    """Others train on the device on which that run would go on: what is to happen?"""
    steps = "" if wish.steps is None else f' data-steps="{escape(str(wish.steps)[:20])}"'
    ways = [button(wish.do, words(f"train.how_{how}"), run=wish.run, more=f' data-how="{how}"{steps}')
            for how in shared.HOW]  # fmt: skip
    return _box(words("train.beside", names=names), "", words, ways)


def _methods(wish: Wish, words: Words, refused: str = "") -> str:
    more = ' data-form data-kind="main"'
    begin = button("methods_start", words("runs.methods_start"), more=more)
    return _box(words("runs.methods_ask"), compared.form(wish.fields, words) + refused, words, [begin])


def not_done(wish: Wish, error: TrainerError, words: Words) -> str:
    """Why a wish was not carried out; a form stays as it was filled in."""
    if wish.do == "methods_start":
        return _methods(wish, words, elements.refused(error, words))
    return wrong(error, words)


def wrong(error: TrainerError, words: Words) -> str:
    return _box(words("runs.refused"), elements.refused(error, words), words)


def _delete(wish: Wish, words: Words) -> str:
    found = actions.contents(wish.run)
    lost = words(
        "runs.delete_lost",
        steps=f"{found.steps:,}",
        checkpoints=f"{found.checkpoints:,}",
        files=f"{found.files:,}",
        size=forms.size(found.bytes),
    )
    sure = button("deleted", words("runs.delete_sure", run=wish.run), run=wish.run, more=' data-kind="danger"')
    return _box(words("runs.delete_ask", run=wish.run), element("p", lost), words, [sure], words("runs.keep"))


def _extend(wish: Wish, words: Words) -> str:
    told = "" if wish.steps is None else str(wish.steps)[:20]
    confirm = ""
    try:
        found = shared.extension(wish.run, wish.steps)
    except TrainerError as error:
        if wish.steps is None:
            return wrong(error, words)
        below = elements.refused(error, words)
    else:
        told = str(found.steps)
        before, after = f"{found.before:,}", f"{found.after:,}"
        notes = "".join(f"<li>{escape(words.said(note))}</li>" for note in found.notes)
        below = element("p", words("runs.extend_plan", before=before, after=after))
        below += f'<ul class="g-notes">{notes}</ul>' if notes else ""
        label = words("runs.extend_sure", run=wish.run, after=after)
        confirm = button("extended", label, run=wish.run, more=f' data-steps="{found.steps}" data-kind="main"')
    typed = f'type="number" inputmode="numeric" min="1" max="{shared.MOST_STEPS}" step="1" value="{escape(told)}"'
    number = f'<input {typed} data-do="extend" data-run="{escape(wish.run)}">'
    number = f'<label class="g-field">{escape(words("runs.steps"))} {number}</label>'
    return _box(words("runs.extend_ask", run=wish.run), number + below, words, [confirm])


def _box(title: str, inside: str, words: Words, buttons: Sequence[str] = (), close: str = "") -> str:
    shut = button("close", close or words("runs.close"))
    return (
        f'<section class="g-panel"><h3 tabindex="-1">{escape(title)}</h3>{inside}'
        f'<div class="g-panel-buttons">{"".join(buttons)}{shut}</div></section>'
    )

"""Runs: all of them in a table, what can be done with each, and two or more beside each other."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import gradio as gr

from trainer.errors import TrainerError
from trainer.text import words
from trainer.ui import actions as shared
from trainer.ui import elements
from trainer.ui.known_runs import KnownRuns
from trainer.ui.labels import Labels
from trainer.ui.runs import actions, choice, compared, panel, views
from trainer.ui.runs.choice import MOST_COMPARED, RunChoice
from trainer.ui.runs.panel import Wish
from trainer.ui.tab import Frame, Look, Tab

QUEUE = ("queue", "sooner", "later", "unqueue")
MOST_TEXT = 100  # characters of the filter
# A click on a button tells what it says of itself, and which runs are ticked. Those are kept here: a table that was
# asked for before a click may come after it, and must not take the tick back. The server checks all of it.
_TABLE = """
const ticked = new Set();
const show = () => {
    const boxes = [...element.querySelectorAll(".g-tick")];
    for (const box of boxes) box.ariaChecked = String(ticked.has(box.dataset.run));
    for (const name of ticked) if (!boxes.some((box) => box.dataset.run === name)) ticked.delete(name);
    const compare = element.querySelector("[data-do=compare]");
    if (compare) compare.disabled = ticked.size < 2 || ticked.size > MOST;
};
watch("value", show);
element.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-do]");
    if (!button) return;
    if (button.dataset.do === "untick") ticked.clear();
    if (button.dataset.do === "tick" && !ticked.delete(button.dataset.run)) ticked.add(button.dataset.run);
    show();
    trigger("click", {...button.dataset, ticked: [...ticked]});
});""".replace("MOST", str(MOST_COMPARED))
# The same for the panel, with a number that is typed. What appears gets the focus, and gives it back.
_PANEL = """
let from = null, title = "", wait = 0;
element.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-do]");
    if (!button) return;
    const fields = {};
    if ("form" in button.dataset)
        for (const {dataset, type, checked, value} of element.querySelectorAll("[data-field]")) {
            if (type !== "checkbox") fields[dataset.field] = value;
            else fields[dataset.field] = [...(fields[dataset.field] || "").split(","), checked ? value : ""]
                .filter(Boolean).join(",");
        }
    trigger("click", {...button.dataset, fields});
});
element.addEventListener("input", (event) => {
    const {dataset, value} = event.target;
    clearTimeout(wait);
    if (dataset.do) wait = setTimeout(() => trigger("click", {...dataset, steps: value}), 400);
});
watch("value", () => {
    const head = element.querySelector("h3");
    const now = head ? head.textContent : "";
    if (now && now !== title) {
        from = title ? from : document.activeElement;
        head.focus({preventScroll: true});
        head.scrollIntoView({block: "nearest"});
    } else if (!now && from && from.isConnected) from.focus({preventScroll: true});
    title = now;
});"""


_CLICKED = """element.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-do]");
    if (button) trigger("click", {...button.dataset});
});"""


class RunsTab(Tab):
    name = "runs"

    def __init__(self, labels: Labels) -> None:
        super().__init__()
        with labels.make(gr.Tab, words={"label": "tab.runs"}, id="runs") as self.tab:
            self.question = gr.HTML(elem_classes="g-question")
            self.panel = gr.HTML(js_on_load=_PANEL, elem_classes="g-panel-place")
            self.compared = gr.HTML(js_on_load=_CLICKED, elem_classes="g-panel-place")
            self.text = labels.make(
                gr.Textbox,
                words={"label": "runs.filter", "placeholder": "runs.filter_hint"},
                max_length=MOST_TEXT,
                visible=False,
                elem_classes="g-filter",
            )
            self.table = gr.HTML(js_on_load=_TABLE, elem_classes="g-table")
            # What this browser has chosen, and what it asked for: kept by it, so that any server can go on.
            self.choice = gr.Textbox(visible="hidden", max_length=2_000)
            self.wish = gr.Textbox(visible="hidden", max_length=2_000)
        self.outputs = {name: getattr(self, name) for name in ("question", "compared", "text", "table")}
        self.inputs = [self.choice, self.text]

    def show(self, look: Look, *chosen: Any) -> dict[str, Any]:
        told, text = (*chosen, None, None)[:2]
        chosen_now = choice.read(told)
        return {
            "question": elements.element("h2", look.say("runs.question")),
            "compared": compared.boxes(look.table.rows, look.say),
            "text": len(look.table.rows) > views.MANY,
            "table": self._table(look, chosen_now, str(text or "")[:MOST_TEXT]),
        }

    @staticmethod
    def _table(look: Look, now: RunChoice, text: str) -> str:
        deeds: list[views.Deed] = []
        if now.opened in {row.name for row in look.table.rows}:
            try:
                with look.runs.look(now.opened) as seen:
                    deeds = list(views.deeds(seen, look.table.queue, look.say))
            except TrainerError:  # deleted between the table and the look
                pass
        return views.table(look.table, now, text, look.run, deeds, look.say)

    def update(self, name: str, value: Any) -> Any:
        return gr.update(visible=value) if name == "text" else value

    def wire(self, frame: Frame) -> None:
        given = [frame.run, frame.language, self.choice, self.text]
        runs = frame.runs

        def redrawn(run: str, language: str, told: str, text: str) -> str:
            return self._redrawn(runs, run, language, told, text)

        def picked(event: gr.EventData, run: str, language: str, told: str, text: str) -> list[Any]:
            return self._picked(event, runs, run, language, told, text)

        def wished(wish: str, run: str, language: str, told: str, text: str) -> list[Any]:
            return self._wished(runs, wish, run, language, told, text)

        def translated(wish: str, language: str) -> str:
            return panel.show(panel.read(wish), words(language))

        answered = [self.choice, self.table, self.wish, frame.run, frame.here, frame.change]
        for place in (self.table, self.panel, self.compared):
            place.click(picked, given, answered, trigger_mode="multiple", api_name=False, **frame.quiet)
        self.text.change(redrawn, given, self.table, trigger_mode="always_last", api_name=False, **frame.quiet)
        seen = {**frame.quiet, "show_progress": "minimal", "show_progress_on": [self.panel]}
        self.wish.change(
            wished, [self.wish, *given], [self.panel, self.table, frame.run, frame.here], api_name="wish", **seen
        )
        frame.language.change(translated, [self.wish, frame.language], self.panel, api_name=False, **frame.beside)

    def _redrawn(self, runs: KnownRuns, run: str, language: str, told: str, text: str) -> str:
        look = Look(words(language), runs, runs.table(), run, time.time())
        return self._table(look, choice.read(told), str(text or "")[:MOST_TEXT])

    def _picked(self, event: Any, runs: KnownRuns, run: str, language: str, told: str, text: str) -> list[Any]:
        """A click: another choice, a turn to another tab, or a wish for the panel. In the order of `answered`."""
        say, sent = words(language), event._data if isinstance(event._data, dict) else {}
        deed, name = str(sent.get("do", "")), str(sent.get("run", ""))
        now = choice.read(told)
        if isinstance(sent.get("ticked"), list):
            now = dataclasses.replace(now, ticked=choice.names(sent["ticked"]))
        wish: Any = gr.skip()
        here: Any = gr.skip()
        change: Any = gr.skip()
        other: Any = gr.skip()
        if deed == "more":
            now = dataclasses.replace(now, opened="" if now.opened == name else name)
        elif deed == "state":
            now = dataclasses.replace(now, state=str(sent.get("state", "")))
        elif deed == "untick":
            now = dataclasses.replace(now, ticked=())
        elif deed == "open" and name in {row.name for row in runs.table().rows}:
            other, here = name, "live"
        elif deed == "clone":
            try:
                change, here = actions.clone(name), "train"
            except TrainerError as error:
                gr.Warning(elements.escape(elements.told(error, say)))
        elif deed in QUEUE:
            try:
                with shared.on_disk():
                    actions.queue(name, deed)
            except TrainerError as error:
                gr.Warning(elements.escape(elements.told(error, say)))
        elif deed == "close":
            wish = ""
        elif deed == "compare":
            wish = Wish(deed, runs=now.ticked).text
        elif deed in (*panel.DONE, *panel.SHOWN):
            wish = Wish(deed, run=name[:64], steps=sent.get("steps"), how=str(sent.get("how", ""))[:8])
            wish = dataclasses.replace(wish, fields=compared.typed(sent.get("fields"))).text
        stored = choice.read(now.text).text
        return [stored, self._redrawn(runs, run, language, stored, text), wish, other, here, change]

    def _wished(self, runs: KnownRuns, asked: str, run: str, language: str, told: str, text: str) -> list[Any]:
        """The panel, and what else has changed: [panel, table, run, here]."""
        say, wish = words(language), panel.read(asked)
        if wish.do not in panel.DONE:
            return [panel.show(wish, say), gr.skip(), gr.skip(), gr.skip()]
        try:
            shown = panel.carry_out(wish, say)
        except shared.Beside as found:
            return [panel.beside(wish, found.names, say), gr.skip(), gr.skip(), gr.skip()]
        except TrainerError as error:
            shown = panel.not_done(wish, error, say)
            return [shown, self._redrawn(runs, run, language, told, text), gr.skip(), gr.skip()]
        table = self._redrawn(runs, run, language, told, text)
        if wish.do in panel.STAY:
            return [shown, table, gr.skip(), gr.skip()]
        return [shown, table, wish.run, "live"]

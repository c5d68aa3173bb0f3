"""Runs: all of them in a table."""

from __future__ import annotations

from typing import Any

import gradio as gr

from trainer.ui import markup
from trainer.ui.labels import Labels
from trainer.ui.runs import views
from trainer.ui.tab import Frame, Look, Tab

# A click on a name in the table chooses that run; the names are our own, checked by the server.
_CHOOSE = """element.addEventListener("click", (event) => {
    const button = event.target.closest("[data-run]");
    if (button) trigger("click", {run: button.dataset.run});
});"""


class RunsTab(Tab):
    name = "runs"

    def __init__(self, labels: Labels) -> None:
        super().__init__()
        with labels.make(gr.Tab, words={"label": "tab.runs"}, id="runs") as self.tab:
            self.table = gr.HTML(js_on_load=_CHOOSE, elem_classes="g-table")
        self.outputs = {"table": self.table}

    def show(self, look: Look, *chosen: Any) -> dict[str, Any]:
        say, table = look.say, look.table
        head = [say(f"runs.column_{name}") for name in ("run", "state", "title", "steps")]
        head += [say("runs.column_reward"), say("runs.column_started")]
        title = markup.element("h2", say("runs.question"))
        if not table.rows:
            return {"table": title + markup.element("p", say("runs.none"), "g-empty")}
        rows = [(row.status, views.cells(row, say)) for row in table.rows]
        more = markup.element("p", say("runs.more", count=table.hidden)) if table.hidden else ""
        return {"table": title + markup.table(head, rows, look.run) + more}

    def wire(self, frame: Frame) -> None:
        def picked(event: gr.EventData) -> list[Any]:
            """A click in the table."""
            run = str(getattr(event, "run", ""))
            known = run in {row.name for row in frame.runs.table().rows}
            return [run, "live"] if known else [gr.skip(), gr.skip()]

        self.table.click(picked, None, [frame.run, frame.here], api_name=False, **frame.quiet)

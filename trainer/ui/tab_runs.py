"""Runs: all of them in a table, and the chosen one: state, charts, steps, alerts, stop, resume."""

from __future__ import annotations

from typing import Any

import gradio as gr

from trainer import charts, console
from trainer.errors import TrainerError
from trainer.ui import actions, markup, views
from trainer.ui.labels import Labels
from trainer.ui.runs import Runs, Seen, Table
from trainer.ui.text import Words, words
from trainer.ui.views import Action

# A click on a name in the table chooses that run; the names are our own, checked by the server.
_CHOOSE = """element.addEventListener("click", (event) => {
    const button = event.target.closest("[data-run]");
    if (button) trigger("click", {run: button.dataset.run});
});"""


class RunsTab:
    """names: what `show` gives values for, in the order of `outputs`."""

    names = (
        "run",
        "table",
        "chooser",
        "state",
        "facts",
        "stop",
        "resume",
        "hints",
        "reward",
        "spread",
        "dead",
        "lines",
        "alerts",
        "cause",
    )

    def __init__(self, labels: Labels, runs: Runs) -> None:
        self.runs = runs
        with labels.make(gr.Tab, words={"label": "tab.runs"}, id="runs") as self.tab:
            self.table = gr.HTML(js_on_load=_CHOOSE, elem_classes="g-table")
            self.chooser = labels.make(
                gr.Dropdown, words={"label": "runs.choose"}, choices=[], elem_classes="g-chooser"
            )
            # What every event is asked about. Not the dropdown itself: Gradio refuses a value that
            # is not among its choices, and a server that was restarted does not know them yet.
            self.run = gr.Textbox(visible="hidden", max_length=64)
            self.state = gr.HTML(elem_classes="g-state")
            self.cause = gr.HTML(elem_classes="g-cause")
            self.facts = gr.HTML()
            with gr.Row(elem_classes="g-actions"):
                self.stop = labels.make(gr.Button, words={"value": "runs.stop"}, scale=0, min_width=180)
                self.resume = labels.make(gr.Button, words={"value": "runs.resume"}, scale=0, min_width=180)
                self.report = labels.make(gr.Button, words={"value": "runs.report"}, scale=0, min_width=180)
                self.hints = gr.HTML(elem_classes="g-hints")
            self.told = gr.HTML()
            self.read = gr.HTML(elem_classes="g-report")
            with gr.Row(elem_classes="g-charts"):
                self.reward = gr.HTML(elem_classes="g-wide", min_width=300)
                self.spread = gr.HTML(elem_classes="g-third", min_width=300)
                self.dead = gr.HTML(elem_classes="g-third", min_width=300)
            self.lines = gr.HTML()
            self.alerts = gr.HTML()
        self.outputs = [getattr(self, name) for name in self.names]

    def show(self, say: Words, table: Table, run: str | None, now: float) -> dict[str, Any]:
        """Plain values by name; `update` turns them into what gradio wants."""
        values: dict[str, Any] = {
            "run": run or "",
            "table": self._table(say, table, run),
            "chooser": ([row.name for row in table.rows], run),
        }
        try:
            if run is None:
                return values | self._nothing(say)
            with self.runs.look(run) as seen:
                return values | self._run(say, seen, now)
        except TrainerError:  # deleted between the table and the look
            return values | self._nothing(say)

    @staticmethod
    def _table(say: Words, table: Table, run: str | None) -> str:
        head = [say(f"runs.column_{name}") for name in ("run", "state", "title", "steps")]
        head += [say("runs.column_reward"), say("runs.column_started")]
        title = markup.element("h2", say("runs.question"))
        if not table.rows:
            return title + markup.element("p", say("runs.none"), "g-empty")
        rows = [(row.status, views.cells(row, say)) for row in table.rows]
        more = say("runs.more", count=table.hidden) if table.hidden else ""
        return title + markup.table(head, rows, run) + (markup.element("p", more) if more else "")

    @staticmethod
    def _nothing(say: Words) -> dict[str, Any]:
        off = Action(False, "")
        return {
            "state": "",
            "facts": "",
            "stop": off,
            "resume": off,
            "hints": markup.element("p", say("runs.none_chosen")),
            "reward": "",
            "spread": "",
            "dead": "",
            "lines": "",
            "alerts": "",
            "cause": "",
        }

    @staticmethod
    def _run(say: Words, seen: Seen, now: float) -> dict[str, Any]:
        stop, resume = views.stop_action(seen, say), views.resume_action(seen, say)
        axis = say("chart.step"), say("runs.lines_none")
        heading = f"<h2>{markup.dot(seen.status)}{markup.escape(seen.rundir.name)}</h2>"
        lines = markup.pre(views.step_lines(seen), say("runs.lines_none"))
        alerts = markup.alerts(views.alerts(seen.state), say("runs.alerts_none"))
        return {
            "state": heading + markup.paragraphs(views.sentences(seen, say)),
            "facts": markup.facts(views.facts(seen, say, now)),
            "stop": stop,
            "resume": resume,
            "hints": markup.element("p", stop.text) + markup.element("p", resume.text),
            "reward": charts.render(views.reward_chart(seen.state, say), *axis),
            "spread": charts.render(views.spread_chart(seen.state, say), *axis),
            "dead": charts.render(views.dead_chart(seen.state, say), *axis),
            "lines": markup.element("h3", say("runs.lines")) + lines,
            "alerts": markup.element("h3", say("runs.alerts")) + alerts,
            "cause": _cause(say, seen),
        }

    def update(self, name: str, value: Any) -> Any:
        """A value of `show` as gradio takes it."""
        if name == "chooser":
            choices, run = value
            return gr.update(choices=choices, value=run)
        if name in ("stop", "resume"):
            return gr.update(interactive=value.on)
        return value

    def wire(self, language: Any, quiet: dict[str, Any]) -> None:
        asked = [self.run, language]
        self.chooser.input(None, self.chooser, self.run, js="(run) => run", queue=False)
        self.table.click(self.picked, None, self.run, api_name=False, **quiet)
        self.stop.click(self.stopped, asked, self.told, api_name="stop", **quiet)
        self.resume.click(self.resumed, asked, self.told, api_name="resume", **quiet)
        self.report.click(self.reported, asked, self.read, api_name="report", **quiet)
        self.run.change(lambda: ("", ""), None, [self.told, self.read], api_name=False, **quiet)

    def picked(self, event: gr.EventData) -> Any:
        """A click in the table."""
        run = str(getattr(event, "run", ""))
        return run if run in {row.name for row in self.runs.table().rows} else gr.skip()

    @staticmethod
    def stopped(run: str | None, language: str) -> str:
        return _told(actions.stop, run, words(language))

    @staticmethod
    def resumed(run: str | None, language: str) -> str:
        return _told(actions.resume, run, words(language))

    @staticmethod
    def reported(run: str | None, language: str) -> str:
        say = words(language)
        try:
            return markup.report(actions.report(run, language, say), f"{run}.html", say("runs.report_save"))
        except TrainerError as error:
            return markup.notice(str(error), "g-wrong")


def _told(action: Any, run: str | None, say: Words) -> str:
    try:
        return markup.notice(action(run, say))
    except TrainerError as error:
        return markup.notice(str(error), "g-wrong")


def _cause(say: Words, seen: Seen) -> str:
    """Of a run that failed or was lost: the cause, where in the code, the end of its log."""
    if seen.status not in ("failed", "lost"):
        return ""
    found = views.cause(seen)
    log = console.log_tail(seen.rundir.log_file(max(1, seen.rundir.newest_attempt())))
    parts = [markup.element("h3", say("runs.cause")) + markup.pre(found, "") if found else ""]
    parts.append(markup.folded(say("runs.traceback"), views.traceback_tail(seen)))
    parts.append(markup.folded(say("runs.log"), "\n".join(log)))
    return "".join(parts)

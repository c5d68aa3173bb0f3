"""Live: one run as it goes: state, charts, steps, alerts, stop, resume."""

from __future__ import annotations

from typing import Any

import gradio as gr

from trainer import charts, console
from trainer.errors import TrainerError
from trainer.ui import markup
from trainer.ui.known_runs import Seen
from trainer.ui.labels import Labels
from trainer.ui.live import actions, views
from trainer.ui.live.views import Action
from trainer.ui.tab import Frame, Look, Tab
from trainer.ui.text import Words, words


class LiveTab(Tab):
    name = "live"
    names = ("state", "facts", "stop", "resume", "hints", "reward", "spread", "dead", "lines", "alerts", "cause")

    def __init__(self, labels: Labels) -> None:
        super().__init__()
        with labels.make(gr.Tab, words={"label": "tab.live"}, id="live") as self.tab:
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
        self.outputs = {name: getattr(self, name) for name in self.names}

    def show(self, look: Look, *chosen: Any) -> dict[str, Any]:
        try:
            if look.run is None:
                return self._nothing(look.say)
            with look.runs.look(look.run) as seen:
                return self._run(look.say, seen, look.now)
        except TrainerError:  # deleted between the table and the look
            return self._nothing(look.say)

    def _nothing(self, say: Words) -> dict[str, Any]:
        off = Action(False, "")
        empty: dict[str, Any] = dict.fromkeys(self.names, "")
        return empty | {"stop": off, "resume": off, "hints": markup.element("p", say("page.run_none"))}

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
        return gr.update(interactive=value.on) if name in ("stop", "resume") else value

    def wire(self, frame: Frame) -> None:
        asked = [frame.run, frame.language]
        self.stop.click(self.stopped, asked, self.told, api_name="stop", **frame.quiet)
        self.resume.click(self.resumed, asked, self.told, api_name="resume", **frame.quiet)
        self.report.click(self.reported, asked, self.read, api_name="report", **frame.quiet)
        frame.run.change(lambda: ("", ""), None, [self.told, self.read], api_name=False, **frame.quiet)

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

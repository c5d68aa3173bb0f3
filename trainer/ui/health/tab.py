"""Health: does it learn, and what is in its way? Every signal of the rules, what it means and what to do."""

from __future__ import annotations

from typing import Any

import gradio as gr

from trainer.errors import TrainerError
from trainer.run.rundir import RunDir, outputs_dir
from trainer.run.status import LIVE
from trainer.ui import advice, elements
from trainer.ui.diagnoses import Diagnoses
from trainer.ui.health import views
from trainer.ui.labels import Labels
from trainer.ui.tab import Frame, Look, Tab


class HealthTab(Tab):
    name = "health"

    def __init__(self, labels: Labels, diagnoses: Diagnoses) -> None:
        super().__init__()
        self.diagnoses = diagnoses
        with labels.make(gr.Tab, words={"label": "tab.health"}, id="health", elem_classes="g-health-tab") as self.tab:
            self.question = gr.HTML(elem_classes="g-question")
            self.top = gr.HTML(elem_classes="g-health-top")
            # Seen on a phone only, where all of it is seven screens.
            labels.make(gr.Checkbox, words={"label": "health.all"}, interactive=True, elem_classes="g-all-signals")
            self.table = gr.HTML(js_on_load=advice.CLICKED, elem_classes="g-health-place")
        self.outputs = {"question": self.question, "top": self.top, "table": self.table}

    def show(self, look: Look, *chosen: Any) -> dict[str, Any]:
        say = look.say
        question = elements.element("h2", say("health.question"))
        if look.run is None:
            return {"question": question, "top": elements.element("p", say("page.run_none"), "g-empty"), "table": ""}
        question = f"{question}{elements.element('p', say('health.of', run=look.run), 'g-empty')}"
        try:
            found = self.diagnoses.newest(RunDir.open(outputs_dir(), look.run), look.ended)
        except FileNotFoundError:  # deleted between the table and the look
            return {"question": question, "top": elements.element("p", say("page.run_none"), "g-empty"), "table": ""}
        except TrainerError as error:
            return {"question": question, "top": elements.no_run(error, say("page.run_none"), say), "table": ""}
        if found is None:
            steps = next((row.steps for row in look.table.rows if row.name == look.run), 0)
            return {"question": question, "top": views.waiting(steps, say), "table": ""}
        if found.broken:
            wrong = elements.notice(say("health.broken", error=say.said(found.broken)), "g-wrong")
            return {"question": question, "top": wrong, "table": ""}
        if not found.last_step:
            none = elements.element("p", say(f"health.no_step_{'yet' if found.status in LIVE else 'ever'}"), "g-lead")
            return {"question": question, "top": none, "table": ""}
        return {"question": question, "top": views.top(found, say), "table": views.table(found, say)}

    def wire(self, frame: Frame) -> None:
        advice.wire(self.table, self.diagnoses, frame)

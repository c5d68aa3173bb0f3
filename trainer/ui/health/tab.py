"""The tab of this room."""

from __future__ import annotations

from typing import Any

import gradio as gr

from trainer.ui import markup
from trainer.ui.labels import Labels
from trainer.ui.tab import Frame, Look, Tab


class HealthTab(Tab):
    name = "health"

    def __init__(self, labels: Labels) -> None:
        super().__init__()
        with labels.make(gr.Tab, words={"label": "tab.health"}, id="health") as self.tab:
            self.outputs = {"question": gr.HTML(elem_classes="g-question")}

    def show(self, look: Look, *chosen: Any) -> dict[str, Any]:
        return {"question": markup.element("h2", look.say("tab.health"))}

    def wire(self, frame: Frame) -> None:
        pass

"""Advice with a button that turns to Train with the settings of a run and the advice changed: for Health and Live."""

from __future__ import annotations

from typing import Any

import gradio as gr

from trainer.errors import TrainerError
from trainer.report.finding import Advice
from trainer.report.html import inline
from trainer.run.rundir import RunDir, outputs_dir
from trainer.text import Words, words
from trainer.ui.actions import train_change
from trainer.ui.diagnoses import Diagnoses, Diagnosis
from trainer.ui.elements import element, escape
from trainer.ui.tab import Frame

# Tells which advice was clicked; what it changes is looked up by the server.
CLICKED = """element.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-advice]");
    if (button) trigger("click", {...button.dataset});
});"""


def shown(signal: str, advice: Advice, found: Diagnosis, words: Words, report: Words) -> str:
    """What to do, what is typed for it, and the button where there are settings to begin from."""
    text = f"<p>{inline(report(f'advice.{advice.key}', **advice.values))}</p>"
    typed = "".join(element("code", change) for change in advice.changes) or element("code", advice.typed)
    if advice.command or found.known is not None or not found.readable:
        return f'<div class="g-advice">{text}{typed}</div>'
    label = words("health.train_changed" if advice.changes else "health.train_as_it_is")
    data = f'data-signal="{escape(signal)}" data-advice="{escape(advice.key)}"'
    press = f'<button type="button" class="g-do" {data}>{escape(label)}</button>'
    return f'<div class="g-advice">{text}{typed}{press}</div>'


def given(found: Diagnosis, signal: str, key: str) -> Advice | None:
    """A piece of advice that is given now."""
    now = (advice for finding in found.findings if finding.signal == signal for advice in finding.advice)
    return next((advice for advice in now if advice.key == key), None)


def wire(place: Any, diagnoses: Diagnoses, frame: Frame) -> None:
    """Let the buttons in `place`, made with CLICKED, turn to Train; only what is advised now."""

    def advised(event: gr.EventData, run: str, language: str) -> list[Any]:
        told = event._data if isinstance(event._data, dict) else {}
        try:
            found = diagnoses.newest(RunDir.open(outputs_dir(), run))
        except (TrainerError, FileNotFoundError):
            found = None
        advice = found and given(found, str(told.get("signal")), str(told.get("advice")))
        if not found or not advice or found.known is not None or not found.readable:
            gr.Info(words(language)("health.gone"), duration=5)
            return [gr.skip(), gr.skip()]
        return [train_change(found.run, advice.changes), "train"]

    place.click(advised, [frame.run, frame.language], [frame.change, frame.here], api_name=False, **frame.quiet)

"""Train: choose what to teach, change settings, see the plan and what is wrong, start.

The form lives in the browser (_FILES): what it holds is JSON (form.py) and outlives a reload. The server
answers with JSON as well, which the script puts in its places, so that nothing jumps and no typing is lost. Another tab
fills the form through Frame.change: {"base": {"run": NAME}, "changes": ["section.key=value", ...]}.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from trainer.errors import Problem, TrainerError, WorkError
from trainer.tasks import making
from trainer.text import Words, words
from trainer.ui import actions as shared
from trainer.ui import elements
from trainer.ui.labels import Labels
from trainer.ui.tab import Frame, Look, Tab
from trainer.ui.train import actions, cards, components, data, own, playground, views
from trainer.ui.train import form as forms
from trainer.ui.train.form import Form

PATIENCE_S = 1.0  # for rows of a task that are being made: then it is said how far they are
_FILES = ("chosen.js", "form.js", "own.js", "rewards.js", "hands.js")
_SCRIPT = "".join(Path(__file__).with_name(name).read_text(encoding="utf-8") for name in _FILES)
# Until the form is there, as the frame of the page before it (ui/opening.py).
_BONE = '<i class="g-bone g-bone-card"></i>'
_BONES = f'<div class="g-open-cards" aria-hidden="true">{_BONE * 3}</div>'
# An answer that arrived goes to the script of the form.
_PASSED_ON = """
watch("value", () => document.dispatchEvent(new CustomEvent("train", { detail: props.value })));
"""
# Before the page was told its language it is that of its opening (ui/opening.py): else the form would be made twice.
_SPOKEN = """(language, form) => {
    const opening = !window.pageOpened && document.getElementById("g-opening");
    return [opening ? opening.lang : language, form];
}"""
# The form may not be there yet: it looks for a change when it is made.
_CHANGED = """(change) => {
    window.trainChange = change;
    document.dispatchEvent(new CustomEvent("train-change"));
}"""


class TrainTab(Tab):
    name = "train"
    ticks = False

    def __init__(self, labels: Labels) -> None:
        super().__init__()
        with labels.make(gr.Tab, words={"label": "tab.train"}, id="train") as self.tab:
            self.form = gr.HTML("", html_template=f'<div class="t-root">{_BONES}</div>', js_on_load=_SCRIPT)
            hidden: dict[str, Any] = {"html_template": "", "js_on_load": _PASSED_ON, "elem_classes": "t-answer"}
            self.answer = gr.HTML("", **hidden)
            self.settled = gr.HTML("", **hidden)
            self.looked = gr.HTML("", **hidden)
            self.tried = gr.HTML("", **hidden)
            self.owned = gr.HTML("", **hidden)
            self.told = gr.HTML("", **hidden)

    def show(self, look: Look, *chosen: Any) -> dict[str, Any]:
        return {}

    def wire(self, frame: Frame) -> None:
        asked, quiet = [frame.language, self.form], frame.quiet
        last: dict[str, Any] = {"trigger_mode": "always_last", **quiet}
        first = {"js": _SPOKEN, **last}
        gr.on([self.form.input, self.tab.select], self.checked, asked, self.answer, api_name="check", **first)
        frame.language.change(self.checked, asked, self.answer, api_name=False, **frame.beside)
        self.form.settle(self.settle, asked, self.settled, api_name="settle", **first)
        self.form.look(self.look, asked, self.looked, api_name="look", **first)
        self.form.attempt(self.attempt, asked, self.tried, api_name="attempt", **last)
        self.form.own(self.own, asked, self.owned, api_name="own", **last)
        self.form.why(self.why, asked, self.told, api_name="why", **last)
        self.form.start(self.started, asked, [self.answer, frame.here, frame.run], api_name="start", **quiet)
        frame.change.change(None, frame.change, None, js=_CHANGED, queue=False)

    @staticmethod
    def checked(language: str, text: str) -> str:
        """What the form comes to; with all words and controls where the browser has those of another language."""
        return _checked(language, text, actions.check)

    @staticmethod
    def settle(language: str, text: str) -> str:
        """The same, when what takes a moment is known too."""
        return _checked(language, text, actions.settle)

    @staticmethod
    def started(language: str, text: str) -> list[Any]:
        """Start a run and turn to it; or say here why it cannot be started."""
        say, sent = words(language), dict[str, Any]()
        try:
            form, sent = forms.read(text, must_be_there=True)
            with making.waiting(PATIENCE_S):
                run = actions.start(form, sent.get("how"))
        except shared.Beside as found:
            asking = elements.beside(found.names, say)
            return [_sent({"kind": "refused", **_echo(sent), "verdict": asking}), gr.skip(), gr.skip()]
        except Exception as error:  # the button would stay as it is while a run starts
            return [
                _sent({"kind": "refused", **_echo(sent), "verdict": _refused(error, say)}),
                gr.skip(),
                gr.skip(),
            ]
        gr.Info(say("train.waits" if sent.get("how") == "queue" else "train.started", name=run.name), duration=5)
        return [_sent({"kind": "started", **_echo(sent), "run": run.name}), "live", run.name]

    @staticmethod
    def look(language: str, text: str) -> str:
        """The rows as the model will see them."""
        return _shown("looked", language, text, lambda form, sent, say: data.shown(form, sent.get("ask"), say))

    @staticmethod
    def own(language: str, text: str) -> str:
        """All changes that come with rows of one's own, or why there are none."""
        say, sent = words(language), dict[str, Any]()
        try:
            form, sent = forms.read(text, must_be_there=True)
            if "code" in sent:
                html = components.of_file(str(sent["code"]), say)
                return _sent({"kind": "owned", **_echo(sent), "code": html})
            asked = {str(ours): str(theirs) for ours, theirs in dict(sent.get("columns") or {}).items()}
            path = str(sent.get("path", ""))
            name = None if sent.get("stay") else own.proposed_preset(form, path)
            with making.waiting(PATIENCE_S):
                found: dict[str, Any] = {"preset": name} if name else {"changes": own.chosen(form, path, asked).changes}
        except Exception as error:  # the button would stay grey
            found = {"code" if "code" in sent else "html": _refused(error, say, a_start=False)}
        return _sent({"kind": "owned", "path": sent.get("path"), **_echo(sent), **found})

    @staticmethod
    def why(language: str, text: str) -> str:
        """The reasons of a preset's values."""
        return _shown("why", language, text, lambda form, sent, say: cards.reasons(sent.get("why"), say))

    @staticmethod
    def attempt(language: str, text: str) -> str:
        """The rewards on some rows."""
        return _shown("tried", language, text, lambda form, sent, say: playground.shown(form, sent.get("typed"), say))


def _checked(language: str, text: str, look: Callable[[Form], actions.Checked]) -> str:
    say = words(language)
    kind, sent = "checked", dict[str, Any]()
    try:
        form, sent = forms.read(text)
        with making.waiting(PATIENCE_S):
            checked = look(form)
            found = views.answer(checked, say)
        made = checked.making.values["file"] if checked.making is not None else None
        if sent.get("making") not in (None, made):  # nobody waits for them any more
            making.stop(str(sent["making"]))
    except Exception as error:
        # Without an answer the page would go on with the one before, of other settings.
        kind, found = "broken", {"verdict": _refused(error, say)}
    if sent.get("have") != say.language:
        found["still"] = views.still(say)
    return _sent({"kind": kind, **_echo(sent), **found})


def _shown(kind: str, language: str, text: str, show: Callable[[Form, dict[str, Any], Words], str]) -> str:
    """What `show` makes of a form, or why it cannot."""
    say, sent = words(language), dict[str, Any]()
    try:
        form, sent = forms.read(text, must_be_there=True)
        with making.waiting(PATIENCE_S):
            found = show(form, sent, say)
    except Exception as error:  # the panel would stay grey
        found = _refused(error, say)
    return _sent({"kind": kind, **_echo(sent), "why": sent.get("why"), "html": found})


def _refused(error: Exception, say: Words, a_start: bool = True) -> str:
    """What is wrong; of a fault of ours its last line, and all of it in the server's log."""
    if not isinstance(error, TrainerError):
        traceback.print_exception(error)
        error = WorkError(Problem("page.fault", said=f"{type(error).__name__}: {error}"[:300]))
    return views.refused(error, say, a_start)


def _echo(sent: dict[str, Any]) -> dict[str, int]:
    """The numbers a question came with: they tell which one is answered."""
    numbers = {name: sent.get(name) for name in ("serial", "turn")}
    return {name: number for name, number in numbers.items() if isinstance(number, int)}


def _sent(answer: dict[str, Any]) -> str:
    return json.dumps(answer, ensure_ascii=True)

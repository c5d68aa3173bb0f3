"""Live: one run as it goes: what matters most in a sentence, what can be asked of it, its charts, steps and log."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import gradio as gr

from trainer.errors import TrainerError
from trainer.text import Words, words
from trainer.ui import actions as shared
from trainer.ui import elements, heading
from trainer.ui.known_runs import Seen
from trainer.ui.labels import Labels
from trainer.ui.live import actions, board, buttons, drawing, pieces, views
from trainer.ui.live.buttons import Action
from trainer.ui.live.headline import Headlines
from trainer.ui.tab import Frame, Look, Tab

BUTTONS = ("stop", "pause", "save", "resume", "report", "force")
# Two of the page's own values, in the browser: no event has to go to the server for it.
GONE = "(came, told) => came.split(' ').some((one) => one && (told || '').includes('g-asked-' + one)) ? '' : told"
READING = "log"  # value of the hidden textbox while the log is unfolded


class LiveTab(Tab):
    name = "live"
    names = (
        *("state", "cause", "facts", *BUTTONS, "hints", "sure", "question", "came"),
        *("smoothing", "span", "board", "fold", "log", "lines", "alerts"),
    )

    report: Any
    force: Any
    smoothing: Any
    span: Any

    def __init__(self, labels: Labels) -> None:
        super().__init__()
        self.headlines, self.boards = Headlines(), board.Boards()
        with labels.make(gr.Tab, words={"label": "tab.live"}, id="live", elem_classes="g-live") as self.tab:
            self.state = gr.HTML(elem_classes="g-state")
            self.cause = gr.HTML(elem_classes="g-cause")
            self.facts = gr.HTML()
            self._buttons(labels)
            self._charts(labels)
            with labels.make(gr.Accordion, words={"label": "live.log"}, open=False, elem_classes="g-fold") as self.fold:
                self.log = gr.HTML(elem_classes="g-log", max_height=340, autoscroll=True)
            self.lines = gr.HTML(elem_classes="g-lines")
            self.alerts = gr.HTML()
        self.outputs = {name: getattr(self, name) for name in self.names}
        self.inputs = (self.smoothing, self.span, self.range, self.reading, self.asking)

    def _buttons(self, labels: Labels) -> None:
        first = words("en")
        with gr.Row(elem_classes="g-actions"):
            # Their words are said by `show`: Resume is called Continue after a pause.
            for name in BUTTONS:
                look: dict[str, Any] = {"variant": "stop", "visible": False} if name == "force" else {}
                made = gr.Button(first(f"live.{name}"), scale=0, min_width=150, elem_id=f"live-{name}", **look)
                setattr(self, name, made)
        self.hints = gr.HTML()
        with gr.Row(visible=False, elem_classes="g-sure") as self.sure:
            self.question = gr.HTML()
            self.yes = labels.make(gr.Button, words={"value": "live.forcing.yes"}, variant="stop", scale=0)
            self.no = labels.make(gr.Button, words={"value": "live.forcing.no"}, scale=0)
        self.told = gr.HTML(elem_classes="g-told")
        self.read = gr.HTML(elem_classes="g-report")
        self.reading = gr.Textbox(visible="hidden", max_length=8)
        self.asking = gr.Textbox(visible="hidden", max_length=64)
        """The run whose forced end waits for a word."""
        self.came = gr.Textbox(visible="hidden", max_length=64)
        """The requests that were met: the notice of one of them goes."""
        self.about = gr.State(None)
        """The run that `told` and `read` are about."""

    def _charts(self, labels: Labels) -> None:
        first = words("en")
        with gr.Row(elem_classes="g-controls"):
            for name, value in (("smoothing", "auto"), ("span", "all")):
                made = labels.make(
                    gr.Radio, words={"label": f"live.{name}"}, choices=_choices(first, name), value=value, scale=0
                )
                setattr(self, name, made)
            self.range = labels.make(
                gr.Textbox,
                words={"label": "live.range", "placeholder": "live.range_hint"},
                max_length=drawing.MOST_TYPED,
                scale=0,
                min_width=150,
            )
        self.board = gr.HTML(elem_classes="g-board-holder")

    # ---- what it shows

    def show(self, look: Look, *chosen: Any) -> dict[str, Any]:
        try:
            if look.run is None:
                return self._nothing(look.say)
            with look.runs.look(look.run) as seen:
                return self._run(look.say, seen, look.now, *chosen)
        except TrainerError as error:
            return self._nothing(look.say, elements.no_run(error, look.say("live.none"), look.say))

    def _nothing(self, say: Words, why: str = "") -> dict[str, Any]:
        empty: dict[str, Any] = dict.fromkeys(self.names, "")
        off = buttons.nothing(say, "live.unreadable") if why else buttons.nothing(say)
        state = why or elements.element("p", say("live.none"), "g-lead")
        return (
            empty
            | self._labelled(off, say)
            | {
                "state": state,
                "hints": pieces.effects(off, say),
                "sure": False,
                "fold": False,
                "board": board.empty(say),
            }
            | {"smoothing": _choices(say, "smoothing"), "span": _choices(say, "span")}
        )

    def _run(
        self,
        say: Words,
        seen: Seen,
        now: float,
        smoothing: str | None = None,
        span: str | None = None,
        typed: str | None = None,
        reading: str | None = None,
        asking: str | None = None,
    ) -> dict[str, Any]:
        can = buttons.actions(seen, say, now)
        broken = seen.status in ("failed", "lost")
        view = drawing.view(seen.state.steps, smoothing, span, typed)
        said = views.told(seen, self.headlines.of(seen, say), say)
        values = {
            "state": pieces.head(seen, said),
            "cause": pieces.cause(seen, say) if broken else "",
            "facts": elements.facts(views.facts(seen, say, now)),
            "hints": pieces.effects(can, say),
            "sure": can["force"].on and asking == seen.rundir.name,
            "came": buttons.came(seen),
            "question": pieces.question(seen, can["force"].text, say),
            "smoothing": _choices(say, "smoothing"),
            "span": _choices(say, "span"),
            "board": self.boards.of(seen, view, say),
            "fold": broken,
            "lines": pieces.titled(
                say("live.lines"), elements.pre(views.step_lines(seen, say), say("live.lines_none"))
            ),
            "alerts": pieces.titled(
                say("live.alerts"), elements.alerts(views.alerts(seen.state, say), say("live.alerts_none"))
            ),
        }
        if broken or reading == READING:
            values["log"] = pieces.log(seen, say)
        return values | self._labelled(can, say)

    @staticmethod
    def _labelled(can: dict[str, Action], say: Words) -> dict[str, Any]:
        """(on, words, shown) of each button."""
        return {name: (action.on, say(action.label), action.shown) for name, action in can.items()}

    def update(self, name: str, value: Any) -> Any:
        if name in BUTTONS:
            on, label, shown = value
            return gr.update(interactive=on, value=label, visible=shown)
        if name == "sure":
            return gr.update(visible=value)
        if name == "fold":  # opened once for a run that broke; closing is left to the person
            return gr.update(open=True) if value else gr.update()
        return gr.update(choices=value) if name in ("smoothing", "span") else value

    # ---- what it does

    def wire(self, frame: Frame) -> None:
        asked = [frame.run, frame.language]
        quiet: dict[str, Any] = frame.quiet
        again = {"fn": self._again(frame), "inputs": [*asked, *self.inputs], "outputs": list(self.outputs.values())}
        again |= {"api_name": "live", **quiet}

        def refreshed(event: Any) -> None:
            event.then(**again)

        for name in ("stop", "pause", "save", "resume"):
            button = getattr(self, name)
            refreshed(button.click(_asks(name), asked, self.told, api_name=name, **quiet))
        self.report.click(self.reported, asked, self.read, api_name="report", **quiet)
        refreshed(self.force.click(None, frame.run, self.asking, js="(run) => run", queue=False))
        refreshed(self.no.click(None, None, self.asking, js='() => ""', queue=False))
        ended = self.yes.click(self.forced, [*asked, self.asking], [self.told, self.asking], api_name="force", **quiet)
        refreshed(ended)
        self.fold.expand(None, None, self.reading, js=f'() => "{READING}"', queue=False)
        self.fold.collapse(None, None, self.reading, js='() => ""', queue=False)
        self.span.input(None, None, self.range, js='() => ""', queue=False)  # the newer choice counts
        changed = [self.smoothing.change, self.span.change, self.range.change, self.reading.change]
        gr.on(changed, trigger_mode="always_last", **again)
        self.came.change(None, [self.came, self.told], self.told, js=GONE, queue=False)
        left = [self.told, self.read, self.asking, self.about]
        frame.run.change(self.turned, [frame.run, self.about], left, api_name=False, **frame.beside)

    def _again(self, frame: Frame) -> Callable[..., list[Any]]:
        """The same as a tick, of this tab, for an event that cannot wait for it."""

        def again(run: str | None, language: str, *chosen: Any) -> list[Any]:
            table = frame.runs.table()
            look = Look(words(language), frame.runs, table, heading.chosen(table.rows, run), time.time())
            values = self.show(look, *chosen)
            return [self.update(name, values[name]) if name in values else gr.skip() for name in self.names]

        return again

    @staticmethod
    def turned(run: str, about: str | None) -> list[Any]:
        """What was said of one run is not left standing above another. Gradio calls it a change as well when the run is
        chosen again, as it is when its state in the list of runs is another."""
        return [gr.skip()] * 4 if run == about else ["", "", "", run]

    @staticmethod
    def reported(run: str | None, language: str) -> str:
        say = words(language)
        try:
            return elements.report(shared.report(run, language), f"{run}.html", say("live.report_save"))
        except TrainerError as error:
            return elements.refused(error, say)

    @staticmethod
    def forced(run: str | None, language: str, asking: str | None) -> tuple[str, str]:
        """What came of it; nothing is asked any more."""
        return _told(lambda run, say: actions.force(run, asking, say), run, words(language)), ""


def _asks(name: str) -> Callable[[str | None, str], str]:
    """An action as an event: run and language -> what came of it."""
    action: Callable[[str | None, Words], str] = getattr(actions, name)

    def asked(run: str | None, language: str) -> str:
        return _told(action, run, words(language), f"g-right g-asked-{name}")

    return asked


def _told(action: Callable[[str | None, Words], str], run: str | None, say: Words, kind: str = "g-right") -> str:
    try:
        with shared.on_disk():
            return elements.notice(action(run, say), kind)
    except TrainerError as error:
        return elements.refused(error, say)


def _choices(say: Words, name: str) -> list[tuple[str, str]]:
    if name == "smoothing":
        return [(say(f"live.smooth_{one}"), one) for one in drawing.SMOOTHINGS]
    every, *last = drawing.SPANS
    return [(say("live.span_all"), every), *((say("live.span_last", count=f"{int(one):,}"), one) for one in last)]

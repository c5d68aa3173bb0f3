"""Live: one run as it goes: what matters most in a sentence, what can be asked of it, its charts, steps and log."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import gradio as gr

from trainer.errors import TrainerError
from trainer.run.rundir import RunDir, outputs_dir
from trainer.text import Words, words
from trainer.ui import actions as shared
from trainer.ui import advice, elements, heading, stage_line
from trainer.ui.diagnoses import Diagnoses, Diagnosis
from trainer.ui.known_runs import Seen
from trainer.ui.labels import Labels
from trainer.ui.live import actions, alarm, board, buttons, drawing, finish, pieces, then_now, views
from trainer.ui.live.buttons import Action
from trainer.ui.tab import Frame, Look, Tab

BUTTONS = ("stop", "pause", "stop_at", "save", "resume", "tryit", "report", "export", "further", "force")
# Two of the page's own values, in the browser: no event has to go to the server for it.
GONE = "(came, told) => came.split(' ').some((one) => one && (told || '').includes('g-asked-' + one)) ? '' : told"
# What a button does is said at the button itself, to eyes that rest on it and to a screen reader.
_HINTS = """
const tell = () => element.querySelectorAll("[data-button]").forEach((line) => {
    const button = document.getElementById(line.dataset.button);
    if (!button) return;
    button.title = line.textContent;
    button.setAttribute("aria-describedby", line.id);
});
new MutationObserver(tell).observe(element.closest(".g-actions"), {childList: true, subtree: true});
tell();"""
# Which of two ways a run goes on while another one trains.
_HOW = """element.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-how]");
    if (button) trigger("click", {...button.dataset});
});"""
READING = "log"  # value of the hidden textbox while the log is unfolded


class LiveTab(Tab):
    name = "live"
    names = (
        *("state", "stages", "alarm", "cause", "finish", "facts", *BUTTONS, "notify", "hints"),
        *("sure", "question", "more", "asked", "came"),
        *("stage", "then", "smoothing", "span", "board", "fold", "log", "lines", "alerts"),
    )

    stop_at: Any
    tryit: Any
    report: Any
    export: Any
    further: Any
    force: Any
    smoothing: Any
    span: Any

    def __init__(self, labels: Labels, diagnoses: Diagnoses) -> None:
        super().__init__()
        self.diagnoses, self.boards = diagnoses, board.Boards()
        with labels.make(gr.Tab, words={"label": "tab.live"}, id="live", elem_classes="g-live") as self.tab:
            self.state = gr.HTML(elem_classes="g-state")
            self.stages = gr.HTML(js_on_load=stage_line.CLICKED, elem_classes="g-stages-place")
            self.alarm = gr.HTML(js_on_load=advice.CLICKED, elem_classes="g-health-place")
            self.cause = gr.HTML(elem_classes="g-cause")
            self.finish = gr.HTML()
            self._buttons(labels)
            self.facts = gr.HTML()
            with gr.Row(elem_classes="g-stage"):
                self.stage = gr.HTML()
                self.then = gr.HTML()
            self._charts(labels)
            with labels.make(gr.Accordion, words={"label": "live.log"}, open=False, elem_classes="g-fold") as self.fold:
                self.log = gr.HTML(elem_classes="g-log", max_height=340, autoscroll=True)
            self.lines = gr.HTML(elem_classes="g-lines")
            self.alerts = gr.HTML()
        self.outputs = {name: getattr(self, name) for name in self.names}
        self.inputs = (self.smoothing, self.span, self.range, self.reading, self.asking, self.wanting)

    def _buttons(self, labels: Labels) -> None:
        first = words("en")
        with gr.Row(elem_classes="g-actions"):
            # Their words are said by `show`: Resume is called Continue after a pause.
            for name in BUTTONS:
                look: dict[str, Any] = {"variant": "stop", "visible": False} if name == "force" else {}
                look |= {"visible": False} if name in finish.DEEDS else {}
                words_of = f"live.finish.{name}" if name in finish.DEEDS else f"live.{name}"
                made = gr.Button(first(words_of), scale=0, min_width=110, elem_id=f"live-{name}", **look)
                setattr(self, name, made)
                if name == "stop_at":
                    self.at = labels.make(
                        gr.Textbox,
                        words={"placeholder": "live.at_hint", "label": "live.at"},
                        show_label=False,
                        container=False,
                        max_length=5,
                        scale=0,
                        min_width=100,
                        elem_id="live-at",
                    )
            self.hints = gr.HTML(js_on_load=_HINTS, elem_classes="g-hint-place")
        self.notify = gr.HTML(elem_classes="g-notify-place")
        with gr.Row(visible=False, elem_classes="g-sure") as self.sure:
            self.question = gr.HTML()
            self.yes = labels.make(gr.Button, words={"value": "live.forcing.yes"}, variant="stop", scale=0)
            self.no = labels.make(gr.Button, words={"value": "live.forcing.no"}, scale=0)
        with gr.Row(visible=False, elem_classes="g-sure") as self.more:
            self.asked = gr.HTML()
            look = {"variant": "primary", "scale": 0, "min_width": 200}
            self.go = labels.make(gr.Button, words={"value": "live.finish.yes"}, **look)
            self.leave = labels.make(gr.Button, words={"value": "live.finish.no"}, scale=0)
        self.told = gr.HTML(js_on_load=_HOW, elem_classes="g-told")
        self.read = gr.HTML(elem_classes="g-report")
        self.reading = gr.Textbox(visible="hidden", max_length=8)
        self.asking = gr.Textbox(visible="hidden", max_length=64)
        """The run whose forced end waits for a word."""
        self.wanting = gr.Textbox(visible="hidden", max_length=64)
        """The run that is to train further, once that is confirmed."""
        self.again = gr.Textbox(visible="hidden", max_length=32)
        """Something was done: what is shown of the run is another."""
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
        # Seen on a phone only, where all charts are eight screens.
        labels.make(gr.Checkbox, words={"label": "live.all_charts"}, interactive=True, elem_classes="g-all-charts")
        self.board = gr.HTML(elem_classes="g-board-holder")

    # ---- what it shows

    def show(self, look: Look, *chosen: Any) -> dict[str, Any]:
        try:
            if look.run is None:
                return self._nothing(look.say)
            # May wait for a moment: nobody else waits with it.
            found = self.diagnoses.newest(RunDir.open(outputs_dir(), look.run), look.ended)
            with look.runs.look(look.run) as seen:
                stages = {"stages": stage_line.of_run(seen, look.table.rows, look.say)}
                return self._run(look.say, seen, found, look.now, *chosen) | stages
        except FileNotFoundError:  # deleted between the table and the look
            return self._nothing(look.say)
        except TrainerError as error:
            return self._nothing(look.say, elements.no_run(error, look.say("live.none"), look.say))

    def _nothing(self, say: Words, why: str = "") -> dict[str, Any]:
        empty: dict[str, Any] = dict.fromkeys(self.names, "")
        off = buttons.nothing(say, "live.unreadable") if why else buttons.nothing(say)
        off |= {name: Action(False, "", f"live.finish.{name}", shown=False) for name in finish.DEEDS}
        state = why or elements.element("p", say("live.none"), "g-lead")
        stage, small = board.empty(say)
        return (
            empty
            | self._labelled(off, say)
            | {
                "state": state,
                "notify": pieces.notify(say),
                "hints": pieces.effects(off, say),
                "sure": False,
                "more": False,
                "fold": False,
                "stage": stage,
                "then": then_now.panel(None, [], say),
                "board": small,
            }
            | {"smoothing": _choices(say, "smoothing"), "span": _choices(say, "span")}
        )

    def _run(
        self,
        say: Words,
        seen: Seen,
        found: Diagnosis | None,
        now: float,
        smoothing: str | None = None,
        span: str | None = None,
        typed: str | None = None,
        reading: str | None = None,
        asking: str | None = None,
        wanting: str | None = None,
    ) -> dict[str, Any]:
        can = finish.buttons(buttons.actions(seen, say, now), seen, say)
        broken = seen.status in ("failed", "lost")
        view = drawing.view(seen.state.steps, smoothing, span, typed)
        asked = then_now.asked(seen)
        stage, small = self.boards.of(seen, view, say)
        more = can["further"].on and wanting == seen.rundir.name
        values = {
            "state": pieces.head(seen, views.told(seen, found, say)),
            "alarm": alarm.box(found, say),
            "finish": finish.card(seen, asked, say),
            "cause": pieces.cause(seen, say) if broken else "",
            "facts": elements.facts(views.facts(seen, say, now)),
            "notify": pieces.notify(say),
            "hints": pieces.effects(can, say),
            "sure": can["force"].on and asking == seen.rundir.name,
            "more": more,
            "asked": finish.question(seen, say) if more else "",
            "came": buttons.came(seen),
            "question": pieces.question(seen, can["force"].text, say),
            "smoothing": _choices(say, "smoothing"),
            "span": _choices(say, "span"),
            "stage": stage,
            "then": then_now.panel(seen, asked, say),
            "board": small,
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
        if name in ("sure", "more"):
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
            """One event draws everything again, whatever was done: every other one would cost the page's opening."""
            event.then(None, None, self.again, js="() => String(performance.now())", queue=False)

        for name in ("stop", "pause", "save", "resume"):
            button = getattr(self, name)
            refreshed(button.click(_asks(name), asked, self.told, api_name=name, **quiet))
        for event in (self.stop_at.click, self.at.submit):
            refreshed(event(self.asked_to_stop_at, [*asked, self.at], [self.told, self.at], api_name=False, **quiet))
        refreshed(self.told.click(self.went_on, asked, self.told, api_name=False, **quiet))
        self.report.click(self.reported, asked, self.read, api_name="report", **quiet)
        refreshed(self.force.click(None, frame.run, self.asking, js="(run) => run", queue=False))
        refreshed(self.no.click(None, None, self.asking, js='() => ""', queue=False))
        advice.wire(self.alarm, self.diagnoses, frame)
        for name in ("tryit", "export"):
            getattr(self, name).click(None, None, frame.here, js='() => "try"', queue=False)
        refreshed(self.further.click(None, frame.run, self.wanting, js="(run) => run", queue=False))
        refreshed(self.leave.click(None, None, self.wanting, js='() => ""', queue=False))
        given, told = [*asked, self.wanting], [self.told, self.wanting]
        refreshed(self.go.click(self.went, given, told, api_name="further", **quiet))
        ended = self.yes.click(self.forced, [*asked, self.asking], [self.told, self.asking], api_name="force", **quiet)
        refreshed(ended)
        self.fold.expand(None, None, self.reading, js=f'() => "{READING}"', queue=False)
        self.fold.collapse(None, None, self.reading, js='() => ""', queue=False)
        self.span.input(None, None, self.range, js='() => ""', queue=False)  # the newer choice counts
        changed = [made.change for made in (self.smoothing, self.span, self.range, self.reading, self.again)]
        gr.on(changed, trigger_mode="always_last", **again)
        self.came.change(None, [self.came, self.told], self.told, js=GONE, queue=False)
        left = [self.told, self.read, self.asking, self.wanting, self.about]
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
        return [gr.skip()] * 5 if run == about else ["", "", "", "", run]

    @staticmethod
    def reported(run: str | None, language: str) -> str:
        say = words(language)
        try:
            return elements.report(shared.report(run, language), f"{run}.html", say("live.report_save"))
        except TrainerError as error:
            return elements.refused(error, say)

    @staticmethod
    def asked_to_stop_at(run: str | None, language: str, at: str | None) -> tuple[str, Any]:
        """What came of it; what was typed stays where it was no time."""
        told = _told(lambda run, say: actions.stop_at(run, at, say), run, words(language), "g-right g-asked-stop")
        return told, "" if "g-right" in told else gr.skip()

    @staticmethod
    def forced(run: str | None, language: str, asking: str | None) -> tuple[str, str]:
        """What came of it; nothing is asked any more."""
        return _told(lambda run, say: actions.force(run, asking, say), run, words(language)), ""

    @staticmethod
    def went(run: str | None, language: str, wanting: str | None) -> tuple[str, str]:
        """Train on as the question said; nothing is asked any more, or how it goes on beside another run."""
        say = words(language)
        return _told(lambda run, say: actions.further(run, wanting, say), run, say, deed="further"), ""

    @staticmethod
    def went_on(event: gr.EventData, run: str | None, language: str) -> str:
        """The answer to the question of `_told`, about the run that it was asked about."""
        sent = event._data if isinstance(event._data, dict) else {}
        how, named = str(sent.get("how", "")), str(sent.get("run", ""))
        if sent.get("deed") == "further":
            return _told(lambda _, say: actions.further(named, named, say, how), run, words(language), deed="further")
        return _told(lambda _, say: actions.resume(named, say, how), run, words(language), "g-right g-asked-resume")


def _asks(name: str) -> Callable[[str | None, str], str]:
    """An action as an event: run and language -> what came of it."""
    action: Callable[[str | None, Words], str] = getattr(actions, name)

    def asked(run: str | None, language: str) -> str:
        return _told(action, run, words(language), f"g-right g-asked-{name}")

    return asked


def _told(
    action: Callable[[str | None, Words], str], run: str | None, say: Words, kind: str = "g-right", deed: str = "resume"
) -> str:
    """What came of it. Where other runs train on the same device: the question what is to happen, for `deed`."""
    try:
        with shared.on_disk():
            return elements.notice(action(run, say), kind)
    except shared.Beside as found:
        attributes = f' data-deed="{deed}" data-run="{elements.escape(run or "")}"'
        return elements.beside(found.names, say, attributes)
    except TrainerError as error:
        return elements.refused(error, say)


def _choices(say: Words, name: str) -> list[tuple[str, str]]:
    if name == "smoothing":
        return [(say(f"live.smooth_{one}"), one) for one in drawing.SMOOTHINGS]
    every, *last = drawing.SPANS
    return [(say("live.span_all"), every), *((say("live.span_last", count=f"{int(one):,}"), one) for one in last)]

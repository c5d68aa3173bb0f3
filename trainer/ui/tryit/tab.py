"""Try it: the trained model beside the untrained one, a chat, checkpoints with their scores, exports.

Nothing is answered in the page's process: questions and answers are files of the run (trainer.tryit), so every browser
and a page that was restarted show the same. While an answer is being written, a timer of this tab reads them more often
than the page's own tick.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from trainer.errors import TrainerError
from trainer.run.best import find_best
from trainer.run.checkpoints import listed
from trainer.text import Words, words
from trainer.tryit import exporting, parent, reading
from trainer.tryit.request import MOST_TEXT, SIDES
from trainer.ui import elements
from trainer.ui.actions import on_disk, opened
from trainer.ui.colours import component_colours
from trainer.ui.known_runs import KnownRuns, Seen
from trainer.ui.labels import Labels
from trainer.ui.tab import Frame, Look, Tab
from trainer.ui.tryit import actions, views, weights

STREAM_S = 0.4
EARLIER = 5
# A click on a step in the table chooses that checkpoint; the server checks it.
_CHOOSE = """element.addEventListener("click", (event) => {
    const button = event.target.closest("[data-step]");
    if (button) trigger("click", {step: button.dataset.step});
});"""
# What changes while an answer is being written.
_STREAMED = ("status", "answers", "talk", "ask", "next", "send", "stop", "end", "timer")
_BUTTONS = ("ask", "next", "send", "stop", "end", "adapter", "merged", "gguf", "upload", "fresh")


class TryItTab(Tab):
    name = "try"

    def __init__(self, labels: Labels) -> None:
        super().__init__()
        self.labels = labels
        with labels.make(gr.Tab, words={"label": "tab.try"}, id="try") as self.tab:
            with gr.Column(elem_classes="g-try"):
                self.status = gr.HTML(elem_classes="g-question")
                self._prompt()
                self.answers = gr.HTML(elem_classes="try-answers")
                self.earlier = gr.HTML()
                with gr.Row(elem_classes="g-split"):
                    with gr.Column(scale=3, min_width=300):
                        self._chat()
                    with gr.Column(scale=2, min_width=300):
                        self.table = gr.HTML(js_on_load=_CHOOSE, elem_classes="g-table")
                        self._exports()
            # The value every event is asked about: the step that was clicked in the table.
            self.step = gr.Textbox(visible="hidden", max_length=12, elem_id="step")
            self.seen = gr.State({})
            self.timer = gr.Timer(STREAM_S, active=False)
        names = (*_STREAMED, "earlier", "table", "title", "exports", "hints", "adapter", "merged", "gguf", "upload")
        self.outputs = {name: getattr(self, name) for name in (*names, "fresh")}
        self.inputs = (self.step,)

    # ---- components

    def _prompt(self) -> None:
        make = self.labels.make
        given = {"label": "tryit.prompt", "placeholder": "tryit.prompt_hint"}
        self.prompt = make(gr.Textbox, words=given, lines=3, max_lines=12, max_length=MOST_TEXT)
        with gr.Row(elem_classes="g-actions"):
            small: dict[str, Any] = {"scale": 0, "min_width": 150, "size": "md"}
            self.ask = make(gr.Button, words={"value": "tryit.ask"}, variant="primary", **small)
            self.next = make(gr.Button, words={"value": "tryit.next"}, **small)
            self.stop = make(gr.Button, words={"value": "tryit.stop"}, **small)
            self.end = make(gr.Button, words={"value": "tryit.end"}, **small)
        self.told = gr.HTML()
        with make(gr.Accordion, words={"label": "tryit.sampling"}, open=False), gr.Row(elem_classes="g-split"):
            info = {"label": "tryit.temperature", "info": "tryit.temperature_info"}
            self.temperature = make(gr.Slider, words=info, minimum=0, maximum=2, step=0.05, value=0.7)
            info = {"label": "tryit.tokens", "info": "tryit.tokens_info"}
            self.tokens = make(gr.Number, words=info, precision=0, minimum=1)
            info = {"label": "tryit.seed", "info": "tryit.seed_info"}
            self.seed = make(gr.Number, words=info, precision=0, minimum=0, value=0)
            info = {"label": "tryit.system", "info": "tryit.system_info"}
            self.system = make(gr.Textbox, words=info, lines=1, max_lines=6, max_length=MOST_TEXT, scale=2)

    def _chat(self) -> None:
        make = self.labels.make
        self.title = gr.HTML()
        # Without a height of its own Gradio would scroll the page to its end instead.
        self.talk = gr.HTML(elem_classes="try-chat", max_height=448, autoscroll=True)
        given = {"label": "tryit.chat.box", "placeholder": "tryit.chat.hint"}
        self.message = make(gr.Textbox, words=given, lines=1, max_lines=6, max_length=MOST_TEXT)
        with gr.Row(elem_classes="g-actions"):
            choices = [(words("en")(f"tryit.{side}"), side) for side in SIDES]
            self.side = make(
                gr.Radio, words={"label": "tryit.chat.side"}, choices=choices, value="tuned", scale=1, min_width=200
            )
            small: dict[str, Any] = {"scale": 0, "min_width": 110, "size": "md"}
            self.send = make(gr.Button, words={"value": "tryit.chat.send"}, **small)
            self.fresh = make(gr.Button, words={"value": "tryit.chat.new"}, **small)

    def _exports(self) -> None:
        make = self.labels.make
        self.hints = gr.HTML()
        with gr.Row(elem_classes="g-actions"):
            small: dict[str, Any] = {"scale": 0, "min_width": 110, "size": "md"}
            self.adapter = make(gr.Button, words={"value": "tryit.export.adapter"}, **small)
            self.merged = make(gr.Button, words={"value": "tryit.export.merged"}, **small)
            self.gguf = make(gr.Button, words={"value": "tryit.export.gguf"}, **small)
        with make(gr.Accordion, words={"label": "tryit.export.hub"}, open=False):
            self.note = make(gr.HTML, words={"value": "tryit.export.hub_note"})
            given = {"label": "tryit.export.repo", "placeholder": "tryit.export.repo_hint"}
            self.repo = make(gr.Textbox, words=given, max_length=200)
            self.private = make(gr.Checkbox, words={"label": "tryit.export.private"}, value=True)
            self.upload = make(gr.Button, words={"value": "tryit.export.upload"}, scale=0, min_width=110, size="md")
        self.export_told = gr.HTML()
        self.exports = gr.HTML()

    # ---- what is shown

    def show(self, look: Look, *chosen: Any) -> dict[str, Any]:
        return self._shown(look.runs, look.run, look.say, look.now, chosen[0] if chosen else None)

    def _shown(self, runs: KnownRuns, run: str | None, say: Words, now: float, wanted: str | None) -> dict[str, Any]:
        try:
            if run is None:
                return self._nothing(say("tryit.no_run"), say)
            with runs.look(run) as seen:
                return self._run(seen, say, now, wanted)
        except TrainerError as error:
            return self._nothing("", say, elements.no_run(error, say("tryit.no_run"), say))

    def _nothing(self, why: str, say: Words, shown: str = "") -> dict[str, Any]:
        """why: as text; shown: as HTML instead."""
        empty: dict[str, Any] = dict.fromkeys(self.outputs, "")
        question = elements.element("h2", say("tryit.question")) + (shown or elements.element("p", why, "g-empty"))
        off = dict.fromkeys(_BUTTONS, False)
        return empty | off | {"status": question, "answers": views.answers(None, {}, say), "timer": False}

    def _run(self, seen: Seen, say: Words, now: float, wanted: str | None) -> dict[str, Any]:
        rundir = seen.rundir
        found = find_best(rundir, seen.state)
        process, prompts, talk = actions.look(rundir)
        step = actions.chosen_step(seen, wanted, process.step if process.at_work else None)
        steps = [checkpoint.step for checkpoint in reversed(listed(rundir.checkpoints))]
        if step is None:
            return self._nothing(say("tryit.no_checkpoint"), say)
        open_now = any(one.open for one in (*prompts, *talk)) and process.at_work
        colours = component_colours([leaf.title for leaf in seen.spec.reward.leaves()] if seen.spec else [])
        lora = seen.spec is not None and seen.spec.lora.enabled
        warm = seen.spec is not None and seen.spec.model.warm_start is not None
        judge = seen.method == "reward_model"
        missing = exporting.missing_tools() if not judge else ()
        reasons = [] if lora else [say("tryit.export.no_adapter")]
        reasons += [views.no_gguf(problem, say) for problem in missing[:1]]
        reasons += [say("tryit.export.no_gguf_of_judge")] if judge else []
        heading = elements.element("h2", say("tryit.question"))
        loaded = process.step if process.at_work else None
        return {
            "status": heading
            + (views.judge(rundir.name, say) if judge else views.status(process, step, seen.spec, say)),
            "answers": views.answers(prompts[-1] if prompts else None, colours, say),
            "earlier": views.earlier(prompts[-EARLIER - 1 : -1], say),
            "talk": views.conversation(talk, seen.spec, say),
            "title": elements.element("h3", say("tryit.chat.title")),
            "table": weights.checkpoints(
                steps, weights.scores(seen.state.evals), found, step, loaded, say, warm, seen.method
            ),
            "hints": elements.element("h3", say("tryit.export.title", step=f"{step:,}"))
            + "".join(elements.element("p", reason, "try-foot") for reason in reasons),
            "exports": weights.exports(rundir.name, exporting.listed(rundir)[:6], exporting.finished(rundir), now, say),
            "ask": not judge,
            "next": not judge and seen.spec is not None and seen.spec.data.has_held_out_rows,
            "send": not judge,
            "fresh": bool(talk),
            "stop": open_now,
            "end": process.at_work,
            "adapter": lora,
            "merged": True,
            "gguf": not (missing or judge),
            "upload": True,
            "timer": open_now or process.state in ("starting", "loading"),
        }

    def update(self, name: str, value: Any) -> Any:
        if name == "timer":
            return gr.Timer(active=value)
        return gr.update(interactive=value) if name in _BUTTONS else value

    # ---- events

    def wire(self, frame: Frame) -> None:
        self.runs = frame.runs
        where = [frame.run, frame.language, self.step]
        sampling = [self.temperature, self.tokens, self.system, self.seed]
        live = [*(self.outputs[name] for name in _STREAMED), self.seen]
        told = [self.told, *live]
        quiet = frame.quiet
        gr.on(
            [self.ask.click, self.prompt.submit],
            self.asked,
            [*where, self.seen, self.prompt, *sampling],
            told,
            api_name="try_ask",
            **quiet,
        )
        self.next.click(self.next_row, [*where, self.seen, *sampling], told, api_name="try_next", **quiet)
        self.stop.click(self.stopped, [*where, self.seen], told, api_name="try_stop", **quiet)
        self.end.click(self.ended, [*where, self.seen], told, api_name="try_end", **quiet)
        gr.on(
            [self.send.click, self.message.submit],
            self.sent,
            [*where, self.seen, self.message, self.side, *sampling],
            [self.message, *told],
            api_name="try_send",
            **quiet,
        )
        self.fresh.click(self.begun, [*where, self.seen], told, api_name="try_new", **quiet)
        self.timer.tick(self.streamed, [*where, self.seen], live, api_name="try_stream", **quiet)
        self.table.click(self.picked, None, self.step, api_name=False, **quiet)
        self._wire_exports(frame, where)
        clear = [self.told, self.export_told]
        frame.run.change(lambda: ("", "", ""), None, [*clear, self.step], api_name=False, **frame.beside)
        self.step.change(self.refreshed, where, list(self.outputs.values()), api_name="try_step", **quiet)
        say_sides = [frame.language]
        frame.language.change(self.sides_in, say_sides, self.side, api_name=False, **frame.beside)

    def _wire_exports(self, frame: Frame, where: list[Any]) -> None:
        told = [self.export_told, self.exports]
        for kind, button in (("adapter", self.adapter), ("merged", self.merged), ("gguf", self.gguf)):
            begin = _exporter(self, kind)
            button.click(begin, where, told, api_name=f"try_export_{kind}", **frame.quiet)
        asked = [*where, self.repo, self.private]
        self.upload.click(_exporter(self, "hub"), asked, told, api_name="try_export_hub", **frame.quiet)

    def asked(
        self, run: str, language: str, step: str, seen: Any, prompt: str, temperature: Any, tokens: Any, system: str,
        seed: Any,
    ) -> list[Any]:  # fmt: skip
        """Of an empty field the next held-out prompt, where there are any."""

        def values() -> dict[str, Any]:
            if not (prompt or "").strip() and opened(run).read_spec().data.has_held_out_rows:
                return self._next_row(run)
            return {"turns": [{"role": "user", "content": prompt or ""}]}

        return self._ask(run, language, step, seen, values, (temperature, tokens, system, seed))

    def next_row(
        self, run: str, language: str, step: str, seen: Any, temperature: Any, tokens: Any, system: str, seed: Any
    ) -> list[Any]:
        return self._ask(run, language, step, seen, lambda: self._next_row(run), (temperature, tokens, None, seed))

    def _next_row(self, run: str) -> dict[str, Any]:
        return {"row": actions.next_row(actions.look(opened(run))[1]), "turns": []}

    def sent(
        self, run: str, language: str, step: str, seen: Any, message: str, side: str, temperature: Any, tokens: Any,
        system: str, seed: Any,
    ) -> list[Any]:  # fmt: skip
        def talk() -> dict[str, Any]:
            rundir = opened(run)
            _, _, found = actions.look(rundir)
            said = actions.turns(found, side)
            turns = [*said, {"role": "user", "content": message or ""}]
            thread = reading.thread(rundir)
            return {"turns": turns, "sides": [side], "thread": thread}

        done = self._ask(run, language, step, seen, talk, (temperature, tokens, system, seed))
        return ["" if done[0] == "" else gr.skip(), *done]

    def _ask(
        self, run: str, language: str, step: str, seen: Any, what: Any, sampling: tuple[Any, Any, Any, Any]
    ) -> list[Any]:
        """Leave the question; what stands in the way, "" when nothing does, and what is to be shown now."""
        say = words(language)
        temperature, tokens, system, seed = sampling
        told = ""
        try:
            values = what() if callable(what) else what
            given = {"temperature": temperature, "max_new_tokens": tokens, "system": system, "seed": seed or 0}
            with on_disk():
                actions.ask(run, self._step(run, step), values | given)
        except TrainerError as error:
            told = views.refused(error.problems, say)
        return [told, *self.streamed(run, language, step, seen)]

    def _step(self, run: str, wanted: str | None) -> int | None:
        with self.runs.look(run or "") as seen:
            process = reading.process(seen.rundir)
            return actions.chosen_step(seen, wanted, process.step if process.at_work else None)

    def stopped(self, run: str, language: str, step: str, seen: Any) -> list[Any]:
        say = words(language)
        return self._done(lambda: "" if actions.stop(run) else say("tryit.state.stop_none"), run, language, step, seen)

    def ended(self, run: str, language: str, step: str, seen: Any) -> list[Any]:
        say = words(language)
        sent, none = say("tryit.state.end_sent"), say("tryit.state.end_none")
        return self._done(lambda: sent if actions.end(run) else none, run, language, step, seen)

    def begun(self, run: str, language: str, step: str, seen: Any) -> list[Any]:
        def fresh() -> str:
            parent.new_thread(opened(run))
            return ""

        return self._done(fresh, run, language, step, seen)

    def _done(self, action: Any, run: str, language: str, step: str, seen: Any) -> list[Any]:
        try:
            with on_disk():
                told = elements.notice(action())
        except TrainerError as error:
            told = elements.refused(error, words(language))
        return [told, *self.streamed(run, language, step, seen)]

    def streamed(self, run: str, language: str, step: str, seen: dict[str, int] | None) -> list[Any]:
        """What has changed of an answer since this browser was last told."""
        values = self._shown(self.runs, run or None, words(language), _now(), step)
        told = dict(seen or {})
        updates = []
        for name in _STREAMED:
            mark = hash((run, language, repr(values[name])))
            updates.append(gr.skip() if told.get(name) == mark else self.update(name, values[name]))
            told[name] = mark
        return [*updates, told]

    def refreshed(self, run: str, language: str, step: str) -> list[Any]:
        values = self._shown(self.runs, run or None, words(language), _now(), step)
        return [self.update(name, values[name]) for name in self.outputs]

    @staticmethod
    def picked(event: gr.EventData) -> str:
        """A click in the table of checkpoints: its step, "" for what is none."""
        step = str(getattr(event, "step", ""))[:12]
        return step if step.isascii() and step.isdigit() else ""

    @staticmethod
    def sides_in(language: str) -> Any:
        say = words(language)
        return gr.update(choices=[(say(f"tryit.{side}"), side) for side in SIDES])

    def export(
        self, kind: str, run: str, language: str, step: str, repo: str | None = None, private: bool = True
    ) -> list[Any]:
        """Start an export; what was said about it, and the list of them now."""
        say = words(language)
        try:
            number = self._step(run, step)
            with on_disk():
                actions.export(run, kind, number, repo, private is not False, language)
            what = say("tryit.export.started", step=f"{number or 0:,}", kind=say(f"tryit.export.kind_{kind}"))
            told = elements.notice(what)
        except TrainerError as error:
            told = views.refused(error.problems, say)
        return [told, self._shown(self.runs, run or None, say, _now(), step)["exports"]]


def _exporter(tab: TryItTab, kind: str) -> Any:
    if kind == "hub":
        return lambda run, language, step, repo, private: tab.export(kind, run, language, step, repo, private)
    return lambda run, language, step: tab.export(kind, run, language, step)


def _now() -> float:
    import time

    return time.time()

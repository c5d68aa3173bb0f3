"""Train: choose a preset, change values, see the plan and what is wrong, start."""

from __future__ import annotations

from typing import Any

import gradio as gr

from trainer import rundir
from trainer.errors import TrainerError
from trainer.ui import markup
from trainer.ui.labels import Labels
from trainer.ui.tab import Frame, Look, Tab
from trainer.ui.text import Words, words
from trainer.ui.train import actions


class TrainTab(Tab):
    name = "train"
    ticks = False

    def __init__(self, labels: Labels) -> None:
        super().__init__()
        known = actions.known_presets()
        self.first = "tiny" if any(info.name == "tiny" for info in known) else known[0].name
        with labels.make(gr.Tab, words={"label": "tab.train"}, id="train") as self.tab:
            self.question = gr.HTML(elem_classes="g-question")
            with gr.Row(elem_classes="g-split"):
                with gr.Column(scale=2, min_width=300):
                    self.preset = labels.make(
                        gr.Dropdown,
                        words={"label": "train.preset"},
                        choices=[(f"{info.title} ({info.name})", info.name) for info in known],
                        value=self.first,
                        filterable=False,
                    )
                    self.about = gr.HTML()
                    self.overrides = labels.make(
                        gr.Textbox,
                        words={
                            "label": "train.overrides",
                            "info": "train.overrides_info",
                            "placeholder": "train.overrides_hint",
                        },
                        lines=3,
                        max_lines=12,
                        max_length=actions.MOST_TEXT,
                        elem_classes="g-mono",
                    )
                    self.run_name = labels.make(
                        gr.Textbox,
                        words={"label": "train.name", "info": "train.name_info"},
                        max_length=64,
                    )
                    self.verdict = gr.HTML(elem_classes="g-verdict")
                    self.start = labels.make(gr.Button, words={"value": "train.start"}, variant="primary", size="lg")
                    self.command = labels.make(
                        gr.Textbox,
                        words={"label": "train.command"},
                        interactive=False,
                        lines=2,
                        buttons=["copy"],
                        elem_classes="g-mono",
                    )
                with gr.Column(scale=3, min_width=300):
                    self.plan = gr.HTML(elem_classes="g-plan")
        self.inputs = [self.preset, self.overrides, self.run_name]
        self.outputs = {
            "question": self.question,
            "about": self.about,
            "verdict": self.verdict,
            "start": self.start,
            "command": self.command,
            "plan": self.plan,
        }

    def show(self, look: Look, *chosen: Any) -> dict[str, Any]:
        values = self._values(look.say, *chosen)
        return dict(zip(self.outputs, values, strict=True))

    def _values(self, say: Words, preset: str | None, overrides: str | None, name: str | None) -> list[Any]:
        """Values of `outputs` for a choice; writes nothing."""
        checked = actions.check(preset, overrides, name, say)
        count = len(checked.problems)
        if count:
            sentence = say(f"train.problems_{'one' if count == 1 else 'many'}", count=count)
            verdict = markup.problems(sentence, checked.problems, say("train.type_this"))
        elif checked.name:
            verdict = markup.notice(say("train.ready", name=checked.name))
        else:
            following = rundir.next_name(rundir.outputs_dir(), checked.preset)
            verdict = markup.notice(say("train.ready", name=following))
        card = markup.pre([checked.card] if checked.card else [], say("train.no_plan"))
        return [
            markup.element("h2", say("train.question")),
            self._about(say, preset),
            verdict,
            gr.update(interactive=not count),
            checked.command,
            markup.element("h3", say("train.plan")) + card,
        ]

    @staticmethod
    def _about(say: Words, preset: str | None) -> str:
        info = actions.preset_info(preset)
        if info is None:
            return ""
        if info.error:
            return markup.notice(say("train.broken", error=info.error.splitlines()[0]), "g-wrong")
        return markup.facts(
            [
                (say("train.model"), info.model),
                (say("train.needs"), info.gpu or say("train.needs_unknown")),
                (say("train.measured"), info.measured or say("train.unmeasured")),
            ]
        )

    def wire(self, frame: Frame) -> None:
        asked = [frame.language, *self.inputs]
        outputs = list(self.outputs.values())
        gr.on(
            # `change`, not `input`: Gradio 6.31 reports no input when text is pasted
            [self.preset.input, self.overrides.change, self.run_name.change],
            self.checked,
            asked,
            outputs,
            trigger_mode="always_last",
            api_name="check",
            **frame.quiet,
        )
        self.start.click(self.started, asked, [*outputs, frame.here, frame.run], api_name="start", **frame.quiet)

    def checked(self, language: str, preset: str, overrides: str, name: str) -> list[Any]:
        return self._values(words(language), preset, overrides, name)

    def started(self, language: str, preset: str, overrides: str, name: str) -> list[Any]:
        """Start a run and turn to it; or say here why it can not be started."""
        say = words(language)
        try:
            run = actions.start(preset, overrides, name, say)
        except TrainerError as error:
            values = self._values(say, preset, overrides, name)
            count = len(error.problems)
            sentence = say(f"train.problems_{'one' if count == 1 else 'many'}", count=count)
            values[2] = markup.problems(sentence, error.problems, say("train.type_this"))
            return [*values, gr.skip(), gr.skip()]
        gr.Info(say("train.started", name=run.name), duration=5)
        values = self._values(say, preset, overrides, "" if name == run.name else name)
        return [*values, "live", run.name]

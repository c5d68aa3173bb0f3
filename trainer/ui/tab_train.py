"""Train: choose a preset, change values, see the plan and what is wrong, start."""

from __future__ import annotations

from typing import Any

import gradio as gr

from trainer import rundir
from trainer.errors import TrainerError
from trainer.ui import actions, markup
from trainer.ui.labels import Labels
from trainer.ui.text import Words, words


class TrainTab:
    """outputs: components `show` gives values for; inputs: what a person chose."""

    def __init__(self, labels: Labels) -> None:
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
                    self.name = labels.make(
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
        self.inputs = [self.preset, self.overrides, self.name]
        self.outputs = [self.question, self.about, self.verdict, self.start, self.command]
        self.outputs.append(self.plan)

    def show(self, say: Words, preset: str | None, overrides: str | None, name: str | None) -> list[Any]:
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

    def wire(self, language: Any, tabs: Any, run: Any, quiet: dict[str, Any]) -> None:
        asked = [language, *self.inputs]
        gr.on(
            # `change`, not `input`: Gradio 6.31 reports no input when text is pasted
            [self.preset.input, self.overrides.change, self.name.change],
            self.checked,
            asked,
            self.outputs,
            trigger_mode="always_last",
            api_name="check",
            **quiet,
        )
        self.start.click(self.started, asked, [*self.outputs, tabs, run], api_name="start", **quiet)

    def checked(self, language: str, preset: str, overrides: str, name: str) -> list[Any]:
        return self.show(words(language), preset, overrides, name)

    def started(self, language: str, preset: str, overrides: str, name: str) -> list[Any]:
        """Start a run and turn to it; or say here why it can not be started."""
        say = words(language)
        try:
            run = actions.start(preset, overrides, name, say)
        except TrainerError as error:
            values = self.show(say, preset, overrides, name)
            count = len(error.problems)
            sentence = say(f"train.problems_{'one' if count == 1 else 'many'}", count=count)
            values[2] = markup.problems(sentence, error.problems, say("train.type_this"))
            return [*values, gr.skip(), gr.skip()]
        gr.Info(say("train.started", name=run.name), duration=5)
        values = self.show(say, preset, overrides, "" if name == run.name else name)
        return [*values, gr.Tabs(selected="runs"), run.name]

"""The page as a whole: header, language, tabs, and the tick that keeps it true.

A tab is a class with its components and events: TrainTab, RunsTab. Each has `show`, which gives
the values of its changing components; the page calls it when it is opened, when the language
changes and at every tick. Imports gradio; the words are in text/, the numbers come from views.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import gradio as gr

from trainer import gpu
from trainer.status import LIVE
from trainer.ui import actions, markup, views
from trainer.ui.labels import Labels
from trainer.ui.runs import Runs
from trainer.ui.tab_runs import RunsTab
from trainer.ui.tab_train import TrainTab
from trainer.ui.text import Words, languages, preferred, words

TICK_S = 1.5
STYLE = Path(__file__).with_name("style.css")
# The address keeps what is looked at, so that a reload and a sent link show the same.
_ADDRESS = """(run, language) => {
    const address = new URL(window.location);
    if (run) address.searchParams.set("run", run);
    address.searchParams.set("lang", language);
    history.replaceState(null, "", address);
    document.documentElement.lang = language;
}"""
_OPENED = "() => { window.pageOpened = true; }"
# Gradio selects the first tab before the page is opened: that is nobody's choice.
_TAB = """() => {
    if (!window.pageOpened) return;
    const address = new URL(window.location);
    address.searchParams.set("tab", "%s");
    history.replaceState(null, "", address);
}"""


def theme() -> Any:
    """System fonts: nothing is fetched from elsewhere, Korean included."""
    fonts = ["system-ui", "Segoe UI", "Apple SD Gothic Neo", "Malgun Gothic", "Noto Sans KR"]
    return gr.themes.Default(
        primary_hue="blue",
        neutral_hue="slate",
        font=[*fonts, "Noto Sans CJK KR", "sans-serif"],
        font_mono=["ui-monospace", "Consolas", "Menlo", "monospace"],
    )


def build() -> Any:
    """The Blocks, not yet served."""
    labels, runs = Labels(), Runs()
    blocks = gr.Blocks(
        title="GRPO on one GPU",
        analytics_enabled=False,
        fill_width=True,
        delete_cache=(3600, 86400),
    )
    with blocks:
        with gr.Row(elem_classes="g-head"):
            header = gr.HTML(_header(words("en")), elem_classes="g-title")
            language = labels.make(
                gr.Radio,
                words={"label": "page.language"},
                choices=[(words(code)("name"), code) for code in languages()],
                value=languages()[0],
                elem_classes="g-language",
                container=False,
                scale=0,
                min_width=200,
            )
        progress = gr.HTML(elem_classes="g-progress")
        with gr.Tabs(selected="train") as tabs:
            train = TrainTab(labels)
            history = RunsTab(labels, runs)
        shown = gr.State({})
        timer = gr.Timer(TICK_S)
        page = _Page(labels, runs, header, language, progress, tabs, train, history, shown)
        page.wire(blocks, timer)
    return blocks


def _header(say: Words) -> str:
    found = gpu.list_gpus()
    machine = " | ".join(f"{card.name} {card.total_gib:.0f} GiB" for card in found)
    title = markup.element("h1", say("page.title"))
    return title + markup.element("p", machine or say("page.gpu_none"), "g-machine")


class _Page:
    """Events that concern more than one tab."""

    def __init__(
        self,
        labels: Labels,
        runs: Runs,
        header: Any,
        language: Any,
        progress: Any,
        tabs: Any,
        train: TrainTab,
        history: RunsTab,
        shown: Any,
    ) -> None:
        self.labels, self.runs = labels, runs
        self.header, self.language, self.progress, self.tabs = header, language, progress, tabs
        self.train, self.history, self.shown = train, history, shown

    def wire(self, blocks: Any, timer: Any) -> None:
        run, language = self.history.run, self.language
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "undocumented"}
        live = [*self.history.outputs, self.progress, self.shown]
        words_out = [*self.labels.components, self.header, *self.train.outputs]
        blocks.load(self.open, None, [self.language, *words_out, self.tabs, run], api_name="open", **quiet).then(
            None, None, None, js=_OPENED, queue=False
        )
        language.input(self.relabel, [language, *self.train.inputs], words_out, api_name="relabel", **quiet)
        timer.tick(self.tick, [run, language, self.shown], live, api_name="tick", **quiet)
        gr.on(
            [run.change, language.change],
            self.tick,
            [run, language, self.shown],
            live,
            api_name=False,
            **quiet,
        )
        gr.on([run.change, language.change], None, [run, language], None, js=_ADDRESS, queue=False)
        for name, tab in (("train", self.train.tab), ("runs", self.history.tab)):
            tab.select(None, None, None, js=_TAB % name, queue=False)
        self.train.wire(language, self.tabs, run, quiet)
        self.history.wire(language, quiet)

    def open(self, request: gr.Request) -> list[Any]:
        """A browser opens the page: its language, and the run its address names."""
        asked = request.query_params.get("lang", "")
        header = request.headers.get("accept-language", "")
        code = asked if asked in languages() else preferred(header)
        rows = self.runs.table().rows
        run = views.chosen(rows, request.query_params.get("run"))
        tab = request.query_params.get("tab")
        return [
            code,
            *self._words(words(code), None, "", ""),
            gr.Tabs(selected=tab if tab in ("train", "runs") else "train"),
            run or "",
        ]

    def relabel(self, language: str, preset: str | None, overrides: str | None, name: str | None) -> list[Any]:
        return self._words(words(language), preset, overrides, name)

    def _words(self, say: Words, preset: str | None, overrides: str | None, name: str | None) -> list[Any]:
        """Values of the labels, the header and the Train tab."""
        train = self.train.show(say, preset or self.train.first, overrides, name)
        return [*self.labels.updates(say), _header(say), *train]

    def tick(self, run: str, language: str, shown: dict[str, int] | None) -> list[Any]:
        """What has changed since this browser was last told; a skip for all else."""
        actions.reap()
        say, now = words(language), time.time()
        table = self.runs.table()
        chosen = views.chosen(table.rows, run)
        values = self.history.show(say, table, chosen, now)
        live = [row.name for row in table.rows if row.status in LIVE]
        values["progress"] = markup.progress(self._progress(live, say), say("page.idle"))
        told: dict[str, int] = {}
        updates = []
        for name in [*self.history.names, "progress"]:
            told[name] = hash((chosen, language, repr(values[name])))
            same = (shown or {}).get(name) == told[name]
            updates.append(gr.skip() if same else self.history.update(name, values[name]))
        return [*updates, told]

    def _progress(self, live: list[str], say: Words) -> list[tuple[str, float]]:
        found = []
        for name in live[:4]:
            with self.runs.look(name) as seen:
                found.append(views.progress(seen, say))
        return found

"""The page as a whole: head, language, tabs, and the tick that keeps it true.

Each tab is a room with a Tab (tab.py): its components, its events, and `show`, which says the values of what changes.
Only the open tab is asked. Imports gradio; the words are in text/, the numbers come from views.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

import gradio as gr

from trainer.errors import TrainerError
from trainer.machine import gpu
from trainer.run.records import AlertEvent
from trainer.run.status import LIVE
from trainer.show import charts
from trainer.text import DEFAULT, Words, languages, words
from trainer.ui import actions, elements, heading, opening, tour
from trainer.ui.diagnoses import Diagnoses
from trainer.ui.groups.tab import GroupsTab
from trainer.ui.health.tab import HealthTab
from trainer.ui.known_runs import KnownRuns, RunTable
from trainer.ui.labels import Labels
from trainer.ui.live.tab import LiveTab
from trainer.ui.runs.tab import RunsTab
from trainer.ui.tab import Frame, Look, Tab
from trainer.ui.train.tab import TrainTab
from trainer.ui.tryit.tab import TryItTab

TICK_S = 1.5
MOST_NEWS = 20  # of the newest runs the browser may tell that they ended
_SIZES = ("small", "medium", "large")
# What a tick says values for beside those of the tabs.
FRAME = ("run", "skip", "chooser", "title", "progress", "tour", "news")
MOST_PROGRESS = 4  # runs that are going and have a line in the head
_HERE = Path(__file__).parent
# A chosen theme outlives a reload, where a browser lets pages store something; Gradio has put the system's in place by
# now. A tab that was clicked before this answer came counts more than the one the address names.
_OPENED = """(here) => {
    window.pageOpened = true;
    document.getElementById("g-opening")?.remove();
    let chosen = null;
    try { chosen = localStorage.getItem("theme"); } catch {}
    if (chosen) document.body.classList.toggle("dark", chosen === "dark");
    return window.tabClicked || here;
}"""
# Gradio selects the first tab before the page is opened: that is nobody's choice, unless a tab was clicked (clicks.js).
_TURNED = """(here) => {
    if (window.tabClicked !== undefined) window.tabClicked = "%s";
    return window.pageOpened || window.tabClicked ? "%s" : here;
}"""
# In the browser alone: an answer of the server that comes late would take back a click that was made meanwhile.
_TURN = '(here) => ({__type__: "update", selected: (!window.pageOpened && window.tabClicked) || here})'
_THEME = """() => {
    const dark = document.body.classList.toggle("dark");
    try { localStorage.setItem("theme", dark ? "dark" : "light"); } catch {}
}"""


def theme() -> Any:
    """System fonts: nothing is fetched from elsewhere, Korean included. One kind of button, one height of a control."""
    fonts = ["system-ui", "Segoe UI", "Apple SD Gothic Neo", "Malgun Gothic", "Noto Sans KR"]
    return gr.themes.Default(
        primary_hue="blue",
        neutral_hue="slate",
        font=[*fonts, "Noto Sans CJK KR", "sans-serif"],
        font_mono=["ui-monospace", "Consolas", "Menlo", "monospace"],
    ).set(
        **{f"button_{size}_padding": "4px 14px" for size in _SIZES},
        **{f"button_{size}_text_size": "0.9rem" for size in _SIZES},
        **{f"button_{size}_text_weight": "500" for size in _SIZES},
        **{f"button_{size}_radius": "6px" for size in _SIZES},
        button_border_width="1px",
        button_secondary_background_fill="*background_fill_primary",
        button_secondary_background_fill_dark="*neutral_800",
        button_secondary_border_color="*neutral_300",
        button_secondary_text_color="*body_text_color",
        button_secondary_text_color_dark="*body_text_color",
        button_primary_background_fill="#0067a0",
        button_primary_background_fill_dark="#0067a0",
        button_primary_background_fill_hover="#0072b2",
        button_primary_background_fill_hover_dark="#0072b2",
        button_primary_border_color="#0067a0",
        button_primary_border_color_dark="#0067a0",
        input_padding="6px 10px",
        block_radius="8px",
        input_radius="6px",
    )


def styles() -> list[Path]:
    """Style sheets: of the charts, of the page, of each room."""
    return [charts.STYLE, _HERE / "page.css", *sorted(_HERE.glob("*/*.css"))]


def scripts() -> str:
    """For the head of the document: the page's own scripts, one file each."""
    files = [path for path in sorted(_HERE.glob("*.js")) if path.stem != "opening"]
    return "".join(f"<script>{path.read_text(encoding='utf-8')}</script>" for path in files)


def build() -> Any:
    """The Blocks, not yet served."""
    return Page().blocks


class Page:
    """tabs: in order. names: what one tick says values for, `<tab>.<output>` for those of a tab."""

    def __init__(self) -> None:
        self.labels, self.runs = Labels(), KnownRuns()
        diagnoses = Diagnoses(self.runs.copy)
        options: dict[str, Any] = {"analytics_enabled": False, "fill_width": True, "delete_cache": (3600, 86400)}
        with gr.Blocks(title="GRPO on one GPU", **options) as self.blocks:
            self._head()
            with gr.Tabs(selected="train", elem_classes="g-tabs") as self.bar:
                self.tabs: tuple[Tab, ...] = (
                    TrainTab(self.labels),
                    LiveTab(self.labels, diagnoses),
                    GroupsTab(self.labels),
                    HealthTab(self.labels, diagnoses),
                    RunsTab(self.labels),
                    TryItTab(self.labels),
                )
            self.shown = gr.State({})
            self._wire(gr.Timer(TICK_S))

    def _head(self) -> None:
        make = self.labels.make
        self.skip = gr.HTML(heading.skip(words("en")), elem_classes="g-skip-place")
        with gr.Row(elem_classes="g-head"):
            title = elements.element("h1", words("en")("page.title"))
            self.title = gr.HTML(title, elem_classes="g-title")
            self.chooser = make(
                gr.Dropdown,
                words={"label": "page.run"},
                choices=[],
                elem_classes="g-chooser",
                visible=False,
                scale=0,
                min_width=240,
            )
            self.language = make(
                gr.Radio,
                words={"label": "page.language"},
                choices=[(words(code)("name"), code) for code in languages()],
                value=languages()[0],
                elem_classes="g-language",
                container=False,
                scale=0,
                min_width=180,
            )
            look = {"scale": 0, "min_width": 44, "size": "sm", "elem_classes": "g-theme"}
            self.theme = make(gr.Button, words={"value": "page.theme"}, **look)
        self.progress = gr.HTML(elem_classes="g-progress")
        self.tour = gr.HTML(elem_classes="g-guide")
        # What every event is asked about. Not the dropdown itself: Gradio refuses a value that is not among its
        # choices, and a server that was restarted does not know them yet.
        self.run = gr.Textbox(visible="hidden", max_length=64, elem_id="run")
        self.here = gr.Textbox(visible="hidden", max_length=16, elem_id="here")
        self.change = gr.Textbox(visible="hidden", max_length=100_000, elem_id="change")
        self.news = gr.Textbox(visible="hidden", max_length=100_000, elem_id="news")

    @property
    def names(self) -> list[str]:
        return [*FRAME, *self._outputs]

    @property
    def _outputs(self) -> dict[str, Any]:
        return {f"{tab.name}.{name}": made for tab in self.tabs for name, made in tab.outputs.items()}

    @property
    def inputs(self) -> list[Any]:
        """What a tick is given: the run, the language, the open tab, what was told before, then the tabs' inputs."""
        own = [self.run, self.language, self.here, self.shown]
        return [*own, *(made for tab in self.tabs for made in tab.inputs)]

    def _wire(self, timer: Any) -> None:
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "undocumented"}
        told = [*(getattr(self, name) for name in FRAME), *self._outputs.values(), self.shown]
        place = [self.run, self.language, self.here]
        opened = [self.language, self.run, self.here, *self.labels.components]
        self.blocks.load(self.open, None, opened, api_name="open", **quiet).then(
            None, self.here, self.here, js=_OPENED, queue=False
        )
        self.language.input(self.relabel, self.language, self.labels.components, api_name="relabel", **quiet)
        timer.tick(self.tick, self.inputs, told, api_name="tick", **quiet)
        turned = [made.change for made in place]
        gr.on(turned, self.turn, self.inputs, told, trigger_mode="always_last", api_name="turn", **quiet)
        gr.on(turned, None, place, None, js="(...place) => window.pageAddress(...place)", queue=False)
        self.here.change(None, self.here, self.bar, js=_TURN, queue=False)
        self.chooser.input(None, self.chooser, self.run, js="(run) => run", queue=False)
        self.theme.click(None, None, None, js=_THEME, queue=False)
        self.news.change(None, self.news, None, js="(news) => window.pageNews(news)", queue=False)
        frame = Frame(self.language, self.run, self.here, self.change, self.runs, quiet)
        for tab in self.tabs:
            tab.tab.select(None, self.here, self.here, js=_TURNED.replace("%s", tab.name), queue=False)
            tab.wire(frame)

    def _known(self, here: str | None) -> str:
        return here if here in {tab.name for tab in self.tabs} else self.tabs[0].name

    def open(self, request: gr.Request) -> list[Any]:
        """A browser opens the page: its language, and the run and the tab its address names."""
        code = opening.language(request.query_params, request.headers)
        run = heading.chosen(self.runs.table().rows, request.query_params.get("run"))
        here = self._known(request.query_params.get("tab"))
        labels = [gr.skip()] * len(self.labels.components)  # they are made with these words
        return [code, run or "", here, *(labels if code == DEFAULT else self.labels.updates(words(code)))]

    def relabel(self, language: str) -> list[Any]:
        return self.labels.updates(words(language))

    def tick(self, run: str, language: str, here: str, shown: dict[str, int] | None, *chosen: Any) -> list[Any]:
        """What has changed since this browser was last told; a skip for all else."""
        actions.reap()
        actions.tend()
        return self._told(run, language, here, shown, chosen, turned=False)

    def turn(self, run: str, language: str, here: str, shown: dict[str, int] | None, *chosen: Any) -> list[Any]:
        """The same when another tab, run or language was chosen: also of a tab that does not change by itself."""
        return self._told(run, language, here, shown, chosen, turned=True)

    def _told(
        self, run: str, language: str, here: str, shown: dict[str, int] | None, chosen: tuple[Any, ...], turned: bool
    ) -> list[Any]:
        say, table = words(language), self.runs.table()
        look = Look(say, self.runs, table, heading.chosen(table.rows, run), time.time())
        values = self._frame(look)
        if values["run"] == run:  # another one may have been chosen meanwhile: only what is not there is corrected
            del values["run"]
        place, outputs = 0, self._outputs
        for tab in self.tabs:
            given = chosen[place : place + len(tab.inputs)]
            place += len(tab.inputs)
            if tab.name == here and (tab.ticks or turned):
                values |= {f"{tab.name}.{name}": value for name, value in tab.show(look, *given).items()}
        told = dict(shown or {})
        updates = []
        for name in (*FRAME, *outputs):
            if name not in values:
                updates.append(gr.skip())
                continue
            seen = hash((look.run, language, repr(values[name])))
            updates.append(gr.skip() if told.get(name) == seen else self._update(name, values[name]))
            told[name] = seen
        return [*updates, told]

    def _update(self, name: str, value: Any) -> Any:
        room, _, output = name.partition(".")
        tab = next((tab for tab in self.tabs if output and tab.name == room), None)
        if tab is not None:
            return tab.update(output, value)
        if name == "chooser":
            choices, run = value
            return gr.update(choices=choices, value=run, visible=bool(choices))
        return value

    def _frame(self, look: Look) -> dict[str, Any]:
        """The head of the page."""
        say, table = look.say, look.table
        live = [row.name for row in table.rows if row.status in LIVE]
        going, alerts = [], dict[str, list[AlertEvent]]()
        for name in live[:MOST_PROGRESS]:
            with contextlib.suppress(TrainerError), self.runs.look(name) as seen:  # deleted since the table was made
                going.append(heading.progress(seen, say))
                alerts[name] = [alert for alert in seen.state.alerts if alert.level != "info"]
        title = elements.element("h1", say("page.title")) + elements.element("p", _machine(say), "g-machine")
        return {
            "run": look.run or "",
            "skip": heading.skip(say),
            "chooser": (_choices(table), look.run),
            "title": title,
            "progress": elements.progress(going),
            "tour": tour.rendered(say),
            "news": heading.news(table.rows[:MOST_NEWS], alerts, say),
        }


def _choices(table: RunTable) -> list[tuple[str, str]]:
    return [(f"{elements.shape(row.status)} {row.name}".strip(), row.name) for row in table.rows if row.openable]


def _machine(say: Words) -> str:
    """The GPU in a word: its memory and how busy it is; tenths of a GiB, so that it does not change at every tick."""
    card = gpu.chosen()
    if card is None:
        return say("page.gpu_none")
    busy = "" if card.utilization_frac is None else f" \u00b7 {100 * card.utilization_frac:.0f} %"
    return f"{card.name} \u00b7 {card.used_gib:.1f}/{card.total_gib:.0f} GiB{busy}"

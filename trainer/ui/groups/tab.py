"""The tab of this room: which step, which prompt, and the rewards of its completions."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import gradio as gr

from trainer.errors import TrainerError
from trainer.run.groups import Group
from trainer.spec.methods import SUPERVISED
from trainer.text import Words, words
from trainer.ui import elements
from trainer.ui.groups import appearances, listing, panel, strip
from trainer.ui.groups.choice import CARDS, KINDS, MOST_CHARACTERS, MOST_SEARCH, ORDERS, GroupChoice, chosen
from trainer.ui.groups.index import Indexes
from trainer.ui.groups.known import Known, known
from trainer.ui.groups.step_files import StepFile, StepFiles
from trainer.ui.known_runs import RunTable
from trainer.ui.labels import Labels
from trainer.ui.tab import Frame, Look, Tab

_HERE = Path(__file__).parent
_SCRIPT = (_HERE / "groups.js").read_text(encoding="utf-8")
_LISTS = {"order": ORDERS, "kind": KINDS, "cards": CARDS}
_DRAWN = 48  # pieces of HTML that are kept
_DRAWN_CHARACTERS = 16_000_000  # of all of them
_PARTS = ("strip", "list", "panel", "history", "completions")


class GroupsTab(Tab):
    name = "groups"

    def __init__(self, labels: Labels) -> None:
        super().__init__()
        self._files, self._indexes, self._drawn = StepFiles(), Indexes(), _Drawn()
        with labels.make(gr.Tab, words={"label": "tab.groups"}, id="groups") as self.tab, gr.Column(elem_id="groups"):
            self.asked = gr.Textbox(visible="hidden", max_length=MOST_CHARACTERS, elem_id="groups-asked")
            question = gr.HTML(elem_classes="g-question")
            with gr.Column(elem_classes="gg-body"):
                made = {"strip": gr.HTML(js_on_load=_SCRIPT, elem_classes="gg-strip-box")}
                made["scrubber"] = gr.HTML(js_on_load=None, elem_classes="gg-scrubber-box")
                self._tools(labels)
                with gr.Row(elem_classes="gg-split"):
                    with gr.Column(elem_classes="gg-left", min_width=260, scale=1):
                        made["list"] = gr.HTML(js_on_load=None, elem_classes="gg-list")
                    with gr.Column(elem_classes="gg-right", min_width=300, scale=3):
                        made["panel"] = gr.HTML(js_on_load=None)
                        made["history"] = gr.HTML(js_on_load=None)
                        made["completions"] = gr.HTML(js_on_load=None)
        lists = {"order": self.order, "kind": self.kind, "cards": self.cards}
        self.outputs = {"question": question, **made, **lists}
        self.inputs = [self.asked, self.order, self.kind, self.cards, self.search]

    def _tools(self, labels: Labels) -> None:
        with gr.Row(elem_classes="gg-tools"):
            self.search = labels.make(
                gr.Textbox,
                words={"label": "groups.search", "placeholder": "groups.search_hint"},
                max_length=MOST_SEARCH,
                max_lines=1,
                min_width=150,
                elem_classes="gg-search",
            )
            self.order = self._choices(labels, "order", ORDERS)
            self.kind = self._choices(labels, "kind", KINDS)
            self.cards = self._choices(labels, "cards", CARDS)

    @staticmethod
    def _choices(labels: Labels, name: str, values: tuple[str, ...]) -> Any:
        return labels.make(
            gr.Dropdown,
            words={"label": f"groups.{name}"},
            choices=_named(name, words("en")),
            value=values[0],
            filterable=False,
            min_width=150,
            elem_classes=f"gg-{name}",
        )

    # ---- what it shows

    def show(self, look: Look, *asked: Any) -> dict[str, Any]:
        say = look.say
        values: dict[str, Any] = {name: _named(name, say) for name in _LISTS}
        values |= {"scrubber": _scrubber(say)}
        try:
            if look.run is None:
                return values | _nothing(_none(say("page.run_none")), say)
            with look.runs.look(look.run) as seen:
                found = known(seen)
        except TrainerError as error:
            why = elements.no_run(error, say("page.run_none"), say)
            return values | _nothing(f'<div class="gg-none">{why}</div>', say)
        if not found.steps:
            return values | _nothing(_none(_why_none(found, say)), say)
        return values | self._step(found, chosen(look.run, *asked), say)

    def _step(self, found: Known, choice: GroupChoice, say: Words) -> dict[str, Any]:
        place = found.place(choice.step)
        step = found.steps[place]
        path = found.rundir.rollouts_file(step)
        file = self._files.read(path)
        heard = (found.rundir.path, file.stamp, say.language)
        wanted = (choice.search, choice.kind, choice.order)
        order = self._drawn((*heard, "order", *wanted), lambda: [g.place for g in listing.listed(file.groups, choice)])
        by_place = {group.place: group for group in file.groups}
        rows = [by_place[place] for place in order]
        group = _group(file, rows, choice)
        at = None if group is None else group.place
        values: dict[str, Any] = dict.fromkeys(_PARTS, "")
        values["question"] = _sentence(found, file, step, choice, say)
        values["strip"] = strip.strip(found, place, choice.step is None, say)
        values["list"] = self._drawn((*heard, "list", at, *wanted), lambda: listing.rows(rows, at, step, say))
        if group is not None:
            shown = (*heard, at, choice.whole)
            draw = lambda: panel.panel(found, group, len(file.groups), choice, say)  # noqa: E731
            values["panel"] = self._drawn((*shown, "panel", choice.follow), draw)
            deal = lambda: panel.completions(found, group, choice, say)  # noqa: E731
            values["completions"] = self._drawn((*shown, "cards", choice.cards), deal)
            if choice.follow:
                values["history"] = self._history(found, group, step, choice, say)
        return values

    def _history(self, found: Known, group: Group, step: int, choice: GroupChoice, say: Words) -> str:
        with self._indexes.of(found.rundir) as index:
            share = index.advance(found.steps)
            times = index.appearances(group.key)
            key = (found.rundir.path, say.language, "history", tuple(times), round(share, 2), step, choice.pair)
            draw = lambda: appearances.history(times, share, step, choice.pair, index.group, say)  # noqa: E731
            html: str = self._drawn(key, draw)
            return html

    def update(self, name: str, value: Any) -> Any:
        return gr.update(choices=value) if name in _LISTS else value

    # ---- what it is asked

    def wire(self, frame: Frame) -> None:
        def turned(run: str, language: str, *asked: Any) -> list[Any]:
            """Something was chosen in this tab: it is shown at once, not at the next tick."""
            look = Look(words(language), frame.runs, RunTable([], 0), run or None, 0.0)
            values = self.show(look, *asked)
            return [values[name] for name in told]

        told = ["question", *_PARTS]
        given = [frame.run, frame.language, *self.inputs]
        asked = [made.input for made in (self.asked, self.order, self.kind, self.cards, self.search)]
        outputs = [self.outputs[name] for name in told]
        gr.on(asked, turned, given, outputs, trigger_mode="always_last", api_name="groups", **frame.quiet)


class _Drawn:
    """Pieces of a page that were made before, the newest few: what has not changed is not made again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()

    def __call__(self, key: Hashable, make: Callable[[], Any]) -> Any:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = make()
        with self._lock:
            self._kept[key] = made
            while len(self._kept) > 1 and (len(self._kept) > _DRAWN or self._size() > _DRAWN_CHARACTERS):
                self._kept.popitem(last=False)
        return made

    def _size(self) -> int:
        return sum(map(len, self._kept.values()))


def _named(name: str, say: Words) -> list[tuple[str, str]]:
    return [(say(f"groups.{name}_{value}"), value) for value in _LISTS[name]]


def _none(why: str) -> str:
    return elements.element("p", why, "gg-none g-empty")


def _nothing(why: str, say: Words) -> dict[str, Any]:
    """why: as HTML."""
    title = elements.element("h2", say("groups.question"))
    empty: dict[str, Any] = dict.fromkeys(_PARTS, "")
    return empty | {"question": f"{title}{why}"}


def _why_none(found: Known, say: Words) -> str:
    if found.status == "imported":
        return say("groups.none_imported")
    if found.method in SUPERVISED:
        return say(f"groups.none_{found.method}")
    if found.written is False:
        return say("groups.none_off")
    return say("groups.none_yet" if found.live else "groups.none_ever")


def _group(file: StepFile, rows: list[Group], choice: GroupChoice) -> Group | None:
    """The one that was picked, else the followed prompt's, else the first of the list."""
    picked = next((group for group in file.groups if group.place == choice.group), None)
    if picked is None and choice.key is not None:
        picked = next((group for group in file.groups if group.key == choice.key), None)
    return picked or next(iter(rows), None)


def _sentence(found: Known, file: StepFile, step: int, choice: GroupChoice, say: Words) -> str:
    """What this step is: how many prompts and completions, how many taught something; what could not be read."""
    title = elements.element("h2", say("groups.question"))
    told = []
    if file.missing:
        told.append(say("groups.gone", file=f"rollouts/{found.rundir.rollouts_file(step).name}"))
    else:
        sizes = {len(group.completions) for group in file.groups}
        dead = sum(group.dead for group in file.groups)
        count = f"{min(sizes)}\u2013{max(sizes)}" if len(sizes) > 1 else str(next(iter(sizes), 0))
        told.append(say("groups.step", step=f"{step:,}", prompts=len(file.groups), count=count))
        told.append(say("groups.step_dead", dead=dead, prompts=len(file.groups)) if dead else say("groups.step_alive"))
        thrown = sum(group.thrown for group in file.groups)
        told += [say("groups.step_thrown", thrown=thrown)] if thrown else []
    if found.phase > 1:
        last = min(step + found.phase - 1, max(step, found.last_step))
        told.append(say("groups.phase", first=f"{step:,}", last=f"{last:,}"))
    if choice.step is not None and not step <= choice.step < step + found.phase:
        told.append(say("groups.no_file", step=f"{choice.step:,}"))
    text = elements.element("p", " ".join(told), "g-more")
    wrong = []
    if file.damaged:
        wrong.append(say("groups.damaged", count=file.damaged))
    if file.cut:
        wrong.append(say("groups.file_cut", count=len(file.groups)))
    return title + text + "".join(elements.element("p", line, "gg-warn") for line in wrong)


def _scrubber(say: Words) -> str:
    """Controls that stay while the marks above them change: what has the focus keeps it."""
    moves = (("first", "\u25c2\u25c2"), ("previous", "\u25c2"), ("next", "\u25b8"), ("newest", "\u25b8\u25b8"))
    buttons = [
        f'<button type="button" class="gg-move" data-move="{move}" title="{elements.escape(say(f"groups.{move}"))}" '
        f'aria-label="{elements.escape(say(f"groups.{move}"))}">{sign}</button>'
        for move, sign in moves
    ]
    label = elements.escape(say("groups.scrub"))
    slider = f'<input class="gg-range" type="range" min="0" max="0" value="0" step="1" aria-label="{label}">'
    told = f'<output class="gg-at" data-words="{elements.escape(say("groups.at"))}"></output>'
    box = f'<input type="checkbox" data-newest>{elements.escape(say("groups.newest_follow"))}'
    follow = f'<label class="gg-newest">{box}</label>'
    return (
        f'{slider}<div class="gg-moves">{"".join(buttons[:2])}{told}{"".join(buttons[2:])}{follow}'
        f"{elements.element('span', say('groups.keys'), 'gg-keys')}</div>"
    )

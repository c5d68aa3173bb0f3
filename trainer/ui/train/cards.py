"""Presets as cards: what each teaches, with which model, whether it fits this machine, how long. No gradio."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from typing import Literal

from trainer import launch, presets
from trainer.errors import DataError, Problem, SpecError, TrainerError
from trainer.machine import environment, gpu
from trainer.memory import formats
from trainer.plan import RunPlan
from trainer.presets import PresetInfo
from trainer.spec import RunSpec
from trainer.text import DEFAULT, Words
from trainer.ui.elements import element, escape
from trainer.ui.train import rows
from trainer.ui.train.form import FIRST

Fit = Literal["fits", "tight", "no", "unknown"]
SIGNS: dict[Fit, str] = {"fits": "\u2713", "tight": "\u25b3", "no": "\u2715", "unknown": "?"}
_ORDER: tuple[Fit, ...] = ("fits", "tight", "unknown", "no")
_RUNS: tuple[Fit, ...] = ("fits", "tight")
BEGIN_WITH = (FIRST, "smollm2")  # the quickest, then a real language model
MOST_SEEN = 6  # cards that are not folded


@dataclass(frozen=True)
class PresetCard:
    """method: `lora`, `qlora` or `whole`. needs_gib, has_gib: the estimate, and what it is compared with."""

    info: PresetInfo
    method: str = ""
    fit: Fit = "unknown"
    needs_gib: float | None = None
    has_gib: float | None = None
    on_gpu: bool = True
    spec: RunSpec | None = None
    plan: RunPlan | None = None


def cards() -> list[PresetCard]:
    """Every preset, what fits this machine first, then those to begin with, then what was measured."""
    card = gpu.chosen()
    total = card.total_gib if card is not None else None
    found = [_card(info, info.path.stat().st_mtime_ns, total) for info in presets.list_presets()]
    return sorted(found, key=_rank)


def _rank(card: PresetCard) -> tuple[int, int, bool, float]:
    begins = BEGIN_WITH.index(card.info.name) if card.info.name in BEGIN_WITH else len(BEGIN_WITH)
    return _ORDER.index(card.fit), begins, not card.info.measured, card.needs_gib or 0


@functools.lru_cache(maxsize=256)
def _card(info: PresetInfo, changed: int, total_gib: float | None) -> PresetCard:
    """changed and total_gib: what the answer depends on beside the name."""
    if info.problems:
        return PresetCard(info)
    try:
        spec = presets.load(info.path)
        plan = launch.plan_here(spec, _rows(spec))
    except TrainerError as error:
        return PresetCard(replace(info, problems=tuple(error.problems)))
    verdicts: dict[str, Fit] = {"fits": "fits", "tight": "tight", "does not fit": "no"}
    fit = verdicts.get(plan.memory_verdict, "unknown")
    has, on_gpu = plan.memory_limit_gib, plan.memory_on == "GPU"
    return PresetCard(info, method(spec), fit, plan.memory_total_gib, has, on_gpu, spec, plan)


def _rows(spec: RunSpec) -> int | None:
    """Of the local file, which the number of steps may depend on; what is wrong with it is said when it is chosen."""
    try:
        found = rows.surveyed(spec)
    except DataError:
        return None
    return found.rows if found is not None else None


def method(spec: RunSpec) -> str:
    if not spec.lora.enabled:
        return "whole"
    return "qlora" if spec.model.load_in_4bit or formats.of(spec.model.name).format == "nf4" else "lora"


def machine(say: Words) -> str:
    card = gpu.chosen()
    if card is not None:
        return say("train.your_gpu", name=card.name, total=card.total_gib)
    return say("train.your_cpu", ram=environment.ram_gib())


def rendered(found: list[PresetCard], say: Words) -> str:
    """A radio button a card: what runs on this machine is seen, the rest is folded by the GPU it is for."""
    here = [card for card in found if card.fit in _RUNS][:MOST_SEEN] or found[:MOST_SEEN]
    classes: dict[float, list[PresetCard]] = {}
    for card in found:
        if card not in here:
            classes.setdefault(_gpu_gb(card.info), []).append(card)
    folded = (
        element("summary", _class(gb, of_class, say)) + _grid(of_class, say) for gb, of_class in sorted(classes.items())
    )
    folds = "".join(f'<details class="t-class">{fold}</details>' for fold in folded)
    return f'{_grid(here, say)}<div class="t-classes">{folds}</div>'


def reasons(name: object, say: Words) -> str:
    """The header of a preset and, a row a value, the reasons in its file: each in this language where somebody has put
    it into it, else as it stands there. Raises SpecError for what is none."""
    info = next((info for info in presets.list_presets() if info.name == name), None)
    if info is None:
        raise SpecError(Problem("page.no_preset", preset=str(name)[:80]))
    text = info.path.read_text(encoding="utf-8", errors="replace")
    about = "".join(_reason("p", line, say) for line in presets.headers.paragraphs(text))
    values = "".join(
        f"<dt>{element('code', f'{key} = {value}')}</dt>{_reason('dd', reason, say)}"
        for key, value, reason in presets.reasons(text)
    )
    shown = f'{about}<dl class="t-why">{values}</dl>'
    return (element("p", say("train.why_english"), "t-small") if _ENGLISH in shown else "") + shown


_ENGLISH = ' lang="en"'


def _reason(tag: str, text: str, say: Words) -> str:
    for name, found in (("gpu", presets.headers.gpu([text])), ("measured", presets.headers.measured([text]))):
        if found is not None:
            return element(tag, say(f"train.why_{name}", what=say.said(found)))
    if presets.headers.is_command(text):
        return f"<{tag}>{element('code', text)}</{tag}>"
    key = f"reason.{text}"
    if key in say:
        return element(tag, say(key))
    return element(tag, text) if say.language == DEFAULT else f"<{tag}{_ENGLISH}>{escape(text)}</{tag}>"


def _gpu_gb(info: PresetInfo) -> float:
    """The class of GPU it is for; 0 for none, and what does not say so comes last."""
    if info.gpu is None:
        return math.inf
    gb = info.gpu.values.get("gb", 0)
    return float(gb) if isinstance(gb, int) else math.inf


def _class(gb: float, found: list[PresetCard], say: Words) -> str:
    names = ", ".join(dict.fromkeys(_model(card) for card in found))
    if gb in (0, math.inf):
        return say("train.class_none" if not gb else "train.class_unknown", count=len(found), names=names)
    return say("train.class_gb", gb=int(gb), count=len(found), names=names)


def _grid(found: list[PresetCard], say: Words) -> str:
    return f'<div class="t-cards">{"".join(_rendered(card, say) for card in found)}</div>'


def _model(card: PresetCard) -> str:
    """Its name without what only says how its weights are stored."""
    name = card.info.model.rpartition("/")[2] or card.info.name
    return name.removesuffix("-unsloth-bnb-4bit").removesuffix("-bnb-4bit")


def _rendered(card: PresetCard, say: Words) -> str:
    info, why = card.info, ""
    if info.problems:
        lines = [element("span", say("train.broken", error=str(info.problems[0].said(say))), "t-fit t-no")]
    else:
        lines = [
            element("span", f"{_model(card)} \u00b7 {say(f'train.method_{card.method}')}"),
            element("span", f"{SIGNS[card.fit]} {_fit(card, say)}", f"t-fit t-{card.fit}"),
            element("span", _time(card, say), "t-small"),
        ]
        why = (
            f'<details class="t-reasons" data-reasons="{escape(info.name)}">{element("summary", say("train.why"))}'
            "<div></div></details>"
        )
    return (
        f'<div class="t-card"><label><input type="radio" name="t-preset" value="{escape(info.name)}">'
        f"{element('b', info.title_in(say.language) or info.name)}{''.join(lines)}"
        f'<span class="t-chosen" aria-hidden="true">{escape(say("train.chosen"))}</span></label>{why}</div>'
    )


def _fit(card: PresetCard, say: Words) -> str:
    if card.needs_gib is None:
        return say("train.fit_unknown")
    if card.fit == "unknown" or card.has_gib is None:
        return say("train.fit_no_gpu" if card.on_gpu else "train.fit_of_unknown", need=card.needs_gib)
    return say(f"train.fit_{card.fit}", need=card.needs_gib, has=card.has_gib)


def _time(card: PresetCard, say: Words) -> str:
    """How long the whole run takes: here, else on the card it is for, else where it was measured."""
    if card.spec is not None and card.plan is not None and card.spec.chain is None:  # the plan is of the first stage
        expected = launch.expected_anywhere(card.spec, card.plan, card.info.name)
        about = expected.about() if expected is not None else None
        if about is not None:
            return say.said(about)
    measured = card.info.measured.values if card.info.measured else {}
    if not {"seconds", "steps", "device"} <= measured.keys():
        return say("train.card_time_unknown")
    seconds = float(measured["seconds"]) * int(measured["steps"])
    return say("train.time_measured", seconds=seconds, device=measured["device"])

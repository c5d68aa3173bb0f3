"""Presets as cards: what each teaches, with which model, and whether it fits this machine. No gradio."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Literal

from trainer import launch, presets
from trainer.errors import TrainerError
from trainer.machine import environment, gpu
from trainer.memory import formats
from trainer.presets import PresetInfo
from trainer.spec import RunSpec
from trainer.text import Words
from trainer.ui.elements import element, escape

Fit = Literal["fits", "tight", "no", "unknown"]
SIGNS: dict[Fit, str] = {"fits": "\u2713", "tight": "\u25b3", "no": "\u2715", "unknown": "?"}
_ORDER: tuple[Fit, ...] = ("fits", "tight", "unknown", "no")


@dataclass(frozen=True)
class PresetCard:
    """method: `lora`, `qlora` or `whole`. needs_gib, has_gib: the estimate, and what it is compared with."""

    info: PresetInfo
    method: str = ""
    fit: Fit = "unknown"
    needs_gib: float | None = None
    has_gib: float | None = None
    on_gpu: bool = True


def cards() -> list[PresetCard]:
    """Every preset, what fits this machine first, then what was measured."""
    card = gpu.chosen()
    total = card.total_gib if card is not None else None
    found = [_card(info, info.path.stat().st_mtime_ns, total) for info in presets.list_presets()]
    return sorted(found, key=lambda each: (_ORDER.index(each.fit), not each.info.measured, each.needs_gib or 0))


@functools.lru_cache(maxsize=256)
def _card(info: PresetInfo, changed: int, total_gib: float | None) -> PresetCard:
    """changed and total_gib: what the answer depends on beside the name."""
    if info.problems:
        return PresetCard(info)
    try:
        spec = presets.load(info.path)
        plan = launch.plan_here(spec, None)
    except TrainerError as error:
        return PresetCard(replace(info, problems=tuple(error.problems)))
    verdicts: dict[str, Fit] = {"fits": "fits", "tight": "tight", "does not fit": "no"}
    fit = verdicts.get(plan.memory_verdict, "unknown")
    return PresetCard(info, method(spec), fit, plan.memory_total_gib, plan.memory_limit_gib, plan.memory_on == "GPU")


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
    """A radio button a card: one is chosen, the arrow keys move."""
    return "".join(_rendered(card, say) for card in found)


def _rendered(card: PresetCard, say: Words) -> str:
    info = card.info
    model = info.model.rpartition("/")[2]
    gpu_class = say.said(info.gpu) if info.gpu else say("train.needs_unknown")
    if info.problems:
        lines = [element("span", say("train.broken", error=str(info.problems[0].said(say))), "t-fit t-no")]
    else:
        lines = [
            element("span", f"{model} \u00b7 {say(f'train.method_{card.method}')}"),
            element("span", f"{SIGNS[card.fit]} {_fit(card, say)}", f"t-fit t-{card.fit}"),
            element("span", say("train.gpu_class", gpu=gpu_class), "t-small"),
            element("span", say("train.was_measured") if info.measured else say("train.unmeasured"), "t-small"),
        ]
    return (
        f'<label class="t-card"><input type="radio" name="t-preset" value="{escape(info.name)}">'
        f"{element('b', info.title_in(say.language) or info.name)}{''.join(lines)}"
        f'<span class="t-chosen" aria-hidden="true">{escape(say("train.chosen"))}</span></label>'
    )


def _fit(card: PresetCard, say: Words) -> str:
    if card.needs_gib is None:
        return say("train.fit_unknown")
    if card.fit == "unknown" or card.has_gib is None:
        return say("train.fit_no_gpu" if card.on_gpu else "train.fit_of_unknown", need=card.needs_gib)
    return say(f"train.fit_{card.fit}", need=card.needs_gib, has=card.has_gib)

"""Four lines that point at what is worth looking at in a first run; shown and closed by tour.js. No gradio."""

from __future__ import annotations

from trainer.text import Words
from trainer.ui.elements import element, escape

# (its name, what is said of it, the tab it is on, what to point at there)
_LINES = (
    ("tour.reward", "tour.reward_about", "live", ".g-large"),
    ("tab.groups", "tour.groups_about", "groups", ""),
    ("tab.health", "tour.health_about", "health", ""),
    ("tab.try", "tour.try_about", "try", ""),
)


def rendered(say: Words) -> str:
    lines = "".join(
        f'<li><button type="button" data-turn="{tab}" data-point="{point}">{escape(say(name))}</button> '
        f"{element('span', say(about))}</li>"
        for name, about, tab, point in _LINES
    )
    close = f'<button type="button" data-tour-close>{escape(say("tour.close"))}</button>'
    head = f"<div>{element('b', say('tour.title'))}{close}</div>"
    return f'<section class="g-tour" aria-label="{escape(say("tour.title"))}">{head}<ol>{lines}</ol></section>'

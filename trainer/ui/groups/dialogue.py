"""A completion of several turns as a transcript: what the model said and called, what was answered, what it earned."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from trainer.run.groups import Turn
from trainer.text import Words, forms
from trainer.ui import elements
from trainer.ui.groups.safe_text import inert


def transcript(turns: Sequence[Turn], most: int, say: Words, chip: Callable[[float | None, Words], str]) -> str:
    """most: characters that are shown. chip: an advantage, drawn."""
    left, made = most, []
    for number, turn in enumerate(turns):
        pieces = []
        for kind, text in _pieces(turn, say):
            if left > 0:
                name = elements.element("b", say("groups.thought")) if kind == "thought" else ""
                pieces.append(f'<div class="gg-{kind}">{name}{inert(text[:left])}</div>')
            left -= len(text)
        if pieces:
            made.append(f'<div class="gg-step">{_head(number, turn, say, chip)}{"".join(pieces)}</div>')
    gap = elements.element("span", say("groups.text_gap", count=f"{-left:,}"), "gg-gap") if left < 0 else ""
    return f'<div class="gg-text" dir="auto" tabindex="0">{"".join(made)}{gap}</div>'


def transcript_length(turns: Sequence[Turn], say: Words) -> int:
    """Characters of all turns."""
    return sum(len(text) for turn in turns for _, text in _pieces(turn, say))


def _head(number: int, turn: Turn, say: Words, chip: Callable[[float | None, Words], str]) -> str:
    if turn.reward is None:
        told = say("groups.turn", number=number + 1)
    else:
        told = say("groups.turn_paid", number=number + 1, reward=forms.number(turn.reward))
    return f'<span class="gg-step-head">{elements.element("b", told)}{chip(turn.advantage, say)}</span>'


def _pieces(turn: Turn, say: Words) -> Iterator[tuple[str, str]]:
    """(kind, text) of what the model thought and said, of each call, and of each answer."""
    if turn.thought:
        yield "thought", turn.thought
    if turn.said or not (turn.calls or turn.thought):
        yield "said", turn.said
    for call, answer in turn.calls:
        yield "call", call
        yield "answer", say("groups.unanswered") if answer is None else answer

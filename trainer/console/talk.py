"""A chat in the terminal: one prompt, or a conversation. Answers go to `out`, all else to `notes`."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import TextIO

from trainer import text
from trainer.console.printing import put
from trainer.text import Words
from trainer.tryit.chat import Dialogue

EXIT, RESET = "/exit", "/reset"


def once(dialogues: list[Dialogue], prompt: str, out: TextIO, notes: TextIO) -> None:
    """Answer one prompt with each of them."""
    for dialogue in dialogues:
        _answer(dialogue, prompt, len(dialogues) > 1, out, notes)


def converse(dialogues: list[Dialogue], read: Callable[[str], str], out: TextIO, notes: TextIO) -> None:
    """Until the person ends it. read: a line after that prompt, EOFError at the end of the input (`input`)."""
    _hint(dialogues[0], notes)
    say = _words()
    put(say("help", reset=RESET, exit=EXIT), notes)
    while True:
        try:
            typed = read("> ").strip()
        except (EOFError, KeyboardInterrupt):
            return
        if typed == EXIT:
            return
        if typed == RESET:
            for dialogue in dialogues:
                dialogue.reset()
            put(say("forgotten"), notes)
        elif typed:
            before = [dialogue.turns for dialogue in dialogues]
            try:
                once(dialogues, typed, out, notes)
            except KeyboardInterrupt:
                for dialogue, turns in zip(dialogues, before, strict=True):
                    dialogue.turns = turns
                put(f"\n{say('cut_short')}", notes)


def _words() -> Words:
    return text.here().under("console.chat")


def _hint(dialogue: Dialogue, notes: TextIO) -> None:
    """What is typed goes to the model as it is; in training it was put into a text."""
    data = dialogue.chat.spec.data
    if data.prompt_template != "{prompt}":
        shown = _clean(data.prompt_template.replace("\n", "\\n"))
        put(_words()("template", template=shown[:200]), notes)
    if not data.chat:
        put(_words()("plain"), notes)


def _answer(dialogue: Dialogue, prompt: str, named: bool, out: TextIO, notes: TextIO) -> None:
    if named:
        put(_words()("base" if dialogue.base else "tuned"), out)
    answer = dialogue.say(prompt, lambda piece: put(_clean(piece), out, end=""))
    put(to=out)
    if answer.cut:
        put(_words()("cut", tokens=answer.tokens), notes)


def _clean(written: str) -> str:
    """Without control characters: a model may write those that change a terminal."""
    return "".join(" " if unicodedata.category(char) == "Cc" and char not in "\n\t" else char for char in written)

"""A chat in the terminal: one prompt, or a conversation. Answers go to `out`, all else to `notes`."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import TextIO

from trainer import text
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
    print(say("help", reset=RESET, exit=EXIT), file=notes, flush=True)
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
            print(say("forgotten"), file=notes, flush=True)
        elif typed:
            before = [dialogue.turns for dialogue in dialogues]
            try:
                once(dialogues, typed, out, notes)
            except KeyboardInterrupt:
                for dialogue, turns in zip(dialogues, before, strict=True):
                    dialogue.turns = turns
                print(f"\n{say('cut_short')}", file=notes, flush=True)


def _words() -> Words:
    return text.here().under("console.chat")


def _hint(dialogue: Dialogue, notes: TextIO) -> None:
    """What is typed goes to the model as it is; in training it was put into a text."""
    data = dialogue.chat.spec.data
    if data.prompt_template != "{prompt}":
        shown = _clean(data.prompt_template.replace("\n", "\\n"))
        print(_words()("template", template=shown[:200]), file=notes)
    if not data.chat:
        print(_words()("plain"), file=notes)


def _answer(dialogue: Dialogue, prompt: str, named: bool, out: TextIO, notes: TextIO) -> None:
    if named:
        print(_words()("base" if dialogue.base else "tuned"), file=out, flush=True)
    answer = dialogue.say(prompt, lambda piece: print(_clean(piece), end="", file=out, flush=True))
    print(file=out, flush=True)
    if answer.cut:
        print(_words()("cut", tokens=answer.tokens), file=notes, flush=True)


def _clean(written: str) -> str:
    """Without control characters: a model may write those that change a terminal."""
    return "".join(" " if unicodedata.category(char) == "Cc" and char not in "\n\t" else char for char in written)

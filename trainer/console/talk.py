"""A chat in the terminal: one prompt, or a conversation. Answers go to `out`, all else to `notes`."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import TextIO

from trainer.tryit.chat import Dialogue

EXIT, RESET = "/exit", "/reset"
HELP = f"{RESET} forgets the conversation, {EXIT} or Ctrl-D ends; Ctrl-C cuts an answer"


def once(dialogues: list[Dialogue], prompt: str, out: TextIO, notes: TextIO) -> None:
    """Answer one prompt with each of them."""
    for dialogue in dialogues:
        _answer(dialogue, prompt, len(dialogues) > 1, out, notes)


def converse(dialogues: list[Dialogue], read: Callable[[str], str], out: TextIO, notes: TextIO) -> None:
    """Until the person ends it. read: a line after that prompt, EOFError at the end of the input (`input`)."""
    _hint(dialogues[0], notes)
    print(HELP, file=notes, flush=True)
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
            print("forgotten", file=notes, flush=True)
        elif typed:
            before = [dialogue.turns for dialogue in dialogues]
            try:
                once(dialogues, typed, out, notes)
            except KeyboardInterrupt:
                for dialogue, turns in zip(dialogues, before, strict=True):
                    dialogue.turns = turns
                print("\n(cut short, and forgotten)", file=notes, flush=True)


def _hint(dialogue: Dialogue, notes: TextIO) -> None:
    """What is typed goes to the model as it is; in training it was put into a text."""
    data = dialogue.chat.spec.data
    if data.prompt_template != "{prompt}":
        shown = _clean(data.prompt_template.replace("\n", "\\n"))
        print(f"this run trained on prompts made from: {shown[:200]}", file=notes)
    if not data.chat:
        print("this run trained on plain text: every prompt stands alone", file=notes)


def _answer(dialogue: Dialogue, prompt: str, named: bool, out: TextIO, notes: TextIO) -> None:
    if named:
        print("base:" if dialogue.base else "tuned:", file=out, flush=True)
    answer = dialogue.say(prompt, lambda text: print(_clean(text), end="", file=out, flush=True))
    print(file=out, flush=True)
    if answer.cut:
        print(f"(cut after {answer.tokens} tokens; --max-new-tokens N for more)", file=notes, flush=True)


def _clean(text: str) -> str:
    """Without control characters: a model may write those that change a terminal."""
    return "".join(" " if unicodedata.category(char) == "Cc" and char not in "\n\t" else char for char in text)

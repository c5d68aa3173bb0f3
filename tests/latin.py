"""Finds English sentences in what is said in another language: by a page, a terminal, a problem or a message.

A sentence is three or more Latin words in a row. Names of settings and files, numbers, commands and single terms are
none, and what a model or a person wrote stands in elements of its own: both are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from html.parser import HTMLParser
from typing import Any

from trainer.errors import Problem
from trainer.text import Message, words

# Texts of models, of data, of a log and of the code, titles of papers; a drawing's numbers.
FOREIGN_TAGS = frozenset({"pre", "script", "style", "iframe", "textarea", "select", "datalist"})
FOREIGN_CLASSES = frozenset({
    "gg-text", "gg-prompt", "gg-short", "try-text", "t-prompt", "t-rows", "t-papers",
    "r-completion", "r-prompt", "g-log",
})  # fmt: skip
READ = ("title", "aria-label", "placeholder", "alt", "label")  # attributes a person is shown, or a screen reader reads
INLINE = frozenset({"b", "i", "em", "strong", "small", "a", "u", "mark"})
EMPTY = frozenset({"br", "img", "input", "hr", "meta", "link", "path", "rect", "circle", "line", "polyline", "use"})
# A word of letters alone: `data.path`, `--set`, `num_generations`, `--port=1` and `GPU로` are none.
_WORD = r"(?<![\w./=@\[{<-])[A-Za-z]+(?:['\u2019][a-z]+)?(?![\w/=@\[(\]}>-]|\.\w)"
_SENTENCE = re.compile(rf"{_WORD}(?:[ :;]+{_WORD}){{2,}}")
# What is typed into a terminal, up to the next word of the page's own language.
_COMMAND = re.compile(r"\b(?:python3?|pip|uv|hf|ssh|sudo|apt|docker|git|export)\s[^\uac00-\ud7a3\n\u00b7;]*")


def sentences(html: str, known: Iterable[str] = ()) -> list[str]:
    """Every run of three or more Latin words that a person is shown. known: names that are none of the page's words."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return in_text(re.sub("[ \t]+", " ", "".join(reader.parts)), known)


def in_text(text: str, known: Iterable[str] = ()) -> list[str]:
    for name in sorted(known, key=len, reverse=True):
        text = text.replace(name, " \u00b7 ")
    return _SENTENCE.findall(_COMMAND.sub(" \u00b7 ", text))


def in_korean(said: Problem | Message) -> str:
    """As a Korean terminal or page says it. Fails where that holds an English sentence, or no Korean at all."""
    korean = words("ko")
    text = str(said.said(korean)) if isinstance(said, Problem) else korean.said(said)
    assert not in_text(text, _values(said.values)), text
    assert re.search("[\uac00-\ud7a3]", text), text
    return text


def left_in(problem: Problem) -> list[str]:
    """Sentences of English in the Korean of a problem, but for what Python or a library said."""
    return in_text(str(problem.said(words("ko"))), [str(problem.values.get("said"))])


def _values(value: Any) -> Iterator[str]:
    if isinstance(value, Message):
        yield from _values(value.values)
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _values(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _values(part)
    elif isinstance(value, str) and value.strip():
        yield value


class _Reader(HTMLParser):
    """Collects what is shown. `code` is passed over but for the fixes of a problem, which may be sentences."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._open: list[tuple[str, bool, bool]] = []  # (tag, passed over, inside a fix)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        kinds = set((told.get("class") or "").split())
        over, fix = self._open[-1][1:] if self._open else (False, False)
        fix = fix or "g-fix" in kinds
        over = over or tag in FOREIGN_TAGS or bool(kinds & FOREIGN_CLASSES) or (tag == "code" and not fix)
        if not over:
            self.parts += [f"\n{told[name]}\n" for name in READ if told.get(name)]
        if tag not in EMPTY:
            self._open.append((tag, over, fix))
        self._break(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open:
            closed = self._open.pop()[0]
            if closed == tag:
                break
        self._break(tag)

    def handle_data(self, data: str) -> None:
        if not self._open or not self._open[-1][1]:
            self.parts.append(data)

    def _break(self, tag: str) -> None:
        self.parts.append(" " if tag in INLINE else "\n")

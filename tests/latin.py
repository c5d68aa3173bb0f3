"""What is said in Korean holds no English sentence: only names, keys, values and commands stay Latin."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from trainer.errors import Problem
from trainer.text import Message, words

COMMANDS = ("python -m trainer rewards check", "apt install bubblewrap", "sudo sysctl", "bwrap --ro-bind / / true")
# Three words in a row without anything that only a key, a path or code has.
_SENTENCE = re.compile(r"(?<![\w.=/{-])[A-Za-z']+(?:,? [A-Za-z']+){2,}(?![\w.=/(}-])")


def sentences(text: str, values: Any = None) -> list[str]:
    """Runs of three Latin words in a text, but for what was put into it as a value."""
    for known in sorted({*COMMANDS, *_values(values)}, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(known)}(?!\w)", "*", text)
    return _SENTENCE.findall(text)


def in_korean(said: Problem | Message) -> str:
    """As a Korean terminal or page says it. Fails where that holds an English sentence, or no Korean at all."""
    korean = words("ko")
    text = str(said.said(korean)) if isinstance(said, Problem) else korean.said(said)
    assert not sentences(text, said.values), text
    assert re.search("[\uac00-\ud7a3]", text), text
    return text


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

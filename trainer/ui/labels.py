"""Every fixed word of the page, by key, so that one event can say all of them in another language."""

from __future__ import annotations

from typing import Any, TypeVar

import gradio as gr

from trainer.text import DEFAULT, Words, words

Made = TypeVar("Made")


class Labels:
    """Makes components whose words can be changed: labels.make(gr.Button, value="train.start")."""

    def __init__(self) -> None:
        self._first = words(DEFAULT)
        self.components: list[Any] = []
        self._keys: list[dict[str, str]] = []

    def make(
        self,
        kind: type[Made],
        *,
        words: dict[str, str],
        **options: Any,
    ) -> Made:
        """words: {property: key of the text}; options: whatever else the component takes."""
        made = kind(**{name: self._first(key) for name, key in words.items()}, **options)
        self.components.append(made)
        self._keys.append(words)
        return made

    def updates(self, say: Words) -> list[Any]:
        """One update for each of `components`."""
        return [gr.update(**{name: say(key) for name, key in keys.items()}) for keys in self._keys]

"""How long prompts are, and how a model's chat template puts them, without transformers.

Exact where the tokenizer lies on this machine: in the folder of the model, in the Hub's cache, or made for a built-in
model. Otherwise an estimate, which says so. No gradio; `tokenizers` and jinja2 are imported when they are needed.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from trainer.data import special_tokens
from trainer.memory.shapes import BUILTIN
from trainer.spec import RunSpec

CHARACTERS_A_TOKEN = 4  # of English; fewer of Korean
Basis = Literal["exact", "characters", "guess"]


@dataclass(frozen=True)
class Reader:
    """basis: `exact`, `characters` (a built-in model has one token for each) or `guess` (characters / 4)."""

    basis: Basis
    count: Callable[[str], int]
    template: Callable[[list[dict[str, Any]]], str] | None
    """Messages as the model's chat template puts them; None where it is not on this machine."""

    def tokens(self, prompt: str | list[dict[str, Any]]) -> int:
        """Tokens of a rendered prompt. Without the template a message counts 4 tokens more than its text."""
        if isinstance(prompt, str):
            return self.count(prompt)
        if self.template is not None:
            return self.count(self.template(prompt))
        return sum(self.count(str(message["content"])) + 4 for message in prompt)


def reader(spec: RunSpec) -> Reader:
    folder = special_tokens.folder(spec)
    if folder is None:
        if spec.model.name.startswith(BUILTIN):
            return Reader("characters", len, None)
        return Reader("guess", lambda text: -(-len(text) // CHARACTERS_A_TOKEN), None)
    tokenizer, template = special_tokens.tokenizer(folder), _template(folder)
    kwargs = spec.trl.get("chat_template_kwargs")
    more = kwargs if isinstance(kwargs, dict) else {}

    def count(text: str) -> int:
        return len(tokenizer.encode(text, add_special_tokens=False).ids)

    def put(messages: list[dict[str, Any]]) -> str:
        return str(template.render(messages=messages, add_generation_prompt=True, **{**_specials(folder), **more}))

    return Reader("exact", count, put if template is not None else None)


@functools.lru_cache(maxsize=4)
def _settings(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _specials(folder: Path) -> dict[str, str]:
    """The tokens a template may name: bos_token, eos_token, ..."""
    found = {}
    for name, value in _settings(folder).items():
        if name.endswith("_token"):
            text = value.get("content") if isinstance(value, dict) else value
            if isinstance(text, str):
                found[name] = text
    return found


@functools.lru_cache(maxsize=4)
def _template(folder: Path) -> Any:
    """The chat template in jinja's sandbox, as transformers reads it: it is a program that came with the model."""
    from jinja2 import TemplateError
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    text = _template_text(folder)
    if text is None:
        return None
    world = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])

    def refuse(message: str) -> None:
        raise TemplateError(message)

    world.filters["tojson"] = lambda value, **options: json.dumps(
        value, ensure_ascii=False, indent=options.get("indent")
    )
    world.globals["raise_exception"] = refuse
    world.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return world.from_string(text)


def _template_text(folder: Path) -> str | None:
    written = folder / "chat_template.jinja"
    if written.is_file():
        return written.read_text(encoding="utf-8")
    found = _settings(folder).get("chat_template")
    if isinstance(found, list):  # several, by name
        named = {each.get("name"): each.get("template") for each in found if isinstance(each, dict)}
        found = named.get("default")
    return found if isinstance(found, str) else None


def histogram(counts: Sequence[int], limit: int, bars: int = 24) -> list[tuple[int, int, int]]:
    """(from, to, how many) of equal widths from 0 to the largest count or the limit, whichever is more."""
    width = max(1, -(-(max([limit, *counts]) + 1) // bars))
    found = [0] * bars
    for count in counts:
        found[min(count // width, bars - 1)] += 1
    return [(place * width, (place + 1) * width - 1, number) for place, number in enumerate(found)]

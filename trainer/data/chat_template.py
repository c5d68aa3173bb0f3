"""A model's chat template: where it stands on this machine, and messages put into it. No transformers, no torch.

It is tried in a process of its own (template_process.py) that is ended when it does not end by itself.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from trainer.data.template_process import MOST_CHARACTERS
from trainer.errors import DataError, Problem
from trainer.machine.project import PROJECT, cache_dir
from trainer.machine.regular_files import read_file
from trainer.memory.embedded import BUILTIN
from trainer.spec import RunSpec

CPU_S = 2
"""Seconds of the processor a template may take for a few rows."""
WAIT_S = 20  # for each of them: the machine may be busy
ROW_CPU_S = 10
"""For one row, its tokens included, where no process is started for it."""
FILE, SETTINGS, TOKENIZER = "chat_template.jinja", "tokenizer_config.json", "tokenizer.json"
Messages = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Refusal:
    """What a template said instead of giving a text. line: of the template, where that is known."""

    said: str
    line: int | None = None


@dataclass(frozen=True)
class ChatTemplate:
    """variables: what it is given beside the messages. place: the file it stands in, or the model's name."""

    text: str
    place: str
    variables: Mapping[str, Any] = field(default_factory=dict)

    def render(self, chats: Sequence[Mapping[str, Any]], cpu_s: int = CPU_S) -> list[str | Refusal]:
        """A text for each of the chats: {messages, and more variables}. As TRL gives them: `tools` is none.

        Raises DataError where the template does not parse, does not end or makes gigabytes.
        """
        variables = {"tools": None, "documents": None, "add_generation_prompt": True, **self.variables}
        asked = {"template": self.text, "variables": variables, "chats": chats}
        try:
            found = _answered(json.dumps(asked, default=str), cpu_s)
        except TimeoutError:
            found = {"endless": True}
        if "texts" in found:
            return [one if isinstance(one, str) else Refusal(**one) for one in found["texts"]]
        if "syntax" in found:
            raise DataError(
                Problem("template.syntax", "model.name", place=self.at(found["line"]), said=found["syntax"])
            )
        if "large" in found:
            raise _too_large(self.place)
        raise DataError(Problem("template.endless", "model.name", place=self.place, seconds=cpu_s))

    def at(self, line: int | None) -> str:
        return f"{self.place}:{line}" if line else self.place


@contextmanager
def ended(place: str, cpu_s: float = ROW_CPU_S) -> Iterator[None]:
    """Around a template that is rendered in this very process, as transformers does it: raises DataError where it does
    not end. Rows that were tried are few, and a template may be endless for another one.

    A template is Python code, which a signal interrupts; only a main thread can be sent one, and not on Windows.
    """
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        raise DataError(Problem("template.endless", "model.name", place=place, seconds=cpu_s))

    before = signal.signal(signal.SIGVTALRM, end)
    signal.setitimer(signal.ITIMER_VIRTUAL, cpu_s)
    try:
        yield
    except MemoryError as error:  # of one piece of text that no machine holds
        raise _too_large(place) from error
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def refuse_large(text: Any, place: str) -> None:
    """Raises DataError for more than a template makes in a process of its own."""
    if isinstance(text, str) and len(text) > MOST_CHARACTERS:
        raise _too_large(place)


def _too_large(place: str) -> DataError:
    return DataError(Problem("template.large", "model.name", place=place))


@functools.lru_cache(maxsize=8)  # a page asks again with every key that is pressed
def _answered(asked: str, cpu_s: int) -> dict[str, Any]:
    """What template_process says. Raises TimeoutError where it did not end in WAIT_S a second of cpu_s."""
    command = [sys.executable, "-m", "trainer.data.template_process", str(cpu_s)]
    try:
        done = subprocess.run(
            command, input=asked, capture_output=True, text=True, encoding="utf-8", cwd=PROJECT, timeout=WAIT_S * cpu_s
        )
    except subprocess.TimeoutExpired as error:
        raise TimeoutError from error
    if done.returncode < 0:  # by the kernel, after its seconds
        return {"endless": True}
    if done.returncode:  # too little memory for the interpreter itself
        return {"large": True}
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def of_model(spec: RunSpec) -> ChatTemplate | None:
    """The template on this machine; None where its tokenizer has none. Raises as `named`."""
    folder = folder_of(spec)
    if folder is None:
        return None
    more = folder / "additional_chat_templates"  # transformers 5.17, tokenization_utils_base.py `_from_pretrained`
    found: Any = {path.stem: _text(path) for path in sorted(more.glob("*.jinja"))}
    if (folder / FILE).is_file():
        found["default"] = _text(folder / FILE)
    place = folder / (FILE if found else SETTINGS)
    return named(found or settings(folder).get("chat_template"), str(place), spec, specials(folder))


def named(found: Any, place: str, spec: RunSpec, tokens: Mapping[str, Any]) -> ChatTemplate | None:
    """The one that TRL takes of a tokenizer's templates: of several by name that is `default`.

    tokens: those a template may name. Raises DataError where there are several and none is called so.
    """
    if isinstance(found, list):
        found = {each.get("name"): each.get("template") for each in found if isinstance(each, dict)}
    if isinstance(found, dict) and found:
        if not found.get("default"):
            raise DataError(Problem("template.no_default", "model.name", place=place, names=sorted(map(str, found))))
        found = found["default"]
    if not isinstance(found, str) or not found:
        return None
    kwargs = spec.trl.get("chat_template_kwargs")
    return ChatTemplate(found, place, {**tokens, **(kwargs if isinstance(kwargs, dict) else {})})


def folder_of(spec: RunSpec) -> Path | None:
    """Where the tokenizer's files are; None when they are not on this machine. Asks no network."""
    name = spec.model.name
    if name.startswith(BUILTIN):
        # As engine/builtin.py lays it out, which imports torch.
        made = (cache_dir() / name.removeprefix(BUILTIN)).glob(f"*/{TOKENIZER}")
        found = sorted(made, key=lambda path: path.stat().st_mtime)
        return found[-1].parent if found else None
    if any(os.path.isfile(PROJECT / name / file) for file in (TOKENIZER, SETTINGS)):
        return PROJECT / name
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    for file in (TOKENIZER, SETTINGS):
        try:
            cached = try_to_load_from_cache(name, file, revision=spec.model.revision)
        except (HFValidationError, OSError):
            return None
        if isinstance(cached, str):
            return Path(cached).parent
    return None


def settings(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads(read_file(folder / SETTINGS))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def specials(folder: Path) -> dict[str, str]:
    """The tokens a template may name: bos_token, eos_token, ..."""
    found = {}
    for name, value in settings(folder).items():
        if name.endswith("_token"):
            text = value.get("content") if isinstance(value, dict) else value
            if isinstance(text, str):
                found[name] = text
    return found


def _text(path: Path) -> str:
    """Raises DataError where it cannot be read."""
    try:
        return read_file(path).decode("utf-8")
    except (OSError, ValueError) as error:
        raise DataError(Problem("template.unreadable", "model.name", place=str(path), said=str(error))) from error

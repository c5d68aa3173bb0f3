"""Messages through a chat template, in a process that ends: python -m trainer.data.template_process CPU_S

A template is a program that came with the model: it may loop for ever or make gigabytes of text, and nothing inside a
process stops it then. The surroundings are those of transformers 5.17 (utils/chat_template_utils.py
`_compile_jinja_template`): the same sandbox, filters and functions.

Standard input: JSON {template, variables, chats: [[variables more of this one], ...]}. Output: JSON
{syntax, line} where it does not parse, {large: true} where it makes more than MOST_CHARACTERS, else {texts: [a text, or
{said, line}, ...]}.
"""

from __future__ import annotations

import json
import sys
import traceback
from datetime import datetime
from typing import Any

from jinja2 import TemplateError, TemplateSyntaxError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

MOST_CHARACTERS = 16 * 2**20
MEMORY_BYTES = 2**30


class Generation(Extension):
    """`{% generation %}`, by which templates mark the assistant's text: it changes nothing of it."""

    tags = {"generation"}  # noqa: RUF012  # as jinja2 declares it

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)


def world() -> ImmutableSandboxedEnvironment:
    made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])

    def refuse(message: str) -> None:
        raise TemplateError(message)

    def as_json(
        value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
    ) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    made.filters["tojson"] = as_json
    made.globals["raise_exception"] = refuse
    made.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return made


def answer(asked: dict[str, Any]) -> dict[str, Any]:
    try:
        template = world().from_string(asked["template"])
    except TemplateSyntaxError as error:
        return {"syntax": error.message, "line": error.lineno}
    except RecursionError as error:
        return {"syntax": str(error), "line": None}
    room, texts = MOST_CHARACTERS, list[Any]()
    for chat in asked["chats"]:
        pieces = []
        try:
            for piece in template.generate(asked["variables"] | chat):
                pieces.append(piece)
                room -= len(piece)
                if room < 0:
                    return {"large": True}
        except MemoryError:
            raise
        except Exception as error:  # a program may raise anything
            texts.append({"said": str(error) or type(error).__name__, "line": _line(error)})
        else:
            texts.append("".join(pieces))
    return {"texts": texts}


def _line(error: Exception) -> int | None:
    """Where in the template: jinja2 puts its lines into the traceback."""
    places = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "<template>"]
    return places[-1] if places else None


def _limit(cpu_s: int) -> None:
    """The kernel ends the process after its seconds, also inside one endless operation; memory is bounded too."""
    try:
        import resource
    except ImportError:  # Windows: the one who asks waits for a bounded time only
        return
    limits = {resource.RLIMIT_CPU: cpu_s, resource.RLIMIT_AS: MEMORY_BYTES, resource.RLIMIT_CORE: 0}
    for kind, most in limits.items():
        try:
            resource.setrlimit(kind, (most, most))
        except (ValueError, OSError):  # macOS knows no RLIMIT_AS; a lower one may be set already
            continue


def main(cpu_s: str) -> None:
    _limit(int(cpu_s))
    try:
        text = json.dumps(answer(json.load(sys.stdin)))
    except MemoryError:
        text = json.dumps({"large": True})
    print(text)


if __name__ == "__main__":
    main(sys.argv[1])

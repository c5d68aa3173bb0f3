"""What an environment is: the contract of TRL 1.14's `environment_factory`, and what of a class is told to its parent.

    class Environment:
        def reset(self, seed, **row) -> str | None     begins an episode; a text is added to the prompt
        def any_other_name(self, argument: int) -> str a tool, with type hints and a docstring that describes them
        def get_reward(self) -> float                  what the episode is worth so far; may be left out

A tool is told to TRL as a signature of plain types, so that no code of a person runs beside the training.

Imports no library.
"""

from __future__ import annotations

import inspect
import json
import re
import types
import typing
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from trainer.errors import Problem
from trainer.text import Message

RESET, REWARD = "reset", "get_reward"
PLAIN: dict[str, Any] = {"str": str, "int": int, "float": float, "bool": bool, "None": type(None), "dict": dict}
"""Types without parts that an argument of a tool may have, by name."""
ALLOWED = "str, int, float, bool, dict, list[...], Literal[...], X | None"

Kind = str | list[Any]
"""A type as JSON: a name of PLAIN, ["list", Kind], ["literal", value, ...] or ["union", Kind, ...]."""


@dataclass(frozen=True)
class Parameter:
    """default: [value], or [] where it has none."""

    name: str
    kind: Kind
    default: list[Any]


@dataclass(frozen=True)
class Tool:
    name: str
    doc: str
    parameters: list[Parameter]

    def signature(self) -> inspect.Signature:
        """As of a method."""
        own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        return inspect.Signature([own, *map(_as_python, self.parameters)])


@dataclass(frozen=True)
class Described:
    """What a parent knows of an environment."""

    name: str
    tools: list[Tool]
    has_reward: bool

    def stored(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def read(cls, stored: dict[str, Any]) -> Described:
        tools = [
            Tool(tool["name"], tool["doc"], [Parameter(**each) for each in tool["parameters"]])
            for tool in stored["tools"]
        ]
        return cls(stored["name"], tools, stored["has_reward"])


class Cut(Exception):
    """Raised by an environment that cannot go on, through no fault of the model: its row is lost. why: the end of a
    sentence that begins with what was called."""

    def __init__(self, why: Message) -> None:
        self.why = why
        super().__init__(str(why))


def method(tool: Tool, answer: Callable[[Any, Tool, dict[str, Any]], str]) -> Callable[..., str]:
    """A method with the name, signature and docstring of the tool. answer: (object, tool, arguments as they came)."""
    signature = tool.signature()

    def called(self: Any, /, **arguments: Any) -> str:
        signature.bind(self, **arguments)  # TypeError: which argument is missing or unknown
        return str(answer(self, tool, arguments))

    called.__name__ = called.__qualname__ = tool.name
    called.__doc__ = tool.doc
    called.__annotations__ = {one.name: one.annotation for one in list(signature.parameters.values())[1:]}
    called.__signature__ = signature  # type: ignore[attr-defined]
    return called


def described(environment: type, place: str) -> tuple[Described | None, list[Problem]]:
    """What a class offers; None with the problems. place: of the class, for the messages."""
    try:
        instance = environment()
    except (Exception, SystemExit) as error:
        return None, [Problem("episodes.not_made", place, said=_said(error))]
    try:
        return _offered(instance, environment.__name__, place)
    except (Exception, SystemExit) as error:  # of properties, of annotations: whatever a person's class may do
        return None, [Problem("episodes.not_read", place, said=_said(error))]


def _offered(instance: Any, name: str, place: str) -> tuple[Described | None, list[Problem]]:
    methods = dict(inspect.getmembers(instance, inspect.ismethod))
    problems: list[Problem] = []
    if RESET not in methods:
        problems.append(Problem("episodes.no_reset", place))
    names = [name for name in methods if not name.startswith("_") and name not in (RESET, REWARD)]
    if not names:
        problems.append(Problem("episodes.no_tools", place))
    tools = [_tool(methods[name], name, place, problems) for name in names]
    if problems:
        return None, problems
    return Described(name, tools, REWARD in methods), []


def _said(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return type(error).__name__ + (f": {lines[0][:200]}" if lines else "")


def _tool(method: Callable[..., Any], name: str, place: str, problems: list[Problem]) -> Tool:
    doc = inspect.getdoc(method) or ""
    if not doc.strip():
        problems.append(Problem("episodes.no_docstring", place, tool=name))
    hints, parameters = typing.get_type_hints(method), []
    for one in inspect.signature(method).parameters.values():
        where = {"tool": name, "argument": one.name}
        if one.kind not in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY):
            problems.append(Problem("episodes.argument_unnamed", place, **where))
            continue
        try:
            kind = _kind(hints.get(one.name, one.empty))
        except TypeError as error:
            problems.append(Problem("episodes.argument_type", place, seen=str(error), allowed=ALLOWED, **where))
            continue
        if one.default is not one.empty and not _is_json(one.default):
            seen = repr(one.default)[:40]
            problems.append(Problem("episodes.argument_default", place, seen=seen, **where))
            continue
        # As transformers' get_json_schema wants it, which makes the description that a chat template writes.
        if doc and not re.search(rf"^\s*{re.escape(one.name)}\s*(\(.*\))?:\s*\S", doc, re.MULTILINE):
            problems.append(Problem("episodes.argument_untold", place, **where))
        parameters.append(Parameter(one.name, kind, [] if one.default is one.empty else [one.default]))
    return Tool(name, doc, parameters)


def _kind(annotation: Any) -> Kind:
    """Raises TypeError, with the type in words, for one that a chat template has no words for."""
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is None or annotation is type(None):
        return "None"
    if origin is Literal:
        if not _is_json(parts):
            raise TypeError(str(annotation))
        return ["literal", *parts]
    if origin in (typing.Union, types.UnionType):
        return ["union", *map(_kind, parts)]
    if annotation is list or origin is list:
        return ["list", _kind(parts[0]) if parts else "str"]
    name = getattr(origin or annotation, "__name__", str(annotation))
    if PLAIN.get(name) is not (origin or annotation):
        raise TypeError("-" if annotation is inspect.Parameter.empty else str(annotation))
    return str(name)


def _is_json(value: Any) -> bool:
    """Whether it can be told to the parent."""
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


def _as_python(parameter: Parameter) -> inspect.Parameter:
    """By name only: a model names every argument, and then those without a default may stand anywhere."""
    default = parameter.default[0] if parameter.default else inspect.Parameter.empty
    annotation = python_type(parameter.kind)
    return inspect.Parameter(parameter.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def python_type(kind: Kind) -> Any:
    """The type again."""
    if isinstance(kind, str):
        return PLAIN[kind]
    name, *parts = kind
    if name == "list":
        return list[python_type(parts[0])]  # type: ignore[misc]
    return Literal[tuple(parts)] if name == "literal" else typing.Union[tuple(map(python_type, parts))]  # noqa: UP007


def example(kind: Kind) -> Any:
    """Some value of that type, as a model might give it."""
    if isinstance(kind, str):
        return {"str": "1", "int": 1, "float": 1.0, "bool": True, "dict": {}}.get(kind)
    name, *parts = kind
    return [] if name == "list" else parts[0] if name == "literal" else example(parts[0])

"""Component -> the function it names: of the library, or of a person's own file.

Imports the library of rewards, whose own imports are light: models and parsers come with a function's first call.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, field
from typing import Any, Protocol

from trainer.errors import Problem, RewardError, reason
from trainer.rewards import own_file
from trainer.rewards.contract import RewardFunction
from trainer.rewards.library import REWARDS

PER_ROW = ("prompts", "completions", "completion_ids", "steps")
"""What a function may be given beside the columns of the data, each (B,). All but `steps` are TRL's own arguments."""
ALL_COLUMNS = "*"


class Named(Protocol):
    """What of a spec.Component says which function it is."""

    @property
    def title(self) -> str: ...
    @property
    def function(self) -> str: ...
    @property
    def file(self) -> str | None: ...
    @property
    def params(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Recipe:
    """The same without pydantic, whose import would double the start of a reward process, and with the file's content:
    a process that is started later must not run what the file has become since.
    """

    title: str
    function: str
    file: str | None = None
    params: dict[str, Any] = field(default_factory=dict)
    source: bytes | None = None

    @classmethod
    def of(cls, component: Named) -> Recipe:
        source = own_file.read(component.file) if component.file is not None else None
        return cls(component.title, component.function, component.file, component.params, source)


def make(component: Named) -> RewardFunction:
    """Raises RewardError where the params do not fit or the file is not right."""
    if component.file is not None:
        recipe = component if isinstance(component, Recipe) else Recipe.of(component)
        source = recipe.source if recipe.source is not None else own_file.read(component.file)
        return own_file.load(component.file, source, component.function, component.params)
    try:
        return REWARDS[component.function](**component.params)
    except (TypeError, ValueError, re.error) as error:
        asked = {"name": component.title, "function": component.function}
        raise RewardError(Problem("rewards.params", why=reason(error), **asked)) from error


def reads(function: RewardFunction, component: Named) -> set[str]:
    """Names of the arguments it looks at, so that no others travel to its process; ALL_COLUMNS when unknown."""
    if component.file is not None:
        return {ALL_COLUMNS, *PER_ROW}
    # A whole column that is never read would be pickled for every process and batch.
    named = set(inspect.signature(function.call).parameters) & set(PER_ROW)
    return {"completions", *named, *function.columns, *function.from_trainer}

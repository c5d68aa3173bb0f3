"""Which environment a run plays with, and those from a person's own Python file.

Reads and runs them as trainer/rewards/own_file.py does functions.
"""

from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass
from pathlib import Path

from trainer.errors import Problem, RewardError
from trainer.machine.regular_files import read_file, why
from trainer.rewards import own_file


@dataclass(frozen=True)
class Recipe:
    """Which environment: with the file's content, so that a process that is started later runs the same. url: of an
    OpenEnv server."""

    name: str
    file: str | None = None
    source: bytes | None = None
    url: str | None = None

    @classmethod
    def of(cls, name: str, file: str | None, url: str | None = None) -> Recipe:
        """Raises RewardError for a file that cannot be read."""
        return cls(name, file, own_file.read(file) if file is not None else None, url)

    @property
    def place(self) -> str:
        if self.url is not None:
            return self.url
        return self.name if self.file is None else f"{Path(self.file).name}: {self.name}"


def load(recipe: Recipe) -> type:
    """Run the file and take its class. Raises RewardError."""
    assert recipe.file is not None and recipe.source is not None
    module = own_file.run(Path(recipe.file), recipe.source)
    found = getattr(module, recipe.name, None)
    if not inspect.isclass(found):
        names = [name for name, value in vars(module).items() if inspect.isclass(value)]
        raise RewardError(Problem("episodes.no_class", recipe.file, name=recipe.name, known=names))
    return found


def problems(name: str, file: str) -> list[Problem]:
    """What can be seen to be wrong without running the file: not there, not Python, no such class."""
    try:
        tree = ast.parse(read_file(Path(file)), file)
    except OSError as error:
        return [Problem("episodes.no_file", "episode.file", path=file, said=why(error))]
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        return [Problem("rewards.not_python", f"{file}:{line}" if line else file, said=str(error))]
    bound = {found for node in tree.body for found in own_file.bound(node)}
    if name not in bound and "*" not in bound:
        known = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
        return [Problem("episodes.no_class", file, name=name, known=known)]
    return []

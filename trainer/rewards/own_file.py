"""Reward functions from a person's own Python file.

Contract as in TRL: fn(prompts, completions, **columns) -> one number a completion, None where it cannot judge; `async`
functions too. A function is given only the arguments it names, so `**kwargs` may be left out; `params` of the component
are added. The file is run like any script of yours, in a process of its own: it is trusted, model-written code is not.

Imports no library; what the file imports is its own.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
import traceback
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from trainer.errors import Problem, RewardError
from trainer.machine.regular_files import read_file, why
from trainer.rewards.contract import RewardFunction

_PREFIX = "own_reward_"


def read(path: str) -> bytes:
    """The file's content. Raises RewardError."""
    try:
        return read_file(Path(path))
    except OSError as error:
        raise RewardError(Problem("rewards.file_unreadable", path, said=why(error))) from error


def load(path: str, source: bytes, name: str, params: dict[str, Any]) -> RewardFunction:
    """Run the source of the file at `path` and take its function. Raises RewardError with the line that is wrong."""
    module = run(Path(path), source)
    function = getattr(module, name, None)
    if not callable(function):
        own = functions_in(module)
        key = "rewards.no_function" if own else "rewards.no_functions"
        raise RewardError(Problem(key, path, **_looked_for(name, own)))
    _refuse_unknown(function, params, f"{path}: {name}")
    # Not row by row: nobody knows whether it compares the completions of a batch, so a batch is never split.
    return RewardFunction(_called(function, params), rowwise=False)


def problems(path: str, name: str, component: str) -> list[Problem]:
    """What can be seen to be wrong without running the file: not there, not Python, no such function.

    component: its title, for the messages.
    """
    file = Path(path)
    try:
        tree = ast.parse(read_file(file), str(file))
    except OSError as error:
        return [Problem("rewards.no_file", component=component, path=path, said=why(error))]
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        return [Problem("rewards.not_python", f"{path}:{line}" if line else path, said=str(error))]
    names = {found for node in tree.body for found in bound(node)}
    if name not in names and "*" not in names:
        functions = [node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
        key = "rewards.file_lacks" if functions else "rewards.file_is_empty"
        return [Problem(key, component=component, file=file.name, **_looked_for(name, functions))]
    return []


def _looked_for(name: str, known: list[str]) -> dict[str, Any]:
    """What was looked for, and what there is instead or what it should look like."""
    if known:
        return {"name": name, "known": ", ".join(known)}
    return {"name": name, "example": f"def {name}(prompts, completions, **columns): ..."}


def rewards_in(path: str) -> list[str]:
    """Names of the functions that take `completions`, in order, without running the file. Raises RewardError."""
    return [name for name, _ in described(path)]


def described(path: str, asked: str = "rewards check FILE") -> list[tuple[str, str]]:
    """The same with the first line of what each says about itself, "" where it says nothing. asked: who asks, for the
    messages."""
    try:
        tree = ast.parse(read_file(Path(path)), path)
    except (OSError, SyntaxError, ValueError):
        raise RewardError(problems(path, "reward", asked)) from None
    functions = [node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    return [
        (node.name, (ast.get_docstring(node) or "").strip().partition("\n")[0])
        for node in functions
        if "completions" in {argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)}
        and not node.name.startswith("_")
    ]


EXAMPLE = "def brief(completions, **columns): return [1.0 if len(str(one)) < 100 else 0.0 for one in completions]"
"""A whole reward function, to be typed: a number for each completion, whatever a completion is."""


def without_rewards(path: str) -> Problem:
    """What to say of a file in which there are none: a function is one if it takes `completions`."""
    tree = ast.parse(read_file(Path(path)), path)
    names = [node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    return Problem(
        "rewards.none_takes_completions" if names else "rewards.no_reward", path, names=names, example=EXAMPLE
    )


def asks(path: str, name: str, given: Container[str] = ()) -> list[str]:
    """Arguments that a function of the file cannot do without, without running it: no default, not among those given.

    [] where reading does not tell: no such file, no plain function of that name.
    """
    try:
        tree = ast.parse(Path(path).read_bytes()) if Path(path).is_file() else ast.Module([], [])
    except (OSError, SyntaxError, ValueError):
        return []
    found = [
        node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == name
    ]
    if not found or found[-1].decorator_list:
        return []
    taken = found[-1].args
    plain = taken.args[: len(taken.args) - len(taken.defaults)]
    named = [one for one, default in zip(taken.kwonlyargs, taken.kw_defaults, strict=True) if default is None]
    return [one.arg for one in (*plain, *named) if one.arg not in given]


def bound(node: ast.stmt) -> Iterator[str]:
    """Names a top-level statement may give a value, as far as reading tells."""
    # Assignments count: `reward = make_reward(3)` is a function too, and only running the file would tell.
    for part in ast.walk(node):
        if isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield part.name
        elif isinstance(part, ast.alias):
            yield part.asname or part.name
        elif isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            yield part.id


def functions_in(module: ModuleType) -> list[str]:
    """Names of the functions the file itself defines and does not hide by an underscore."""
    return [
        name
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
    ]


def run(path: Path, source: bytes) -> ModuleType:
    """The module of a file with this source. Raises RewardError with the line that is wrong."""
    home = path.resolve().parent
    name = f"{_PREFIX}{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # dataclasses and pickle look it up by name
    if sys.path[0] != str(home):
        sys.path.insert(0, str(home))  # it may import its neighbours, also inside a function
    _forget_neighbours(home)
    try:
        exec(compile(source, str(path), "exec"), vars(module))
    except (Exception, SystemExit) as error:
        said = f"{type(error).__name__}: {error}"
        raise RewardError(Problem("rewards.file_raised", _place(path, error), said=said)) from error
    return module


_homes: set[Path] = set()
"""Folders of the files run so far."""


def _forget_neighbours(home: Path) -> None:
    """Two files may each have a neighbour of the same name: the second must not get that of the first."""
    for name, module in list(sys.modules.items()):
        lies_in = Path(getattr(module, "__file__", None) or "").parent
        if lies_in in _homes - {home} and not name.startswith(_PREFIX):
            del sys.modules[name]
    _homes.add(home)


def _place(path: Path, error: BaseException) -> str:
    """file:line of the innermost line of that file in the traceback."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f"{path}:{error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f"{path}:{lines[-1]}" if lines else str(path)


def _parameters(function: Callable[..., Any]) -> tuple[set[str], bool]:
    """(names it takes, whether it takes any other)."""
    parameters = inspect.signature(function).parameters.values()
    named = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    return named, any(p.kind is p.VAR_KEYWORD for p in parameters)


def _refuse_unknown(function: Callable[..., Any], params: dict[str, Any], where: str) -> None:
    named, others = _parameters(function)
    unknown = [] if others else [name for name in params if name not in named]
    if unknown:
        raise RewardError(
            Problem("rewards.no_argument", where, names=", ".join(unknown), known=", ".join(sorted(named)))
        )


def _owner(function: Callable[..., Any]) -> str | None:
    """What a method calls its object, mostly `self`: no column can be passed under that name."""
    method = function if inspect.ismethod(function) else getattr(function, "__call__", None)  # noqa: B004
    return next(iter(inspect.signature(method.__func__).parameters), None) if inspect.ismethod(method) else None


def _called(function: Callable[..., Any], params: dict[str, Any]) -> Callable[..., Any]:
    named, others = _parameters(function)
    owner = _owner(function)

    def call(**arguments: Any) -> Any:
        # TRL passes every column and asks for **kwargs; here a function may leave them out.
        given = {name: value for name, value in arguments.items() if name in named or (others and name != owner)}
        found = function(**given | params)
        if not inspect.isawaitable(found):
            return found
        from trainer.rewards import event_loop  # asyncio is not for every command that only reads the file

        return event_loop.finish(found)

    return call

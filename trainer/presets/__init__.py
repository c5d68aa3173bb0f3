"""From a preset's name (or a path) and `--set section.key=value` to a validated RunSpec.

    find -> read -> lay recipes over -> merge -> parse           load does all five

All problems of all stages are collected and raised at once. Imports pydantic, spec, explain and
rules; never torch, trl or transformers: a wrong preset is refused before anything heavy is loaded.
"""

from __future__ import annotations

import copy
import datetime
import functools
import os
import tomllib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from trainer.errors import PresetError, Problem, SpecError, TrainerError
from trainer.machine.project import PROJECT, in_full
from trainer.presets import (
    explain,
    headers,
    instruction_file,
    methods,
    recipes,
    rubric_file,
    rules,
    stages,
    task_rows,
)
from trainer.presets.headers import header, reasons
from trainer.presets.toml_files import read
from trainer.spec import RECORDS, RunSpec
from trainer.text import Message
from trainer.text.chain import Part

__all__ = [
    "FILE_KEYS", "PRESETS_DIR", "Draft", "PresetInfo", "draft", "explain", "find", "header", "list_presets", "load",
    "measured", "merge", "parse", "read", "reasons", "recipes", "rules", "stages", "tables",
]  # fmt: skip

PRESETS_DIR = PROJECT / "presets"

# Files a preset names: relative to the preset's own folder, or, typed after --set, to the current
# one.
FILE_KEYS = (
    ("data", "path"),
    ("data", "eval_path"),
    ("data", "few_shot", "path"),
    ("data", "instruction", "path"),
    ("model", "warm_start", "path"),
    ("episode", "file"),
)
# Stand-ins for what is missing or refused, so that the rules across the other fields still run.
_STAND_INS: dict[explain.Path, Callable[[], Any]] = {
    ("model",): lambda: {"name": "?"},
    ("model", "name"): lambda: "?",
    ("data",): dict,
    ("reward",): lambda: {"components": [{"function": "exact_match"}]},
    ("reward", "components"): lambda: [{"function": "exact_match"}],
}


@dataclass(frozen=True)
class Draft:
    """A raw spec with changes put in, right or wrong."""

    raw: dict[str, Any]
    """The tables after the changes, as far as they could be put in."""
    spec: RunSpec | None
    """None when there are problems."""
    problems: list[Problem]


@dataclass(frozen=True)
class PresetInfo:
    """What a list of presets shows of one."""

    name: str
    path: Path
    title: str
    titles: tuple[tuple[str, str], ...]
    """(language, title in it)."""
    model: str
    gpu: Message | None
    """The GPU it needs; None where its header does not say."""
    measured: Message | None
    """Device, date, commit and figures; None for an unmeasured preset."""
    problems: tuple[Problem, ...] = ()
    """Of a broken preset."""

    def title_in(self, language: str) -> str:
        return dict(self.titles).get(language) or self.title


def _files() -> dict[str, Path]:
    """{name: file} of every preset; one in a sub-folder is called `folder/name`."""
    found = sorted(PRESETS_DIR.rglob("*.toml"))
    return {path.relative_to(PRESETS_DIR).with_suffix("").as_posix(): path for path in found}


def measured() -> list[Path]:
    """Files of the presets whose header says what they took."""
    paths = _files().values()
    return [path for path in paths if headers.measured(header(path.read_text(encoding="utf-8", errors="replace")))]


def find(name_or_path: str | Path) -> Path:
    """The file of a preset: a name in presets/, or a path to any .toml. Raises PresetError."""
    name = str(name_or_path)
    files = _files()
    if name in files:
        return files[name]
    path = Path(os.path.expanduser(name))
    if path.suffix == ".toml":
        if path.is_file():
            return path.resolve()
        if name.removesuffix(".toml") in files:
            return files[name.removesuffix(".toml")]
        if "/" in name or path.exists():
            key = "presets.is_a_folder" if path.is_dir() else "presets.no_such_file"
            raise PresetError(Problem(key, name=name, fix=_known(path.stem, files)))
    raise PresetError(Problem("presets.no_such", name=name, folder=str(PRESETS_DIR), fix=_known(name, files)))


def _known(name: str, files: Mapping[str, Path]) -> Part:
    close = explain.nearest(name, files, count=3)
    if close:
        return Message("presets.fix.did_you_mean_one_of", names=close)
    return Message("presets.fix.known", names=", ".join(files)) if files else ""


def merge(raw: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A copy of `raw` with every `section.key=value` put in. Raises SpecError with all that make no sense."""
    merged, problems = _merged(raw, overrides)
    if problems:
        raise SpecError(problems)
    return merged


def _merged(raw: Mapping[str, Any], overrides: Sequence[str]) -> tuple[dict[str, Any], list[Problem]]:
    merged: dict[str, Any] = copy.deepcopy(dict(raw))
    problems = []
    for override in overrides:
        problem = _put(merged, override)
        if problem is not None:
            problems.append(problem)
    keys = {override.partition("=")[0].strip().partition(".")[0] for override in overrides}
    if "title" in keys and "titles" not in keys:
        merged.pop("titles", None)  # they say what the title said before
    return merged, problems


_LEFT_OUT = object()  # `--set model.warm_start=` takes a key out: its default holds again


def _put(merged: dict[str, Any], override: str) -> Problem | None:
    key, equals, text = override.partition("=")
    key = key.strip()
    path: explain.Path = tuple(int(step) if step.isdecimal() else step for step in key.split("."))
    if path[:2] == ("data", "columns"):  # a column may be called anything
        path = (*path[:2], *filter(None, [".".join(key.split(".")[2:])]))
    inner = path[2:] if path[0] == stages.STAGE and len(path) > 2 else path  # stage.1.optim.max_steps
    if not equals or not all(str(step) for step in path):
        return Problem("presets.no_override", f"--set {override}")
    if not _key_exists(inner) and not (inner != path and inner[0] in stages.OWN):
        return explain.unknown_key(inner)
    value = _value(inner, text.strip()) if text.strip() else _LEFT_OUT
    named = inner in FILE_KEYS or _names_reward_file(inner) or rubric_file.is_named(merged, path)
    if named and isinstance(value, str):
        value = str(in_full(value))
    for stage in stages.apart(merged, path):
        if (problem := _put(stage, override)) is not None:
            return problem
    here: Any = merged
    for place, step in enumerate(path):
        done = explain.dotted(path[:place])
        last = place == len(path) - 1
        if isinstance(step, int):
            if not isinstance(here, list):
                return Problem("presets.no_list", key, of=done)
            if not step < len(here):
                name = "presets.no_such_place" if here else "presets.empty_list"
                return Problem(name, key, of=done, place=step, count=len(here))
        elif isinstance(here, list):
            return Problem("presets.is_a_list", key, of=done, step=step)
        elif not isinstance(here, dict):
            return Problem("presets.no_table", key, of=done)
        if last and value is _LEFT_OUT and isinstance(here, dict):
            here.pop(step, None)
        elif last:
            here[step] = value
        else:
            here = here[step] if isinstance(step, int) else here.setdefault(step, {})
    return None


def _names_reward_file(path: explain.Path) -> bool:
    """reward.components.0.file, or the same inside a sum: reward.components.0.components.1.file."""
    names = tuple(step for step in path if isinstance(step, str))
    return len(names) > 2 and names == ("reward", *["components"] * (len(names) - 2), "file")


def _key_exists(path: explain.Path) -> bool:
    """Whether a key is one of ours, or lies in a table with free keys ([trl], params, columns)."""
    if isinstance(path[0], int):
        return False
    if explain.field_at(path) is not None:
        return len(path) > 1 or explain.section_at(path) is not None or path in (("title",), ("titles",))
    free = (("trl",), ("data", "columns"), ("data", "task_params"), ("titles",))
    names = tuple(step for step in path if isinstance(step, str))
    return any(names[: len(head)] == head and len(names) > len(head) for head in free) or (
        names[:2] == ("reward", "components")
        and "params" in names[2:-1]
        and _are_sums(names[2 : names.index("params")])
    )


def _are_sums(names: Sequence[str]) -> bool:
    return all(name == "components" for name in names)


def _value(path: explain.Path, text: str) -> Any:
    """The TOML value of `text`, or `text` itself: `--set grpo.loss_type=dapo` needs no quotes."""
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    value = parsed.get("value")
    if len(parsed) != 1 or isinstance(value, datetime.date | datetime.time):
        return text  # a second line, or text that looks like a date
    field = explain.field_at(path)
    if field is not None and explain.takes_only_text(field) and not isinstance(value, str | list | dict):
        return text  # a commit hash like 1234567 or 12e4567 is no number
    if path[:2] == ("data", "columns") and len(path) > 2 and not isinstance(value, str):
        return text  # of a column called 1 or true
    return value


def parse(raw: Mapping[str, Any], where: str) -> RunSpec:
    """The RunSpec of a raw spec. Raises SpecError with every problem; `where` names the file in them."""
    spec, problems = _parsed(raw, where)
    if problems or spec is None:
        raise SpecError(problems)
    return spec


def _parsed(
    raw: Mapping[str, Any], where: str, removed: Collection[str] = (), alone: bool = True
) -> tuple[RunSpec | None, list[Problem]]:
    """removed: keys that the command line took out; that they are missing is not the file's fault. alone: it is no
    stage."""
    if stages.STAGE in raw:
        return stages.parsed(raw, lambda tables: _parsed(tables, where, removed, alone=False))
    raw, problems = instruction_file.put_in(raw)
    raw, of_task = task_rows.put_in(raw)
    problems += of_task
    raw = rubric_file.put_in(methods.put_in(raw))
    try:
        spec = RunSpec.model_validate(raw)
    except ValidationError as error:
        wrong = explain.problems(error, raw, where)
    else:
        return spec, [*problems, *rules.problems(spec), *(stages.alone(spec) if alone else ())]
    problems += [_taken_out(problem) if problem.place in removed else problem for _, problem in wrong]
    paths = [path for path, _ in wrong]
    rest = copy.deepcopy(dict(raw))
    for path in paths:
        _stand_in(rest, path)
    try:
        spec = RunSpec.model_validate(rest)
    except ValidationError:
        return None, problems  # too much is wrong: the rules across fields come after these are fixed
    return None, problems + rules.problems(spec, paths)


def _taken_out(problem: Problem) -> Problem:
    return Problem("presets.taken_out", problem.place, key=problem.place)


def _stand_in(rest: dict[str, Any], path: explain.Path) -> None:
    """Take a refused key out, or put a stand-in where one is required."""
    if path[:2] == ("reward", "components"):
        path = path[:2]  # its elements hold each other up: replace the list
    here: Any = rest
    for step in path[:-1]:
        if isinstance(here, dict) and step not in here:
            return  # another problem has taken the whole section out
        here = here[step]
    stand_in = _STAND_INS.get(path)
    if stand_in is not None:
        here[path[-1]] = stand_in()
    elif isinstance(here, dict):
        here.pop(path[-1], None)
        if path[:2] == ("model", "warm_start"):
            here = rest["model"]
            here.pop("warm_start", None)
    else:
        here[path[-1]] = ""


def _make_absolute(raw: dict[str, Any], folder: Path) -> None:
    of_stages = raw.get(stages.STAGE)
    for stage in of_stages if isinstance(of_stages, list) else ():
        if isinstance(stage, dict):
            _make_absolute(stage, folder)
    for *parents, last in FILE_KEYS:
        here: Any = raw
        for step in parents:
            here = here.get(step) if isinstance(here, dict) else None
        _make_value_absolute(here, last, folder)
    _make_rewards_absolute(raw.get("reward"), folder)


def _make_rewards_absolute(here: Any, folder: Path) -> None:
    """The `file` of every component under `here`, those inside sums too."""
    components = here.get("components") if isinstance(here, dict) else None
    for component in components if isinstance(components, list) else ():
        _make_value_absolute(component, "file", folder)
        _make_value_absolute(rubric_file.params_of(component), rubric_file.RUBRIC, folder)
        _make_rewards_absolute(component, folder)


def _make_value_absolute(table: Any, key: str, folder: Path) -> None:
    if isinstance(table, dict) and isinstance(table.get(key), str) and table[key]:
        table[key] = str((folder / os.path.expanduser(table[key])).resolve())


def load(name_or_path: str | Path, overrides: Sequence[str] = (), over: Sequence[str] = ()) -> RunSpec:
    """The validated spec of a preset with recipes laid `over` it and overrides put in. Raises PresetError or SpecError
    with every problem."""
    path = find(name_or_path)
    found = draft(tables(path), overrides, str(path), over)
    if found.spec is None:
        raise SpecError(found.problems)
    return found.spec


def tables(path: Path) -> dict[str, Any]:
    """The raw spec of a preset's file; the files it names are absolute paths. Raises PresetError."""
    raw = read(path)
    _make_absolute(raw, path.parent)
    return raw


def draft(raw: Mapping[str, Any], overrides: Sequence[str], where: str, over: Sequence[str] = ()) -> Draft:
    """A raw spec with recipes laid over it and `section.key=value` put in, and everything that is wrong with it; raises
    nothing.

    where: names the file in problems. over: names or files of recipes, in this order; what is put in wins over them.
    """
    laid, problems = recipes.laid_over(raw, over)
    merged, more = _merged(laid, overrides)
    problems += more
    merged = task_rows.laid_over(merged, overrides)
    spec, more = _parsed(merged, where, _removed(overrides))
    typed = [Problem("presets.chain_typed", name) for name in RECORDS if raw.get(name) is not None]
    found = [*problems, *typed, *more]
    return Draft(merged, None if found else spec, found)


def _removed(overrides: Sequence[str]) -> set[str]:
    """Keys that an override without a value takes out and no later one puts back."""
    parts = [override.partition("=") for override in overrides]
    texts = {key.strip(): text.strip() for key, _, text in parts}  # the last one holds
    return {key for key, text in texts.items() if not text}


def list_presets() -> list[PresetInfo]:
    """Every preset in presets/, broken ones too: those say what is wrong."""
    found = ((name, path, path.stat()) for name, path in _files().items())
    return [_info(name, path, stat.st_size, stat.st_mtime_ns) for name, path, stat in found]


@functools.lru_cache(maxsize=256)
def _info(name: str, path: Path, size: int, changed: int) -> PresetInfo:
    """size, changed: of its file. The page asks for all of them at every look at its form."""
    lines = header(path.read_text(encoding="utf-8", errors="replace"))
    gpu, measured = headers.gpu(lines), headers.measured(lines)
    try:
        spec = load(path)
    except TrainerError as error:
        title = lines[0] if lines else name
        return PresetInfo(name, path, title, (), "", gpu, measured, tuple(error.problems))
    return PresetInfo(name, path, spec.title or name, tuple(spec.titles.items()), spec.model.name, gpu, measured)

"""From a preset's name (or a path) and `--set section.key=value` to a validated RunSpec.

    find -> read -> merge -> parse           load does all four

All problems of all stages are collected and raised at once. Imports pydantic, spec, explain and
rules; never torch, trl or transformers: a wrong preset is refused before anything heavy is loaded.
"""

from __future__ import annotations

import copy
import datetime
import re
import tomllib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from trainer.errors import PresetError, Problem, SpecError, TrainerError
from trainer.machine.project import PROJECT
from trainer.presets import explain, rules
from trainer.spec import RunSpec

PRESETS_DIR = PROJECT / "presets"

# Files a preset names: relative to the preset's own folder, or, typed after --set, to the current
# one.
FILE_KEYS = (
    ("data", "path"),
    ("data", "eval_path"),
    ("data", "few_shot", "path"),
    ("model", "warm_start", "path"),
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
    """What a list of presets shows. `measured` is "" for an unmeasured preset; `error` is "" for a
    sound one.
    """

    name: str
    path: Path
    title: str
    model: str
    gpu: str
    """GPU class from the header, e.g. `24 GB or more`."""
    measured: str
    """GPU, date, commit and figures from the header."""
    error: str = ""


def _files() -> dict[str, Path]:
    """{name: file} of every preset; one in a sub-folder is called `folder/name`."""
    found = sorted(PRESETS_DIR.rglob("*.toml"))
    return {path.relative_to(PRESETS_DIR).with_suffix("").as_posix(): path for path in found}


def find(name_or_path: str | Path) -> Path:
    """The file of a preset: a name in presets/, or a path to any .toml. Raises PresetError."""
    name = str(name_or_path)
    files = _files()
    if name in files:
        return files[name]
    path = Path(name).expanduser()
    if path.suffix == ".toml":
        if path.is_file():
            return path.resolve()
        if name.removesuffix(".toml") in files:
            return files[name.removesuffix(".toml")]
        if "/" in name or path.exists():
            what = "is a folder" if path.is_dir() else "there is no such file"
            raise PresetError(Problem.plain(f"preset {name}", what, _known(path.stem, files)))
    raise PresetError(
        Problem.plain(
            f"preset {name}",
            f"there is no preset of this name in {PRESETS_DIR}",
            _known(name, files),
        )
    )


def _known(name: str, files: Mapping[str, Path]) -> str:
    close = explain.nearest(name, files, count=3)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"known: {', '.join(files)}" if files else ""


def read(path: Path) -> dict[str, Any]:
    """The tables of a TOML file. Raises PresetError with file:line:column."""
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise PresetError(Problem.plain(str(path), f"cannot be read: {error.strerror}")) from error
    except UnicodeDecodeError as error:
        bad_line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise PresetError(Problem.plain(f"{path}:{bad_line}", "is not UTF-8 text", "save the file as UTF-8")) from error
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        line, column = place.groups() if place else (str(text.count("\n") + 1), "1")
        what = re.sub(r" \(at .*\)$", "", str(error))
        seen = text.splitlines()[int(line) - 1].strip() if place and text.splitlines() else ""
        fix = _syntax_fix(seen)
        what = f"not TOML: {what}" + (f", in the line {explain.shown(seen)}" if seen else " at the end of the file")
        raise PresetError(Problem.plain(f"{path}:{line}:{column}", what, fix)) from error


def _syntax_fix(line: str) -> str:
    """What to type for the slips people make when they come from YAML or Python."""
    if re.match(r"^[\w.]+\s*:\s*\S", line):
        return "write key = value, not key: value"
    if re.search(r"=\s*(True|False)\b", line):
        return "write true or false in small letters"
    if re.search(r"=\s*None\b", line):
        return "leave the key out: TOML has no None"
    if re.search(r"=\s*[A-Za-z_/][\w/.-]*\s*(#.*)?$", line):
        return "put text in quotes"
    return ""


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
    return merged, problems


_LEFT_OUT = object()  # `--set model.warm_start=` takes a key out: its default holds again


def _put(merged: dict[str, Any], override: str) -> Problem | None:
    key, equals, text = override.partition("=")
    key = key.strip()
    path: explain.Path = tuple(int(step) if step.isdecimal() else step for step in key.split("."))
    if not equals or not all(str(step) for step in path):
        return Problem.plain(
            f"--set {override}",
            "is not of the form section.key=value",
            "--set optim.learning_rate=1e-6",
        )
    if not _key_exists(path):
        return explain.unknown_key(path)
    value = _value(path, text.strip()) if text.strip() else _LEFT_OUT
    if (path in FILE_KEYS or _names_reward_file(path)) and isinstance(value, str):
        value = str(Path(value).expanduser().absolute())
    here: Any = merged
    for place, step in enumerate(path):
        done = explain.dotted(path[:place]) or "the spec"
        last = place == len(path) - 1
        if isinstance(step, int):
            if not isinstance(here, list):
                return Problem.plain(key, f"{done} is not a list", "")
            if not step < len(here):
                count = f"{len(here)} of them, counted from 0" if here else "none"
                return Problem.plain(
                    key,
                    f"{done} has no number {step}: there are {count}",
                    f"add it to the preset's {done}",
                )
        elif not isinstance(here, dict):
            fix = f"{done}.0.{step}" if isinstance(here, list) else ""
            return Problem.plain(key, f"{done} is {'a list' if isinstance(here, list) else 'not a table'}", fix)
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
    if explain.field_at(path) is not None:
        return len(path) > 1 or explain.section_at(path) is not None or path == ("title",)
    free = (("trl",), ("data", "columns"))
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
    return value


def parse(raw: Mapping[str, Any], where: str) -> RunSpec:
    """The RunSpec of a raw spec. Raises SpecError with every problem; `where` names the file in them."""
    spec, problems = _parsed(raw, where)
    if problems or spec is None:
        raise SpecError(problems)
    return spec


def _parsed(raw: Mapping[str, Any], where: str, removed: Collection[str] = ()) -> tuple[RunSpec | None, list[Problem]]:
    """removed: keys that the command line took out; that they are missing is not the file's fault."""
    try:
        spec = RunSpec.model_validate(raw)
    except ValidationError as error:
        wrong = explain.problems(error, raw, where)
    else:
        return spec, rules.problems(spec)
    problems = [_taken_out(problem) if problem.where in removed else problem for _, problem in wrong]
    paths = [path for path, _ in wrong]
    rest = copy.deepcopy(dict(raw))
    for path in paths:
        _stand_in(rest, path)
    try:
        spec = RunSpec.model_validate(rest)
    except ValidationError:
        return (
            None,
            problems,
        )  # too much is wrong: the rules across fields come after these are mended
    return None, problems + rules.problems(spec, paths)


def _taken_out(problem: Problem) -> Problem:
    return Problem.plain(
        problem.where, f"is needed, and --set {problem.where}= removed it", f"leave --set {problem.where}= out"
    )


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
        _make_rewards_absolute(component, folder)


def _make_value_absolute(table: Any, key: str, folder: Path) -> None:
    if isinstance(table, dict) and isinstance(table.get(key), str) and table[key]:
        table[key] = str((folder / Path(table[key]).expanduser()).resolve())


def load(name_or_path: str | Path, overrides: Sequence[str] = ()) -> RunSpec:
    """The validated spec of a preset with overrides. Raises PresetError or SpecError with every problem."""
    path = find(name_or_path)
    found = draft(tables(path), overrides, str(path))
    if found.spec is None:
        raise SpecError(found.problems)
    return found.spec


def tables(path: Path) -> dict[str, Any]:
    """The raw spec of a preset's file; the files it names are absolute paths. Raises PresetError."""
    raw = read(path)
    _make_absolute(raw, path.parent)
    return raw


def draft(raw: Mapping[str, Any], overrides: Sequence[str], where: str) -> Draft:
    """A raw spec with `section.key=value` put in, and everything that is wrong with it; raises nothing.

    where: names the file in problems.
    """
    merged, problems = _merged(raw, overrides)
    spec, more = _parsed(merged, where, _removed(overrides))
    found = [*problems, *more]
    return Draft(merged, None if found else spec, found)


def _removed(overrides: Sequence[str]) -> set[str]:
    """Keys that an override without a value takes out and no later one puts back."""
    parts = [override.partition("=") for override in overrides]
    texts = {key.strip(): text.strip() for key, _, text in parts}  # the last one holds
    return {key for key, text in texts.items() if not text}


def header(text: str) -> list[str]:
    """The comment lines a preset starts with, without their `#`."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").strip())
    return lines


def list_presets() -> list[PresetInfo]:
    """Every preset in presets/, broken ones too: those say what is wrong."""
    return [_info(name, path) for name, path in _files().items()]


def _info(name: str, path: Path) -> PresetInfo:
    lines = header(path.read_text(encoding="utf-8", errors="replace"))
    gpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("GPU:")), "")
    measured = next((line.partition(":")[2].strip() for line in lines if line.startswith("Measured:")), "")
    try:
        spec = load(path)
    except TrainerError as error:
        return PresetInfo(name, path, lines[0] if lines else "", "", gpu, measured, str(error))
    return PresetInfo(name, path, spec.title or name, spec.model.name, gpu, measured)

"""`data.task`: rows that a generator makes (trainer.tasks) in place of those that a preset comes with.

laid_over   a task that was typed over a preset replaces its rows with all that belongs to them: held-out rows,
            templates, rewards; lengths are raised to hold prompts and answers. What else was typed wins.
put_in      the file of the rows becomes data.path; it is made now if it is not there
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeGuard

from pydantic.fields import FieldInfo

from trainer.errors import DataError, Problem
from trainer.memory.embedded import is_small, knows_nothing
from trainer.presets.explain import nearest, shown
from trainer.spec import RunSpec
from trainer.tasks import catalogue, generated
from trainer.tasks.catalogue import Param, Task
from trainer.text import DEFAULT, Message, words

HELD_OUT = 0.1
"""Share of the rows, where the preset has held-out rows of its own."""
HELD_OUT_KEYS = ("eval_path", "eval_split", "eval_fraction")
FORMER = (
    *("path", "name", "config", "split", "few_shot", "instruction"),
    *("columns", "encoding", "max_rows", "prompt_template", "system_prompt", *HELD_OUT_KEYS),
)
"""Keys of data that belong to the rows a preset comes with."""
OF_TASK = ("task", "task_params", "task_size")
OF_REWARD = ("components", "correct", "correct_at", "gold_template", "divide_by", "supervision", "step_split")
CORRECT, FORMAT, SHORT = "correct", "format", "short"
IN_FORM, LONG, SLOPE_WORDS = 0.2, 0.5, 7
"""Weights of the form and of being brief, and words over which the second falls: as rewards.proposal has them."""
TAGS = r"<answer>(.*?)</answer>"
SEEN = 1000
"""Rows that are looked at for lengths."""

_WORD = re.compile(r"\s?[A-Za-z]+")
Tables = dict[str, Any]


def laid_over(merged: Mapping[str, Any], overrides: Sequence[str]) -> Tables:
    """The raw spec, overrides put in, with what a typed task brings; unchanged where something is wrong with it."""
    typed = {key.strip() for key, _, value in (one.partition("=") for one in overrides) if value.strip()}
    data = merged.get("data")
    if not isinstance(data, dict):
        return dict(merged)
    if "data.task" not in typed:
        gone = OF_TASK if typed & {"data.path", "data.name"} and "task" in data else ()
        return {**merged, "data": {key: value for key, value in data.items() if key not in gone}}
    raw = _without_former(merged, typed)
    chosen = _chosen(raw)
    if isinstance(chosen, _Chosen):
        with suppress(DataError):  # put_in says what is wrong
            _fit(raw, list(generated.rows(chosen.file(), SEEN)), typed)
    return raw


def _without_former(merged: Mapping[str, Any], typed: set[str]) -> Tables:
    """A copy without what belongs to the rows of the preset."""
    raw: Tables = copy.deepcopy(dict(merged))
    data, model = raw["data"], raw.get("model")
    had_held_out = any(data.get(key) is not None for key in HELD_OUT_KEYS)
    for key in FORMER:
        if not _is_typed(f"data.{key}", typed):
            data.pop(key, None)
    if had_held_out and not any(key in data for key in HELD_OUT_KEYS):
        data["eval_fraction"] = HELD_OUT
    if isinstance(model, dict) and not _is_typed("model.warm_start", typed):
        model.pop("warm_start", None)
    if "title" not in typed:
        raw["title"] = data["task"]
        raw.pop("titles", None)
    return raw


def _fit(raw: Tables, rows: Sequence[Mapping[str, Any]], typed: set[str]) -> None:
    """The reward that judges these rows, and lengths that hold them."""
    model = raw.get("model")
    name = str(model.get("name")) if isinstance(model, dict) else ""
    by_letters = knows_nothing(name)
    small = is_small(name) or by_letters
    if "reward.components" not in typed:
        former = raw.get("reward")
        kept = {key: one for key, one in former.items() if key not in OF_REWARD} if isinstance(former, dict) else {}
        raw["reward"] = kept | _reward([str(row["answer"]) for row in rows], small)
        _lay_over(raw["reward"]["components"], (former or {}).get("components"), typed)
        if not _is_typed("data.system_prompt", typed) and not by_letters:
            raw["data"]["system_prompt"] = words(DEFAULT)("own.ask.bare" if small else "own.ask.tags")
    _make_room(raw, rows, len if by_letters else tokens, 2 if small else 16, typed)


def _lay_over(components: list[Tables], former: Any, typed: Iterable[str]) -> None:
    """Put in what was typed for a single value of a component, such as reward.components.0.weight."""
    for key in typed:
        head, _, rest = key.removeprefix("reward.components.").partition(".")
        if not key.startswith("reward.components.") or not head.isdigit() or int(head) >= len(components):
            continue
        source, target, *names = former[int(head)], components[int(head)], *rest.split(".")
        for name in names[:-1]:
            source, target = source[name], target.setdefault(name, {})
        target[names[-1]] = source[names[-1]]


def _is_typed(key: str, typed: Iterable[str]) -> bool:
    """The key, or one below it."""
    return any(one == key or one.startswith(f"{key}.") for one in typed)


def _reward(answers: Sequence[str], small: bool) -> Tables:
    """A model that cannot be told a form is paid for the bare answer and charged for words beyond it; any other writes
    tags around it."""
    if small:
        most = max((len(answer.split()) for answer in answers), default=1)
        charged = {"start": most, "end": most + SLOPE_WORDS, "unit": "words"}
        components = [_component("task", CORRECT, 1.0), _component("length_penalty", SHORT, LONG, charged)]
        return {"components": components, "correct": CORRECT, "gold_template": "{answer}"}
    form = {"pattern": r".*<answer>.+</answer>\s*"}
    right = _component("task", CORRECT, 1.0, {"extract": TAGS})
    components = [right, _component("format_regex", FORMAT, IN_FORM, form)]
    return {"components": components, "correct": CORRECT, "gold_template": "<answer>{answer}</answer>"}


def _component(function: str, name: str, weight: float, params: Tables | None = None) -> Tables:
    found: Tables = {"function": function, "name": name, "weight": weight}
    return found | ({"params": params} if params else {})


def _make_room(
    raw: Tables, rows: Sequence[Mapping[str, Any]], count: Callable[[str], int], around: int, typed: set[str]
) -> None:
    """Lengths that hold the longest prompt and answer. count: tokens of a text; around: those around an answer."""
    prompt = max((count(str(row["prompt"])) for row in rows), default=0) + 32  # system message, turns of the template
    answer = max((count(str(row["answer"])) for row in rows), default=0) * 1.25 + around
    _raise(raw, "data", "max_prompt_length", 16 * math.ceil(prompt / 16), typed)
    _raise(raw, "generation", "max_completion_length", 8 * math.ceil(answer / 8), typed)


def _raise(raw: Tables, section: str, key: str, least: int, typed: set[str]) -> None:
    table = raw.setdefault(section, {})
    if isinstance(table, dict) and f"{section}.{key}" not in typed:
        now = table.get(key, _default_of(section, key))
        table[key] = max(now, least) if isinstance(now, int) else now


def tokens(text: str) -> int:
    """About as many as a text has, rather more: no tokenizer is here yet. Digits, signs and line ends are one each."""
    spelt = _WORD.findall(text)
    return sum(math.ceil(len(word.strip()) / 4) for word in spelt) + len(text) - sum(map(len, spelt))


# ---- the file


class _Chosen:
    """A task with what its rows are made of, all of it sound."""

    def __init__(self, task: Task, params: Mapping[str, Any], size: int, seed: int) -> None:
        self.task, self.params, self.size, self.seed = task, params, size, seed

    def file(self) -> Path:
        return generated.file(self.task, self.params, self.size, self.seed)

    def is_in(self, path: str) -> bool:
        return generated.is_of(path, self.task, self.params, self.size, self.seed)


def put_in(raw: Mapping[str, Any]) -> tuple[Tables, list[Problem]]:
    """The raw spec with the file of the task's rows as data.path, and what is wrong with the task.

    A path that a run keeps stays: it holds rows of the same task, made with whatever version of the package.
    """
    data = raw.get("data")
    if not isinstance(data, dict):
        return dict(raw), []
    if not isinstance(data.get("task"), str):
        return dict(raw), list(_without_task(data))
    chosen, path = _chosen(raw), data.get("path")
    problems = [*(chosen if isinstance(chosen, list) else ()), *_other_sources(data)]
    if isinstance(chosen, _Chosen) and not problems:
        if isinstance(path, str) and chosen.is_in(path):
            return dict(raw), []
        try:
            return {**raw, "data": {**data, "path": str(chosen.file())}}, []
        except DataError as error:
            problems += error.problems
    kept = {key: value for key, value in data.items() if key != "name"}
    return {**raw, "data": {**kept, "path": f"{data['task']}.jsonl"}}, problems


def _other_sources(data: Mapping[str, Any]) -> Iterable[Problem]:
    path, name = data.get("path"), data.get("name")
    if isinstance(path, str) and not generated.is_made(path):
        yield Problem("tasks.two_sources", "data", task=shown(data["task"]), other=f"data.path = {shown(path)}")
    elif name is not None:
        yield Problem("tasks.two_sources", "data", task=shown(data["task"]), other=f"data.name = {shown(name)}")


def _without_task(data: Mapping[str, Any]) -> Iterable[Problem]:
    for key in ("task_params", "task_size"):
        if data.get(key) not in (None, _default_of("data", key)):
            yield Problem("tasks.key_without_task", f"data.{key}", key=f"data.{key}")


def _chosen(raw: Mapping[str, Any]) -> _Chosen | list[Problem] | None:
    """The task of a raw spec, or what is wrong with it; None where the spec says what is wrong."""
    data, run = raw["data"], raw.get("run")
    params = data.get("task_params") or {}
    size = data.get("task_size", _default_of("data", "task_size"))
    seed = (run if isinstance(run, dict) else {}).get("seed", _default_of("run", "seed"))
    task = find(data["task"])
    if isinstance(task, Problem):
        return [task]
    if not isinstance(params, dict) or not _is_whole(size, 1, 100_000) or not _is_whole(seed, 0, 2**32 - 1):
        return None
    problems = [found for name, value in params.items() if (found := _of_param(task, str(name), value)) is not None]
    return problems or _Chosen(task, params, size, seed)


def _default_of(section: str, key: str) -> Any:
    field: FieldInfo = RunSpec.model_fields[section].annotation.model_fields[key]  # type: ignore[union-attr]
    return field.get_default(call_default_factory=True)


def _is_whole(value: Any, low: int, high: int) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def find(name: str, key: str = "data.task") -> Task | Problem:
    """A task by the name that data.task takes, with or without its beginning; or why there is none."""
    known, left_out = catalogue.tasks(), catalogue.excluded()
    if name in known:
        return known[name]
    title = name if ":" in name else f"{catalogue.PREFIX}:{name}"
    if title in left_out:
        return Problem("tasks.excluded", key, name=title, why=left_out[title])
    names = (task.name for task in known.values())
    near = [f"{catalogue.PREFIX}:{each}" for each in nearest(title.partition(":")[2], names, 3)]
    fix = Message("presets.fix.did_you_mean_one_of", names=near) if near else Message("tasks.fix.list")
    return Problem("tasks.unknown", key, name=shown(name), fix=fix)


def _of_param(task: Task, name: str, value: Any) -> Problem | None:
    key = f"data.task_params.{name}"
    param = task.params.get(name)
    if param is None:
        close = nearest(name, task.params)
        fix = Message("presets.fix.did_you_mean", name=f"data.task_params.{close[0]}") if close else None
        fix = fix or Message("presets.fix.known_here", names=", ".join(task.params) or "-")
        return Problem("tasks.no_param", key, name=task.title, fix=fix)
    if not param.takes(value):
        return Problem("tasks.param_kind", key, seen=shown(value), kind=kind_of(param), default=_default(key, param))
    return None


def kind_of(param: Param) -> Message:
    return Message(f"tasks.kind.{param.kind}")


def _default(key: str, param: Param) -> Message:
    if param.default is None:
        return Message("presets.fix.leave_out", key=key)
    return Message("presets.fix.type_default", key=key, value=shown(param.default))

"""Try every generator of reasoning-gym and write trainer/tasks/catalogue.json: those that can be used, with their
parameters, and those that are left out, with the reason.

Run it after changing the package's pin (10 minutes on two cores); what it found about each goes to standard output:

    .venv/bin/python -m tools.checked_tasks

What is asked of a generator, on ROWS rows and through the reward function `task`:

    - it has an answer of its own, which scores 1, always;
    - a text that answers nothing scores below 0.5, and no verifier fails;
    - no single answer is right for nearly all rows;
    - the same seed makes the same rows in another process;
    - a row is made, and an answer judged, in less than SLOW_S.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import multiprocessing
import os
import subprocess
import sys
import time
import typing
from collections.abc import Sequence
from typing import Any

from trainer.rewards.library.task import task as reward
from trainer.tasks import catalogue, child, making, verifier

ROWS, OTHERS, SLOW_S, MOST_S, SEED = 40, 8, 0.5, 120.0, 42
RIGHT, JUNK, CONSTANT = 0.999, 0.5, 0.9
LAZY = ("0", "1", "True", "False", "Yes", "No", "A")
ANSWERS_NOTHING = ("I do not know.", "asdf qwer zxcv", "?", "{}", "[]", "The answer is", "\n\n", "-")
KNOWN = {"composite": "argument", "time_intervals": "today"}
"""Left out for a reason that no try shows: it needs other generators; its rows hold the date of the day."""
_NO_PARAMS = ("seed", "size")
_KINDS = {int: "int", float: "float", bool: "bool", str: "str"}


def main(arguments: Sequence[str]) -> int:
    if arguments:
        _look_at_all()
        return 0
    looks = [_look(), _look()]
    table: dict[str, Any] = {"version": catalogue.installed_version(), "tasks": {}, "excluded": {}}
    for name in sorted(looks[0]):
        one, other = looks[0][name], looks[1][name]
        why = _why_not(name, one, other)
        print(name, why or "", json.dumps({key: one.get(key) for key in _FACTS}), flush=True)
        if why is None:
            table["tasks"][name] = {key: one[key] for key in ("family", "params", "difficulty")}
        else:
            table["excluded"][name] = why
    catalogue.FILE.write_text(_a_line_each(table), encoding="utf-8")
    print(f"{len(table['tasks'])} can be used, {len(table['excluded'])} are left out")
    return 0


def _a_line_each(table: dict[str, Any]) -> str:
    """A line a generator, so that a change of one is seen as one."""
    parts = {
        part: ",\n".join(f"  {json.dumps(name)}: {json.dumps(one)}" for name, one in table[part].items())
        for part in ("tasks", "excluded")
    }
    inside = ",\n".join(f' "{part}": {{\n{lines}\n }}' for part, lines in parts.items())
    return f'{{\n "version": {json.dumps(table["version"])},\n{inside}\n}}\n'


_FACTS = ("gold", "junk", "constant", "make_s", "judge_s", "difficulty", "error")


def _why_not(name: str, one: dict[str, Any], other: dict[str, Any]) -> list[Any] | None:
    """[reason under tasks.excluded, value]; None for one that can be used."""
    if name in KNOWN:
        return [KNOWN[name], ""]
    if "none" in one:
        return ["none", ""]
    if "endless" in one or "endless" in other:
        return ["endless", int(MOST_S)]
    if "error" in one or "error" in other:
        return ["raises", one.get("error") or other["error"]]
    slowest = round(max(one["make_s"], one["judge_s"]), 1)
    found = {
        "gold": (one["gold"] < RIGHT, one["gold"]),
        "junk": (one["junk"] >= JUNK, one["junk"]),
        "constant": (one["constant"] >= CONSTANT, one["constant"]),
        "differs": (one["rows"] != other["rows"], ""),
        "slow": (slowest > SLOW_S, slowest),
    }
    return next(([reason, value] for reason, (wrong, value) in found.items() if wrong), None)


def _look() -> dict[str, dict[str, Any]]:
    """A process of its own that looks at all, as the one that makes rows (tasks.making)."""
    environment = {**os.environ, "PYTHONHASHSEED": making.HASH_SEED}
    asked = [sys.executable, "-m", "tools.checked_tasks", "look"]
    done = subprocess.run(asked, env=environment, stdout=subprocess.PIPE, check=True, text=True)
    found: dict[str, dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def _look_at_all() -> None:
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # generators print
    verifier.package()
    from reasoning_gym.factory import DATASETS

    found = {}
    for name in sorted(DATASETS):
        found[name] = _in_time(name)
        print(name, file=sys.stderr, flush=True)
    print(json.dumps(found), file=out, flush=True)


def _in_time(name: str) -> dict[str, Any]:
    """What is found by a forked process, which is ended after MOST_S."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=lambda: there.send(_facts(name)))
    process.start()
    there.close()
    try:
        found: dict[str, Any] = here.recv() if here.poll(MOST_S) else {"endless": MOST_S}
    except EOFError:
        found = {"error": "the process died"}
    process.kill()
    process.join()
    return found


def _facts(name: str) -> dict[str, Any]:
    from reasoning_gym.factory import DATASETS

    cls, config = DATASETS[name]
    known = {"family": cls.__module__.split(".")[1], "params": _params(config)}
    try:
        started = time.perf_counter()
        dataset = verifier.package().create_dataset(name, seed=SEED, size=ROWS)
        if any(not isinstance(dataset[number]["answer"], str) for number in range(ROWS)):
            return known | {"none": True}
        rows = list(child.rows(name, {}, dataset, ROWS))
        make_s = (time.perf_counter() - started) / ROWS / 2
        return known | {"make_s": round(make_s, 3)} | _judged(rows)
    except Exception as error:
        return known | {"error": f"{type(error).__name__}: {error}"[:200]}


def _judged(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    entries = [row["entry"] for row in rows]
    judge = reward()

    def scores(answers: Sequence[str]) -> list[float]:
        return [float(value) for value in judge(completions=answers, entry=entries)]

    gold = min(scores([row["answer"] for row in rows]))
    junk = max(max(scores([text] * len(rows))) for text in ANSWERS_NOTHING)
    others = [*dict.fromkeys(row["answer"] for row in rows)][:OTHERS]
    started = time.perf_counter()
    constant = max(sum(scores([answer] * len(rows))) / len(rows) for answer in [*others, *LAZY])
    judge_s = (time.perf_counter() - started) / len(rows) / (len(others) + len(LAZY))
    said = hashlib.sha256(json.dumps(rows).encode()).hexdigest()
    return {
        "gold": round(gold, 3),
        "junk": round(junk, 2),
        "constant": round(constant, 2),
        "judge_s": round(judge_s, 4),
        "difficulty": any("difficulty" in row for row in rows),
        "rows": said,
    }


def _params(config: Any) -> dict[str, list[Any]]:
    """{name: [kind, default]} of what a preset can say; default null where there is none."""
    hints, found = typing.get_type_hints(config), {}
    for field in dataclasses.fields(config):
        kind = _kind(hints[field.name])
        if kind is None or field.name in _NO_PARAMS:
            continue
        default = field.default
        if default is dataclasses.MISSING:
            default = None if field.default_factory is dataclasses.MISSING else field.default_factory()
        default = list(default) if isinstance(default, tuple) else default
        try:
            found[field.name] = [kind, json.loads(json.dumps(default))]
        except TypeError:
            continue
    return found


def _kind(hint: Any) -> str | None:
    parts = [part for part in typing.get_args(hint) if part is not type(None)]
    origin = typing.get_origin(hint)
    if hint in _KINDS:
        return _KINDS[hint]
    if hint in (list, tuple) or origin in (list, tuple) or str(origin).endswith("Sequence'>"):
        return "list"
    if origin is typing.Literal:
        return "str"
    if origin is typing.Union or str(origin) == "<class 'types.UnionType'>":
        return _kind(parts[0]) if len(parts) == 1 else None
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

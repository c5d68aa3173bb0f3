"""Work that does not belong into the page's process: it needs a reward's model, the Hub, or all rows of a large file.

    run("trial", spec, {...}, limit_s) -> dict        a process of its own, ended after limit_s

    python -m trainer.ui.train.aside MODE             reads {"spec": ..., ...} from its input, prints JSON

MODE is `trial` (rewards on rows), `rows` (the first rows of a Hub dataset) or `survey` (all rows of local files).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from itertools import islice
from typing import Any

from trainer.errors import Problem, TrainerError, WorkError
from trainer.machine import leftovers, spawn
from trainer.machine.project import PROJECT
from trainer.spec import RunSpec
from trainer.text import Message, storable

MODULE = "trainer.ui.train.aside"
MOST_AT_ONCE = 2
MOST_BYTES = 4 * 2**20  # of an answer
_free = threading.BoundedSemaphore(MOST_AT_ONCE)


def run(mode: str, spec: RunSpec, asked: dict[str, Any], limit_s: float) -> dict[str, Any]:
    """What the process found. Raises TrainerError: its problems, or that it took too long or died."""
    if not _free.acquire(timeout=limit_s):
        raise WorkError(Problem("page.busy"))
    try:
        return _run(mode, spec, asked, limit_s)
    finally:
        _free.release()


def _run(mode: str, spec: RunSpec, asked: dict[str, Any], limit_s: float) -> dict[str, Any]:
    process = subprocess.Popen(
        [sys.executable, "-m", MODULE, mode],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=PROJECT,
        env={**leftovers.without(os.environ), **spawn.ENVIRONMENT, **spawn.one_gpu()},
        start_new_session=True,
        text=True,
        encoding="utf-8",
    )
    try:
        out, err = process.communicate(json.dumps({"spec": spec.model_dump(mode="json"), **asked}), limit_s)
    except subprocess.TimeoutExpired:
        _end(process)
        raise WorkError(Problem("page.task_slow", task=_task(mode), limit=limit_s)) from None
    try:
        found = json.loads(out)
    except ValueError:
        last = (err.strip().splitlines() or ["-"])[-1][:300]
        raise WorkError(Problem("page.task_ended", task=_task(mode), code=process.returncode, said=last)) from None
    if "problems" in found:
        raise WorkError([Problem.read(each) for each in found["problems"]])
    answer: dict[str, Any] = found
    return answer


def _task(mode: str) -> Message:
    return Message(f"page.task.{mode}")


def _end(process: subprocess.Popen[str]) -> None:
    """The process and whatever it started."""
    try:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    except ProcessLookupError:
        pass
    process.communicate()


# ---- inside the process


def main(arguments: Sequence[str]) -> int:
    modes = {"trial": _trial, "rows": _rows, "survey": _survey}
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description="Reads JSON, answers JSON.")
    parser.add_argument("mode", choices=modes)
    mode = parser.parse_args(arguments).mode
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever libraries and rewards print is no answer
    asked = json.load(sys.stdin)
    try:
        found = modes[mode](RunSpec.model_validate_json(json.dumps(asked["spec"])), asked)
        text = json.dumps(found)
        if len(text) > MOST_BYTES:
            raise WorkError(Problem("page.task_large", task=_task(mode)))
    except TrainerError as error:
        text = json.dumps({"problems": [problem.stored() for problem in error.problems]})
    out.write(text)
    out.close()
    return 0


def _trial(spec: RunSpec, asked: dict[str, Any]) -> dict[str, Any]:
    """The rewards of gold, empty, junk and typed answers on `tried` of the given rows, else of the local file's."""
    from trainer.data import special_tokens
    from trainer.preflight import rewards as preflight
    from trainer.rewards import check
    from trainer.rewards.scan import scan
    from trainer.rewards.wrapper import ComponentRewardWrapper
    from trainer.ui.train import rows

    given, told = asked["rows"] or rows.glanced(spec).rows, special_tokens.retelling(spec)
    wrapper = ComponentRewardWrapper(preflight.judging(spec), pooled=True)
    try:
        found = check.trial(wrapper, given[: asked.get("tried")], asked["typed"], told)
        found.warnings += scan(wrapper, given, told)
    finally:
        wrapper.close()
    tries = [
        {"row": one.row, "what": one.what, "completion": one.completion[:400], "reward": one.reward,
         "components": one.components, "failures": storable(one.failures),
         "unpaid": one.unpaid}
        for one in found.tries
    ]  # fmt: skip
    wrong = [problem.stored() for problem in found.problems]
    return {"tries": tries, "wrong": wrong, "warnings": storable(found.warnings), "seconds": found.seconds}


def _rows(spec: RunSpec, asked: dict[str, Any]) -> dict[str, Any]:
    """The first rows of a Hub dataset, without downloading it."""
    from datasets import load_dataset

    data = spec.data
    try:
        found = load_dataset(data.name, data.config, split=data.split, streaming=True)
        rows = [dict(row) for row in islice(found, asked["count"])]
    except Exception as error:  # whatever its loader raises is shown
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise WorkError(
            Problem("page.hub_unreadable", "data.name", name=data.name, split=data.split, said=first)
        ) from error
    return {"rows": json.loads(json.dumps(rows, default=str))}


def _survey(spec: RunSpec, asked: dict[str, Any]) -> dict[str, Any]:
    from trainer.data import sources
    from trainer.data.survey import survey

    found = survey(spec, *sources.feeds(spec))
    return {
        "rows": found.rows, "held_out": found.held_out, "duplicates": found.duplicates, "leaked": found.leaked,
        "warnings": storable(found.warnings),
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

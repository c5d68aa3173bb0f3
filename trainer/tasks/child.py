"""The process that makes the rows of a task: python -m trainer.tasks.child

Standard input: JSON {task, params, size, seed, out}. It writes the rows to `out`, one JSON object a line, and prints
{"rows": count}, or {"refused": why} where the generator does not take the parameters.

    prompt       the question
    answer       a right answer; the verifier may take others
    difficulty   0 to 1: where the row lies between the easiest and the hardest that the parameters allow; missing where
                 the generator does not say
    entry        what the verifier needs, as JSON

The first import of the package is here. A generator may print: its standard output is not ours.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import traceback
from collections.abc import Iterator, Mapping
from typing import Any

from trainer.tasks import entries, verifier


def main() -> None:
    parent = os.getppid()
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    asked = json.load(sys.stdin)
    print(json.dumps(_made(asked, parent)), file=out)


def _made(asked: Mapping[str, Any], parent: int) -> dict[str, Any]:
    try:
        dataset = verifier.package().create_dataset(
            asked["task"], seed=asked["seed"], size=asked["size"], **asked["params"]
        )
    except (AssertionError, ValueError, TypeError) as error:
        return {"refused": _said(error)}
    with open(asked["out"], "w", encoding="utf-8", buffering=1) as file:  # a line at once: they are counted
        for row in rows(asked["task"], asked["params"], dataset, asked["size"]):
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            if os.getppid() != parent:  # nobody is left who wants them
                file.close()
                os.unlink(asked["out"])
                return {}
    return {"rows": asked["size"]}


def rows(task: str, params: Mapping[str, Any], dataset: Any, size: int) -> Iterator[dict[str, Any]]:
    """The rows of a generator that was made with these parameters."""
    for number in range(size):
        found = dataset[number]
        entry = {
            "task": task,
            "params": params,
            "question": found["question"],
            "answer": found["answer"],
            "metadata": found["metadata"],
        }
        row = {"prompt": found["question"], "answer": found["answer"]}
        hard = difficulty(found["metadata"])
        if hard is not None:
            row["difficulty"] = hard
        yield row | {"entry": entries.written(entry)}


def difficulty(metadata: Mapping[str, Any]) -> float | None:
    """The mean place of a row's own numbers in the ranges they were drawn from, 0 to 1; None where no range is wider
    than one number, or the row does not say its number."""
    ranges = metadata.get("difficulty")
    places = []
    for name, bounds in ranges.items() if isinstance(ranges, Mapping) else ():
        own = _number(next((metadata[key] for key in (name, f"num_{name}", f"n_{name}") if key in metadata), None))
        if own is not None and isinstance(bounds, list | tuple) and len(bounds) == 2 and all(map(_is_number, bounds)):
            low, high = bounds
            if high > low:
                places.append(min(1.0, max(0.0, (own - low) / (high - low))))
    return round(statistics.fmean(places), 3) if places else None


def _number(value: Any) -> float | None:
    """A list counts by its length: the numbers of a countdown."""
    if isinstance(value, list | tuple):
        return float(len(value))
    return float(value) if _is_number(value) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _said(error: Exception) -> str:
    """Its first line; of an assertion without words the condition is all there is."""
    text = str(error).strip().splitlines()
    if text:
        return text[0][:300]
    lines = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__}: {lines[-1].line}"[:300]


if __name__ == "__main__":
    main()

"""The table of a step: what it holds, and that it says what it leaves out."""

from __future__ import annotations

import json
from typing import Any

from trainer.machine.secrets import Redactor
from trainer.mirrors import completions
from trainer.run.rundir import RunDir

NONE = Redactor({})


def write(rundir: RunDir, *groups: dict[str, Any]) -> None:
    rundir.rollouts_file(3).write_text("".join(json.dumps(group) + "\n" for group in groups), encoding="utf-8")


def group(number: int, *texts: str, prompt: Any = "1+1?") -> dict[str, Any]:
    one = {"tokens": 2, "truncated": False, "reward": 1.0, "advantage": 0.5, "correct": True}
    paid = [{"text": text, "components": {"exact": 1.0, "format": None}, **one} for text in texts]
    return {"step": 3, "group": number, "prompt": prompt, "outcome": "spread", "completions": paid}


def test_a_row_holds_the_prompt_the_completion_and_what_it_was_paid(mirrored: RunDir) -> None:
    write(mirrored, group(0, "zwei, 둘"))
    found = completions.read(mirrored, 3, NONE)
    assert found is not None
    assert dict(zip(found.columns, found.rows[0], strict=True)) == {
        "step": 3,
        "group": 0,
        "prompt": "1+1?",
        "completion": "zwei, 둘",
        "reward": 1.0,
        "rewards/exact": 1.0,
        "rewards/format": None,
        "advantage": 0.5,
        "tokens": 2,
        "truncated": False,
        "outcome": "spread",
    }
    assert (found.left_out, found.cut) == (0, 0)


def test_what_was_trained_on_comes_first_and_what_was_not_says_so(mirrored: RunDir) -> None:
    write(mirrored, group(0, "thrown") | {"thrown": True}, group(1, "kept"))
    found = completions.read(mirrored, 3, NONE)
    assert found is not None
    place, said = found.columns.index("completion"), found.columns.index("thrown")
    assert [(row[place], row[said]) for row in found.rows] == [("kept", False), ("thrown", True)]


def test_chat_messages_become_text() -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": [{"type": "text"}]}]
    assert completions.as_text(messages) == 'system: Be brief.\nuser: [{"type": "text"}]'


def test_rows_beyond_the_limit_are_counted(mirrored: RunDir) -> None:
    write(mirrored, *[group(number, "a", "b", "c", "d") for number in range(20)])
    found = completions.read(mirrored, 3, NONE)
    assert found is not None
    assert (len(found.rows), found.left_out) == (completions.MAX_ROWS, 80 - completions.MAX_ROWS)


def test_a_long_text_is_cut_and_says_so_after_its_secrets_are_gone(mirrored: RunDir) -> None:
    limit = completions.MAX_CHARACTERS
    write(mirrored, group(0, "x" * (limit - 4) + "hunter2-hunter2" + "y" * 100))
    found = completions.read(mirrored, 3, Redactor({"A_KEY": "hunter2-hunter2"}))
    assert found is not None
    text = found.rows[0][found.columns.index("completion")]
    assert text == "x" * (limit - 4) + "[sec ... [104 more characters]"
    assert found.cut == 1


def test_a_file_that_is_missing_or_torn_gives_what_there_is(mirrored: RunDir) -> None:
    assert completions.read(mirrored, 3, NONE) is None
    mirrored.rollouts_file(3).write_text(json.dumps(group(0, "a")) + '\n{"step": 3, "gro')
    found = completions.read(mirrored, 3, NONE)
    assert found is not None
    assert len(found.rows) == 1

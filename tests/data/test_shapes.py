"""Rows as chat logs, TRL, verl and Alpaca have them: what becomes prompt and answer, and that it is said."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from trainer import presets
from trainer.data import preview, shapes, sources
from trainer.errors import DataError
from trainer.rewards import building, check
from trainer.rewards.wrapper import ComponentRewardWrapper
from trainer.spec import Component, RunSpec

Turn = dict[str, Any]


def user(text: Any) -> Turn:
    return {"role": "user", "content": text}


def assistant(text: Any) -> Turn:
    return {"role": "assistant", "content": text}


def said(who: str, text: str) -> Turn:
    return {"from": who, "value": text}


SYSTEM = {"role": "system", "content": "Be short."}


def spec_for(path: Path, component: dict[str, Any] | None = None, **data: Any) -> RunSpec:
    return RunSpec.model_validate(
        {
            "model": {"name": "m"},
            "data": {"path": str(path), **data},
            "reward": {"components": [component or {"function": "exact_match"}]},
        }
    )


def write(folder: Path, row: dict[str, Any]) -> Path:
    """The row, and one that asks something else."""
    path = folder / "rows.jsonl"
    text = json.dumps(row)
    path.write_text(f"{text}\n{text.replace('2+2', '3+3')}\n")
    return path


Q, A = "2+2?", "4"
SHAPES: list[tuple[str, dict[str, Any], list[Turn], str]] = [
    ("messages", {"messages": [SYSTEM, user(Q), assistant(A)]}, [SYSTEM, user(Q)], "of each conversation in messages"),
    ("several turns", {"messages": [user("hi"), assistant("ho"), user(Q), assistant(A)]},
     [user("hi"), assistant("ho"), user(Q)], "the assistant's last turn is the answer"),
    ("answer of its own", {"messages": [user(Q), assistant("Four.")], "answer": A}, [user(Q)],
     "the answer is the column answer"),
    ("open, and a gold column", {"messages": [user(Q)], "ground_truth": A}, [user(Q)],
     "answer is taken from ground_truth"),
    ("ShareGPT", {"conversations": [said("system", "Be short."), said("human", Q), said("gpt", A)]},
     [SYSTEM, user(Q)], "of each conversation in conversations"),
    ("spellings", {"conversation": [said("SYSTEM", ""), said("User", Q), said("Assistant", A)]}, [user(Q)], ""),
    ("a column system", {"system": "Be short.", "conversations": [said("human", Q), said("gpt", A)]},
     [SYSTEM, user(Q)], ""),
    ("parts", {"messages": [user([{"type": "text", "text": "2+2"}, {"type": "text", "text": "?"}]), assistant(A)]},
     [user(Q)], ""),
    ("text of JSON", {"messages": json.dumps([user(Q), assistant(A)])}, [user(Q)], ""),
    ("TRL", {"prompt": [user(Q)], "completion": [assistant(A)]}, [user(Q)], "answer is taken from completion"),
    ("TRL, texts", {"prompt": Q, "completion": A}, [user(Q)], "answer is taken from completion"),
    ("verl", {"data_source": "gsm8k", "prompt": [user(Q)], "reward_model": {"style": "rule", "ground_truth": A},
              "extra_info": {"index": 1}}, [user(Q)], "answer is taken from reward_model.ground_truth"),
    ("Alpaca", {"instruction": "Add.", "input": Q, "output": A}, [user(f"Add.\n\n{Q}")],
     "prompt is taken from instruction, input"),
    ("Alpaca with a history", {"instruction": Q, "input": "", "output": A, "system": "Be short.",
                               "history": [["hi", "ho"]]},
     [SYSTEM, user("hi"), assistant("ho"), user(Q)], "prompt is taken from instruction, input, system, history"),
    ("text of JSON as the prompt", {"prompt": json.dumps([user(Q)]), "answer": A}, [user(Q)],
     "prompt is a text that spells a list of messages"),
    ("text of Python", {"messages": str([user(Q), assistant(A)])}, [user(Q)], "the assistant's last turn"),
    ("keys of both kinds", {"messages": [{"role": "human", "value": Q}, {"from": "gpt", "content": A}]}, [user(Q)], ""),
    ("null in turns", {"messages": [{**user(Q), "name": None, "tool_calls": None}, assistant(A)]}, [user(Q)], ""),
    ("no image", {"prompt": Q, "answer": A, "images": [], "image": ""}, [user(Q)], ""),
]  # fmt: skip


@pytest.mark.parametrize(("name", "row", "prompt", "note"), SHAPES, ids=[case[0] for case in SHAPES])
def test_a_common_shape_is_prompt_and_answer(
    tmp_path: Path, name: str, row: dict[str, Any], prompt: list[Turn], note: str
) -> None:
    spec = spec_for(write(tmp_path, row))
    first = preview.preview(spec, 1)[0]
    assert (first["prompt"], first["answer"]) == (prompt, A)
    assert not {"messages", "conversations", "conversation", "completion", "image", "images"} & first.keys()
    assert note in " ".join(str(warning) for warning in sources.inspect(spec).warnings)


@pytest.mark.parametrize(
    ("row", "columns", "expected"),
    [
        ({"log": [user(Q), assistant(A)]}, {"prompt": "log"}, ([user(Q)], A)),
        ({"body": {"messages": [user(Q), assistant(A)]}}, {"prompt": "body.messages"}, ([user(Q)], A)),
        ({"log": [user(Q), assistant(A)]}, {"prompt": "log.0.content", "answer": "log.-1.content"}, ([user(Q)], A)),
        ({"q": {"a.b": {"c": Q}}, "gold": [A]}, {"prompt": "q.a.b.c", "answer": "gold.0"}, ([user(Q)], A)),
        ({"prompt": Q, "a.b": A, "a": {"b": "nested"}}, {"answer": "a.b"}, ([user(Q)], A)),
        ({"prompt": Q, "a.b": "x", "a": {"b": {"c": A}}}, {"answer": "a.b.c"}, ([user(Q)], A)),
        ({"1": Q, "true": A}, {"prompt": "1", "answer": "true"}, ([user(Q)], A)),
    ],
)
def test_columns_name_a_place_inside_an_object_and_a_real_column_wins(
    tmp_path: Path, row: dict[str, Any], columns: dict[str, str], expected: tuple[Any, str]
) -> None:
    spec = spec_for(write(tmp_path, row), columns=columns)
    first = preview.preview(spec, 1)[0]
    assert (first["prompt"], first["answer"]) == expected
    changes = [shapes.change(ours, theirs) for ours, theirs in columns.items()]
    assert presets.load("tiny", changes).data.columns == columns


def test_a_reward_reads_a_place_inside_an_object(tmp_path: Path) -> None:
    component = {"function": "exact_match", "params": {"answer_column": "reward_model.ground_truth"}}
    spec = spec_for(write(tmp_path, {"prompt": Q, "reward_model": {"ground_truth": A}}), component)
    assert preview.preview(spec, 1)[0]["reward_model.ground_truth"] == A


@pytest.mark.parametrize(
    ("row", "columns", "change"),
    [
        ({"question": Q, "answer": A}, {"prompt": "frage"}, "data.columns.prompt=question"),
        ({"Frage": Q, "answer": A}, {"prompt": "frage"}, "data.columns.prompt=Frage"),
        ({"die Aufgabe": Q, "answer": A}, {"prompt": "frage"}, "data.columns.prompt=die Aufgabe"),
        ({"prompt": Q, "meta": {"label": A}}, {}, "data.columns.answer=meta.label"),
        ({"prompt": Q, "all\nof it": A}, {}, 'data.columns.answer="all\\nof it"'),
        ({"messages": [user(Q), assistant(A)], "conversations": [user(Q), assistant(A)], "answer": A}, {},
         "data.columns.prompt=messages"),
    ],
)  # fmt: skip
def test_a_missing_column_names_the_line_that_supplies_it(
    tmp_path: Path, row: dict[str, Any], columns: dict[str, str], change: str
) -> None:
    path = write(tmp_path, row)
    with pytest.raises(DataError) as caught:
        sources.inspect(spec_for(path, columns=columns))
    setting = shlex.split(str(caught.value).partition("--set ")[2].rpartition(", one of")[0])
    assert setting == [change]
    found = presets.load("tiny", setting).data.columns
    assert sources.inspect(spec_for(path, columns=columns | found)).rows == 2


def test_an_argument_of_an_own_function_that_no_column_supplies_is_said_before_it_runs(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text("def score(prompts, completions, label, *, top, weight=1, **columns): raise RuntimeError\n")
    own = {"function": "score", "file": str(file), "params": {"top": 3}}
    path = write(tmp_path, {"prompt": Q, "answer": A})
    with pytest.raises(DataError, match=r"no column label, which the reward score asks for  ->  --set data\.columns\."):
        sources.inspect(spec_for(path, own))
    assert sources.inspect(spec_for(path, own, columns={"label": "answer"})).rows == 2


@pytest.mark.parametrize(
    ("row", "advice"),
    [
        ({"prompt": Q, "answer": {"value": A, "aliases": [A]}}, "data.columns.answer=answer.value"),
        ({"prompt": Q, "reward_model": {"ground_truth": {"target": [A]}}},
         "data.columns.answer=reward_model.ground_truth.target"),
        ({"messages": [user(Q)]}, "data.columns.answer=COLUMN"),  # its last turn is the question
        ({"prompt": Q, "reward_model": {"ground_truth": None}}, "column answer is null"),
    ],
)  # fmt: skip
def test_the_advice_for_an_answer_that_is_none_leads_on(tmp_path: Path, row: dict[str, Any], advice: str) -> None:
    with pytest.raises(DataError) as caught:
        sources.inspect(spec_for(write(tmp_path, row)))
    assert advice in str(caught.value)


def test_a_prompt_of_json_stays_a_text_where_a_template_puts_it_into_one(tmp_path: Path) -> None:
    row = {"prompt": json.dumps([user(Q)]), "answer": A}
    for data in ({"prompt_template": "Who speaks? {prompt}"}, {"chat": False}):
        found = preview.preview(spec_for(write(tmp_path, row), **data), 1)[0]["prompt"]
        assert row["prompt"] in (found if isinstance(found, str) else found[-1]["content"])


def test_a_gold_answer_that_is_a_list_written_as_text_is_said(tmp_path: Path) -> None:
    for answer, said in ((str([A, "four"]), True), (json.dumps([A]), True), ("[1, 2]", False), ("['a'", False)):
        warnings = sources.inspect(spec_for(write(tmp_path, {"prompt": Q, "answer": answer}))).warnings
        assert ("spells a list, and only that text is right" in "".join(map(str, warnings))) is said


def test_objects_are_not_written_into_a_text(tmp_path: Path) -> None:
    path = write(tmp_path, {"chat": [user(Q)], "answer": A})
    with pytest.raises(DataError, match="column chat holds objects, and a template puts it into a text"):
        sources.inspect(spec_for(path, prompt_template="{chat}"))


NAMES = (
    "self", "prompts", "completions", "completion_ids", "trainer_state", "log_extra", "log_metric", "**", "class",
    "a b", "", "args", "kwargs", "columns", "cls", "function", "arguments", "call", "rows", "0", "a.b", "{x}",
)  # fmt: skip
OWN = """
def score(completions, **columns):
    assert columns['self'] and columns['**'] and columns['a b']
    return [len(columns) for _ in completions]
"""


def test_a_column_may_be_called_anything(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(OWN)
    path = write(tmp_path, {"prompt": Q, "answer": A} | dict.fromkeys(NAMES, "x"))
    for component in ({"function": "exact_match"}, {"function": "score", "file": str(file)}):
        spec = spec_for(path, component)
        assert "column prompts reaches no reward" in str(sources.inspect(spec).warnings[0])
        rows = preview.preview(spec, 2)
        found = check.trial(ComponentRewardWrapper(spec.reward), rows, ["mine"])
        assert not found.problems and all(not one.failures for one in found.tries)
        wrapper = ComponentRewardWrapper(spec.reward)
        columns: dict[str, Any] = {name: [row[name] for row in rows] for name in rows[0] if name != "prompt"}
        given: dict[str, Any] = {"completion_ids": [[1], [2]], "trainer_state": Mock(), "log_metric": lambda *_: None}
        asked: dict[str, Any] = {"prompts": [Q, Q], "completions": [A, A], **columns}
        assert len(wrapper(**asked, **given)) == len(wrapper.objectives()[0](**asked, **given)) == 2
        assert all(len(values) == 2 for values in wrapper.light(**asked).values())


def test_a_column_may_be_called_as_a_method_calls_its_object(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(
        "class Judge:\n    def __call__(self, completions, **columns):\n        return [0.5] * len(completions)\n\n"
        "score = Judge()\nmethod = score.__call__\n"
    )
    for name in ("score", "method"):
        made = building.make(Component(function=name, file=str(file)))
        assert made(completions=["a"], self=["x"], cls=["y"]) == [0.5]


def test_a_reward_that_reads_a_name_of_trls_is_refused_with_another(tmp_path: Path) -> None:
    component = {"function": "exact_match", "params": {"answer_column": "completions"}}
    with pytest.raises(DataError, match="a name reserved for arguments of reward functions"):
        sources.inspect(spec_for(write(tmp_path, {"prompt": Q, "completions": A}), component))

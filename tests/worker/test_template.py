"""What the worker says of a chat template that was not on this machine when the run was planned."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.builders import tiny_model
from trainer.data import chat_template, template_process
from trainer.errors import DataError
from trainer.machine.json_files import write_json
from trainer.run.rundir import RunDir
from trainer.spec import Data, RunSpec
from trainer.text import Message
from trainer.worker.__main__ import _try_template


def test_it_warns_of_what_the_plan_has_not_said_and_refuses_before_the_weights(
    tmp_path: Path, make_run: Callable[..., RunDir], spec: RunSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_template, "_answered", lambda asked, cpu_s: template_process.answer(json.loads(asked)))
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"prompt": f"Count {n}", "answer": "x"}) + "\n" for n in range(3)))
    spec = spec.model_copy(update={"data": Data(path=str(rows), system_prompt="Be short.")})
    run, tokenizer, told = make_run(), tiny_model()[1], list[Any]()
    session: Any = SimpleNamespace(rundir=run, events=SimpleNamespace(emit=told.append))
    tokenizer.chat_template = {"default": "{{ bos_token }}{{ messages[-1].content }}", "tool_use": "{{ tools[0] }}"}
    _try_template(session, spec, tokenizer)
    assert [event.key for event in told] == ["data", "data"]
    assert "leaves out the system message of rows.jsonl:1" in str(told[0].values)
    assert "ignores add_generation_prompt" in str(told[1].values)
    said = Message("template.dropped", place="/a/file", role="system", row="other.jsonl:7")
    write_json(run.plan, {"warnings": [said.stored()]})
    told.clear()
    _try_template(session, spec, tokenizer)
    assert len(told) == 1
    for template, wrong in (
        ("{{ raise_exception('odd') if messages[0].role == 'system' }}{{ messages }}", r"data\.system_prompt: .*odd"),
        ({"rag": "{{ messages }}"}, "none is called default: rag"),
        (None, r"data\.chat: .*has no chat template"),
    ):  # fmt: skip
        tokenizer.chat_template = template
        with pytest.raises(DataError, match=wrong):
            _try_template(session, spec, tokenizer)

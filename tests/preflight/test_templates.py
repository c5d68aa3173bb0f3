"""trainer.preflight.templates: what a chat template refuses, drops or leaves open is said before weights are loaded."""

import json
from pathlib import Path
from typing import Any

import pytest

from trainer import launch
from trainer.data import chat_template, template_process
from trainer.data.chat_template import ChatTemplate
from trainer.data.preview import Sample
from trainer.errors import DataError
from trainer.preflight import templates
from trainer.spec import RunSpec

LOOP = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
OPEN = "{% if add_generation_prompt %}<|assistant|>{% endif %}"
ASK = {"role": "user", "content": 'Say "7" in\ntwo words.'}
SYSTEM = {"role": "system", "content": "You count."}
REPLY = {"role": "assistant", "content": "Yes."}
LLAMA_2 = (
    "{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]{% else %} {{ m.content }}</s>"
    "{% endif %}{% endfor %}"
)


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own process is tested in tests/data/test_chat_template.py."""
    monkeypatch.setattr(chat_template, "_answered", lambda asked, cpu_s: template_process.answer(json.loads(asked)))


def spec_of(*components: dict[str, Any], trl: Any = None, **model: Any) -> RunSpec:
    return RunSpec.model_validate(
        {
            "model": {"name": "/m", **model},
            "data": {"path": "rows.jsonl"},
            "reward": {"components": list(components) or [{"function": "exact_match"}]},
            "trl": trl or {},
        }
    )


def judged(text: str, *chats: list[dict[str, str]], spec: RunSpec | None = None) -> list[Any]:
    """What is odd, or the problems."""
    spec = spec or spec_of()
    samples = [Sample(f"rows.jsonl:{line}", chat, own=len(chat) > 2) for line, chat in enumerate(chats, 1)]
    template = chat_template.named(text, "T", spec, {"eos_token": "</s>"})
    assert isinstance(template, ChatTemplate)
    try:
        return [said for said in templates.judge(spec, template, samples) if str(said)]
    except DataError as error:
        return [problem for problem in error.problems if str(problem)]


def no(condition: str) -> str:
    return f"{{% for m in messages %}}{{% if {condition} %}}{{{{ raise_exception('no') }}}}{{% endif %}}{{% endfor %}}"


@pytest.mark.parametrize(
    ("text", "chat", "key", "place"),
    [
        (no("m.role == 'system'") + LOOP + OPEN, [SYSTEM, ASK], "template.system", "data.system_prompt"),
        (no("m.role == 'system'") + LOOP, [SYSTEM, ASK, REPLY, ASK], "template.system_of_row", "rows.jsonl:1"),
        (no("(m.role == 'user') != (loop.index0 % 2 == 0)") + LOOP, [ASK, ASK, ASK], "template.turns", "rows.jsonl:1"),
        (no("m.role == 'tool'") + LOOP, [ASK, REPLY, {**ASK, "role": "tool"}], "template.roles", "rows.jsonl:1"),
        ("{{ tools | length }}" + LOOP + OPEN, [ASK], "template.tools", "model.name"),
        (no("m.content is string") + LOOP.replace("content", "content[0].text"), [ASK], "template.parts", "model.name"),
        ("{{ nothing.at.all }}" + LOOP, [ASK], "template.raises", "model.name"),
        (no("m is defined") + LOOP, [SYSTEM, ASK], "template.raises", "model.name"),
        ("{% for i in range(10 ** 12) %}x{% endfor %}" + LOOP, [ASK], "template.raises", "model.name"),
        ("{{ messages[0].content }}" + OPEN, [SYSTEM, ASK], "template.no_question", "model.name"),
        ("{{ messages[0].content }}" + OPEN, [REPLY, ASK], "template.no_question", "model.name"),
        (LOOP.replace("m.content", "m.content[0].text") + OPEN, [ASK], "template.parts", "model.name"),
        (LOOP.replace("m.content", "m.content[0].text.strip()") + OPEN, [SYSTEM, ASK], "template.parts", "model.name"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_one_problem_with_the_key(text: str, chat: Any, key: str, place: str) -> None:
    assert [(problem.key, problem.place) for problem in judged(text, chat)] == [(key, place)]


def test_an_argument_of_the_users_own_is_named() -> None:
    spec = spec_of(trl={"chat_template_kwargs": {"effort": "huge"}})
    text = "{% if effort and effort != 'low' %}{{ raise_exception('effort?') }}{% endif %}" + LOOP + OPEN
    (problem,) = judged(text, [ASK], spec=spec)
    assert (problem.key, problem.place) == ("template.kwargs", "trl.chat_template_kwargs")


@pytest.mark.parametrize(
    ("text", "chat", "keys"),
    [
        (LOOP + OPEN, [SYSTEM, ASK, REPLY, ASK], []),
        (LOOP + "<|assistant|>", [ASK], []),  # it always opens the model's turn
        ("{% for m in messages %}<q>{{ m.content }}</q>{% endfor %}<a>", [ASK], []),
        (LLAMA_2, [ASK, REPLY, ASK], []),  # what closes the question is the sign
        (LOOP.replace("m.content", "m.content | trim | tojson") + OPEN, [ASK], []),
        (LOOP.replace("messages", "messages if m.role != 'system'") + OPEN, [SYSTEM, ASK], ["template.dropped"]),
        ("{% set m = messages[-1] %}{{ m.content }}" + OPEN, [ASK, REPLY, ASK], ["template.dropped"] * 2),
        (LOOP.replace("m.content", "m.content[:9]") + OPEN, [ASK], ["template.changed"]),
        (LOOP.replace("m.content", "m.content | upper") + OPEN, [ASK], ["template.changed"]),
        (LOOP, [ASK], ["template.no_turn"]),
        ("{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}", [ASK], ["template.no_turn"]),
        ("{% for m in messages %}<|user|>{{ m.content }}{% endfor %}\n", [ASK], ["template.no_turn"]),
        ("{{ messages[-1].content }}", [ASK], ["template.no_turn"]),
    ],
)
def test_what_is_odd_is_a_warning_and_what_is_not_is_silent(text: str, chat: Any, keys: list[str]) -> None:
    assert [said.key for said in judged(text, chat, chat)] == keys


@pytest.mark.parametrize(
    ("end", "pattern", "text"),
    [
        ("<|assistant|>\n<think>\n", r"^\s*<think>.*?</think>\s*<answer>.*</answer>", "<think>"),
        ("<|assistant|><think>", r"(?=.*\<think\>)(\<think\>(.+)\</think\>)$", "<think>"),
        ("<|assistant|><think>", r"[\s\S]*<think>reasons: .*", "<think>"),
        ("<|assistant|><think>\n\n</think>\n\n", r"<think>.*</think>.+", "<think>"),
        ("<|assistant|><think>", r"\A<think>[\p{L}\s]+</think>\P{L}*", "<think>"),
        ("<|assistant|>Reason:", r"Reason: .* Answer: \d+", "Reason:"),
        ("<|assistant|><think>", r"(<think>)?.*</think>.*", ""),
        ("<|assistant|><think>", r"(?:<think>|<reason>).*", ""),
        ("<|assistant|><think>", r".*</think>\s*<answer>.*</answer>", ""),
        ("<|assistant|>\n", r"<think>.*", ""),
    ],
)
def test_a_pattern_that_wants_what_the_prompt_has_written(end: str, pattern: str, text: str) -> None:
    form = {"function": "format_regex", "name": "form", "params": {"pattern": pattern}}
    found = judged(LOOP + OPEN.replace("<|assistant|>", end), [ASK], spec=spec_of(form))
    assert [said.values["text"] for said in found] == ([text] if text else [])


def test_a_run_is_planned_with_what_its_template_does(tmp_path: Path) -> None:
    model, rows = tmp_path / "model", tmp_path / "rows.jsonl"
    model.mkdir()
    (model / "tokenizer_config.json").write_text("{}")
    rows.write_text("".join(json.dumps({"prompt": f"How many {n}?", "answer": str(n)}) + "\n" for n in range(32)))
    changes = [f"model.name={model}", "model.warm_start=", f"data.path={rows}", "data.eval_path="]
    changes += ["data.system_prompt=Count."]
    with pytest.raises(DataError, match=r"data\.chat: is true, and the tokenizer of this model has no chat template"):
        launch.prepare("tiny", changes)
    (model / "chat_template.jinja").write_text(LOOP.replace("messages", "messages if m.role != 'system'"))
    _, plan = launch.prepare("tiny", changes)
    keys = [said.key for said in plan.warnings if said.key.startswith("template.")]
    assert keys == ["template.dropped", "template.no_turn"]
    (model / "chat_template.jinja").write_text(no("m.role == 'system'") + LOOP)
    with pytest.raises(DataError, match=r"data\.system_prompt"):
        launch.prepare("tiny", changes)
    assert launch.prepare("tiny", [*changes[:-1], "data.chat=false"])[1].warnings == plan.warnings[:-2]

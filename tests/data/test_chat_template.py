"""trainer.data.chat_template: where a template stands, the same text as transformers, and an end to what has none."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.builders import tiny_model
from trainer.data import chat_template, dataset
from trainer.data.chat_template import ChatTemplate, Refusal
from trainer.errors import DataError
from trainer.spec import RunSpec

ASKED = [{"role": "user", "content": 'Wie viele?\n<b>"äß"</b>'}]


def spec_of(model: Path, **trl: Any) -> RunSpec:
    return RunSpec.model_validate(
        {
            "model": {"name": str(model)},
            "data": {"path": "rows.jsonl"},
            "reward": {"components": [{"function": "exact_match"}]},
            "trl": trl,
        }
    )


def refused(template: str) -> Any:
    with pytest.raises(DataError) as error:
        ChatTemplate(template, "T").render([{"messages": ASKED}], cpu_s=1)
    return error.value.problems[0]


@pytest.mark.parametrize(
    ("template", "key"),
    [
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "template.endless"),
        ("{{ 9 ** (9 ** 9) }}", "template.endless"),
        ("{{ messages[0].content * 10 ** 11 }}", "template.large"),
        ("{% for i in range(90000) %}{{ 'word ' * 900 }}{% endfor %}", "template.large"),
        ("{% for m in messages %}\n{{ m.content }", "template.syntax"),
        ("{{ messages | nosuchfilter }}", "template.syntax"),
    ],
)  # fmt: skip
def test_what_does_not_end_fit_or_parse_is_ended_and_named(template: str, key: str) -> None:
    problem = refused(template)
    assert (problem.key, problem.place) == (key, "model.name")
    assert "T" in problem.values["place"]


def test_the_line_that_is_wrong_is_named() -> None:
    assert refused("{% for m in messages %}\n{{ m.content }").values["place"] == "T:2"
    said = ChatTemplate("\n\n{{ raise_exception('no') }}", "T").render([{"messages": ASKED}])
    assert said == [Refusal("no", 3)]


def test_a_template_gives_the_text_it_gives_in_transformers() -> None:
    from transformers.utils.chat_template_utils import render_jinja_template

    text = (
        "{%- set about = namespace(count=0) %}\n  {% for m in messages %}\n{% set about.count = about.count + 1 %}"
        "<|{{ m.role }}|>{% generation %}{{ m.content | trim }}{% endgeneration %}{{ bos_token }}"
        "{{ m | tojson(indent=1) }}{% if about.count > 1 %}{% break %}{% endif %}{% endfor %}"
        "{{ tools is none }}{{ strftime_now('%Y') }}{% if add_generation_prompt %}<|me|>{% endif %}{{ mode }}\n"
    )
    chats = [ASKED, [*ASKED, {"role": "assistant", "content": " 3 "}, *ASKED]]
    variables = {"bos_token": "<s>", "mode": 3}
    theirs, _ = render_jinja_template(chats, chat_template=text, add_generation_prompt=True, **variables)
    assert ChatTemplate(text, "T", variables).render([{"messages": chat} for chat in chats]) == theirs


def test_a_template_is_found_where_transformers_finds_it(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "bos_token": {"content": "<s>"},
                "chat_template": [{"name": "tool_use", "template": "tool"}, {"name": "default", "template": "config"}],
            }
        )
    )

    def found(**trl: Any) -> ChatTemplate | None:
        return chat_template.of_model(spec_of(tmp_path, **trl))

    first = found(chat_template_kwargs={"mode": 1})
    assert first is not None
    assert (first.text, first.variables) == ("config", {"bos_token": "<s>", "mode": 1})
    more = tmp_path / "additional_chat_templates"
    more.mkdir()
    (more / "rag.jinja").write_text("rag")
    with pytest.raises(DataError, match="none is called default: rag"):
        found()
    (tmp_path / "chat_template.jinja").write_text("file")
    assert (second := found()) is not None and second.text == "file"
    assert second.place == str(tmp_path / "chat_template.jinja")
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot be read"):
        found()
    assert chat_template.of_model(spec_of(tmp_path / "none")) is None


FOR_ONE_ROW = (
    "{%% if 'seven' in messages[0].content %%}%s{%% endif %%}"
    "{{ messages[0].content }}{%% if add_generation_prompt %%}<assistant>{%% endif %%}"
)


@pytest.mark.parametrize(
    ("what", "of_row", "of_model"),
    [
        (
            "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
            "does not end",
            "not end: it",
        ),
        ("{% for a in range(99999) %}{{ 'word ' * 99 }}{% endfor %}", "makes more text", "makes more text than"),
        ("{{ messages[0].content * 10 ** 15 }}", "makes more text", "makes more text than"),
    ],
)
def test_a_template_that_is_endless_for_one_row_is_ended_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, of_row: str, of_model: str
) -> None:
    monkeypatch.setattr(dataset, "ended", lambda place: chat_template.ended(place, 0.4))
    _, tokenizer = tiny_model()
    tokenizer.chat_template = FOR_ONE_ROW % what
    rows = tmp_path / "rows.jsonl"
    texts = ("one", "two", "seven", "four")
    rows.write_text("".join(json.dumps({"prompt": text, "answer": "x"}) + "\n" for text in texts))
    spec = spec_of(tmp_path)
    spec = spec.model_copy(update={"data": spec.data.model_copy(update={"path": str(rows)})})
    before = signal.getsignal(signal.SIGVTALRM)
    with pytest.raises(DataError, match=f"{of_row} .*messages of row 3"):
        dataset.load(spec, tokenizer)
    with pytest.raises(DataError, match=of_model):  # of a chat and of Try it
        dataset.prompt_ids([{"role": "user", "content": "seven"}], tokenizer)
    assert dataset.prompt_ids([{"role": "user", "content": "one"}], tokenizer)
    assert signal.getitimer(signal.ITIMER_VIRTUAL)[0] == 0.0
    assert signal.getsignal(signal.SIGVTALRM) == before

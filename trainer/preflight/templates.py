"""Whether the model's chat template suits the run: some rows are put into it before any weights are loaded.

What it refuses, a template that does not parse or does not end, and a question that it leaves out are errors. Legal and
odd are: a message it leaves out or changes, no sign that it is the model's turn, and a prompt that ends with what a
reward's pattern wants the model to write.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trainer.data import preview, sources
from trainer.data.chat_template import ChatTemplate, Refusal, folder_of, named, of_model
from trainer.data.preview import Sample
from trainer.errors import DataError, Problem
from trainer.memory.embedded import knows_nothing
from trainer.rewards.library import REWARDS
from trainer.run.checkpoints import ADAPTER_CONFIG
from trainer.spec import RunSpec
from trainer.text import Message

SYSTEM = ("system", "developer")
PATTERNS = ("pattern", "extract")
"""Params of the library's functions that say what a completion looks like."""
_MARK = "Zq{}vK"  # stands for the text of a message; no template has a reason to touch it
MOST_REFUSED = 3  # that are looked into, a process for each
_SHORTEST = 3  # characters at the end of a prompt that can be a part of a pattern, `<a>`
Chat = list[dict[str, Any]]


def inspect(spec: RunSpec) -> list[Message]:
    """What is odd about the template, where it and the rows are on this machine.

    Raises DataError with what cannot be trained.
    """
    folder = None if knows_nothing(spec.model.name) else folder_of(spec)
    if folder is None or not (samples := preview.samples(spec, *sources.feeds(spec))) or not _chats(samples):
        return []
    template = of_model(spec)
    if template is not None:
        return judge(spec, template, samples)
    # mistral-common puts messages together itself; an adapter as a base is the check of the files' to refuse.
    if not (folder / "tekken.json").is_file() and not (folder / ADAPTER_CONFIG).is_file():
        raise DataError(_missing(samples))
    return []


def of_tokenizer(spec: RunSpec, tokenizer: Any, samples: Sequence[Sample]) -> list[Message]:
    """The same of a tokenizer of transformers."""
    if not _chats(samples):
        return []
    template = named(tokenizer.chat_template, spec.model.name, spec, dict(tokenizer.special_tokens_map))
    if template is None:
        raise DataError(_missing(samples))
    return judge(spec, template, samples)


def subject(said: Message) -> tuple[Any, ...]:
    """What it is about, whatever the row and the file: to say it once."""
    return said.key, *(said.values.get(name) for name in ("role", "component", "param"))


def _chats(samples: Sequence[Sample]) -> list[Sample]:
    return [sample for sample in samples if isinstance(sample.prompt, list)]


def _missing(samples: Sequence[Sample]) -> Problem:
    if any(sample.own for sample in samples):
        return Problem("data.messages_no_template", "data")
    return Problem("data.no_template", "data.chat")


def judge(spec: RunSpec, template: ChatTemplate, samples: Sequence[Sample]) -> list[Message]:
    """What is odd. Raises DataError for a template that cannot be used with these rows."""
    chats = _chats(samples)
    marked = [_marked(sample.prompt) for sample in chats]
    first, reply = marked[0], {"role": "assistant", "content": _MARK.format("reply")}
    asked: list[dict[str, Any]] = [{"messages": chat} for chat in (*(sample.prompt for sample in chats), *marked)]
    asked += [{"messages": first, "add_generation_prompt": False}]
    replies = [[*first, reply | {"role": role}] for role in ("assistant", "user")]
    asked += [{"messages": chat, "add_generation_prompt": False} for chat in replies]
    texts = template.render(asked)
    sent, of_marks, (plain, *replied) = texts[: len(chats)], texts[len(chats) : -3], texts[-3:]
    refused = [(sample, text) for sample, text in zip(chats, sent, strict=True) if isinstance(text, Refusal)]
    if refused:
        raise DataError(dict.fromkeys(_refused(spec, template, *each) for each in refused[:MOST_REFUSED]))
    found: dict[tuple[Any, ...], Message] = {}
    for sample, text, marks in zip(chats, sent, of_marks, strict=True):
        for said in _losses(template, sample, str(text), marks):
            found.setdefault(subject(said), said)
    ends = []
    if isinstance(of_marks[0], str):
        if not _says_whose_turn(of_marks[0], plain, replied):
            ends.append(Message("template.no_turn", place=template.place))
        ends += _already_written(spec, template, of_marks[0])
    return [*found.values(), *ends]


def _marked(chat: Chat) -> Chat:
    """The same messages with marks as their texts."""
    return [message | {"content": _MARK.format(number)} for number, message in enumerate(chat)]


# ---- what it refuses


def _refused(spec: RunSpec, template: ChatTemplate, sample: Sample, refusal: Refusal) -> Problem:
    """What a template refuses, found by trying the same rows otherwise."""
    chat: Chat = sample.prompt
    alone = [{"role": "user", "content": chat[-1]["content"]}]
    without = [message for message in chat if message["role"] not in SYSTEM]
    ways = {
        "alone": {"messages": alone},
        "system": {"messages": without or alone},
        "turns": {"messages": _alternating(chat)},
        "tools": {"messages": alone, "tools": []},
        "parts": {"messages": _in_parts(alone)},
    }
    works = {
        name: isinstance(text, str) and _holds(_flat(text), alone[0]["content"])
        for name, text in zip(ways, template.render(list(ways.values())), strict=True)
    }
    values = {"place": template.at(refusal.line), "said": refusal.said[:300]}
    if works["alone"]:
        if works["system"] and without != chat:
            if sample.own:
                role = next(message["role"] for message in chat if message["role"] in SYSTEM)
                return Problem("template.system_of_row", sample.where, role=role, **values)
            return Problem("template.system", "data.system_prompt", **values)
        if works["turns"]:
            return Problem("template.turns", sample.where, roles=list(sample.roles), **values)
        return Problem("template.roles", sample.where, roles=list(sample.roles), **values)
    kwargs = spec.trl.get("chat_template_kwargs")
    if kwargs and isinstance(kwargs, Mapping):
        less = {name: value for name, value in template.variables.items() if name not in kwargs}
        if isinstance(ChatTemplate(template.text, template.place, less).render([ways["alone"]])[0], str):
            return Problem("template.kwargs", "trl.chat_template_kwargs", **values)
    kind = next((name for name in ("tools", "parts") if works[name]), "raises")
    return Problem(f"template.{kind}", "model.name", **values)


def _in_parts(chat: Chat) -> Chat:
    """As models that see have it."""
    return [message | {"content": [{"type": "text", "text": message["content"]}]} for message in chat]


def _alternating(chat: Chat) -> Chat:
    """Messages of one role after another joined, and an assistant that speaks first left out."""
    joined: Chat = []
    for message in chat:
        if joined and joined[-1]["role"] == message["role"]:
            joined[-1] = joined[-1] | {"content": f"{joined[-1]['content']}\n\n{message['content']}"}
        elif joined or message["role"] != "assistant":
            joined.append(message)
    return joined


# ---- what it leaves out


def _losses(template: ChatTemplate, sample: Sample, text: str, marks: str | Refusal) -> Iterator[Message]:
    """Messages whose text is not in the prompt. Raises DataError where the question is not."""
    if isinstance(marks, Refusal):
        return
    flat, last = _flat(text), len(sample.prompt) - 1
    for number, message in enumerate(sample.prompt):
        values = {"place": template.place, "role": message["role"], "row": sample.where}
        if _MARK.format(number).lower() not in marks.lower():
            if number == last:
                alone = sample.prompt[-1:]
                shown = template.render([{"messages": alone}, {"messages": _in_parts(alone)}])
                held = [isinstance(text, str) and _holds(_flat(text), message["content"]) for text in shown]
                parts = held == [False, True]
                raise DataError(Problem("template.parts" if parts else "template.no_question", "model.name", **values))
            yield Message("template.dropped", **values)
        # What an assistant thought in an earlier turn is left out on purpose.
        elif message["role"] != "assistant" and not _holds(flat, message["content"]):
            yield Message("template.changed", **values)


def _flat(text: str) -> str:
    return " ".join(text.split())


def _holds(flat: str, content: str) -> bool:
    """Whether the text is there, but for white space, or as JSON has it."""
    written = (json.dumps(content, ensure_ascii=ascii)[1:-1] for ascii in (False, True))
    return any(_flat(one) in flat for one in (content, *written))


# ---- how it ends


def _says_whose_turn(prompt: str, plain: str | Refusal, replied: Sequence[str | Refusal]) -> bool:
    """Whether the prompt ends with more than what closes the last message, be it asked for or not.

    replied: the prompt with one more text, of the assistant and of the user.
    """
    end = _end(prompt).rstrip()
    if prompt != plain or not end:
        return prompt != plain
    assistants, users = (_end(before) if mark else None for before, mark, _ in map(_at_reply, replied))
    if assistants is not None and assistants.rstrip() == end and assistants != users:
        return True  # what closes a question is the sign, `[/INST]`
    return not any(between is not None and between.startswith(end) for between in (assistants, users))


def _at_reply(text: str | Refusal) -> tuple[str, str, str]:
    return text.partition(_MARK.format("reply")) if isinstance(text, str) else ("", "", "")


def _end(text: str) -> str:
    """What follows the last message's text."""
    return re.split(_MARK.format(r"\d+"), text)[-1]


def _already_written(spec: RunSpec, template: ChatTemplate, prompt: str) -> Iterator[Message]:
    """Patterns that want what the prompt ends with: no completion holds it, so none can match."""
    end = _end(prompt).strip()
    for leaf in spec.reward.leaves():
        if leaf.file is not None or leaf.function not in REWARDS:
            continue
        for param in PATTERNS:
            pattern = leaf.params.get(param)
            text = next(filter(None, (_shared(end, run) for run in _literals(pattern))), "")
            if text:
                values = {"component": leaf.name or leaf.function, "param": param, "pattern": pattern}
                yield Message("template.already_written", place=template.place, text=text, **values)


def _shared(end: str, run: str) -> str:
    """What of a pattern's literal text the prompt has written already: all of it, or its beginning."""
    if len(run) >= _SHORTEST and run in end and not _inside_a_word(end, end.rindex(run)):
        return run
    for start in range(len(end)):
        if len(end) - start >= _SHORTEST and run.startswith(end[start:]) and not _inside_a_word(end, start):
            return end[start:]
    return ""


def _inside_a_word(text: str, start: int) -> bool:
    return start > 0 and text[start].isalnum() and text[start - 1].isalnum()


def _literals(pattern: Any) -> list[str]:
    """Texts that whatever matches the pattern must hold; [] where it is none that `re` reads."""
    if not isinstance(pattern, str):
        return []
    try:
        known = re.sub(r"\\[pP]\{[^}]*\}", r"\\w", pattern)  # `regex` has classes that `re` has not
        parsed = re._parser.parse(known, re.DOTALL)  # type: ignore[attr-defined]  # re has no other way to ask
    except (re.error, RecursionError, OverflowError):
        return []
    runs = "".join(_required(parsed)).split("\0")
    return [run.strip() for run in runs if run.strip()]


def _required(parsed: Any) -> Iterator[str]:
    """Characters that must be there, one after another; NUL where others may stand between them."""
    for operation, argument in parsed:
        name = str(operation)
        if name == "LITERAL":
            yield chr(argument)
        elif name in ("SUBPATTERN", "ATOMIC_GROUP"):
            yield from _required(argument[-1] if name == "SUBPATTERN" else argument)
        elif name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT") and argument[0] > 0:
            yield from _required(argument[2])
            yield "" if argument[1] == 1 else "\0"
        elif name == "ASSERT" and argument[0] > 0:
            yield from ("\0", *_required(argument[1]), "\0")
        elif name != "AT":
            yield "\0"

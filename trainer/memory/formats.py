"""How the weights of a repository are stored: read from its name or from a local folder's config.json.

The quantised repositories of the known owners say so in their names; a folder says so under
`quantization_config`. What neither says is counted as plain 16- or 32-bit weights.

Imports the standard library and known. Reads one small file; knows nothing about memory.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from trainer.machine.regular_files import read_file
from trainer.memory import known

Format = Literal["plain", "nf4", "fp8", "mxfp4"]

# unsloth/gemma-3-27b-it-unsloth-bnb-4bit, unsloth/Qwen3-8B-bnb-4bit
_NF4 = re.compile(r"-bnb-4bit$", re.IGNORECASE)
# Qwen/Qwen3-8B-FP8, unsloth/Llama-3.1-8B-Instruct-FP8-Dynamic, unsloth/Qwen3-8B-FP8-Block
_FP8 = re.compile(r"-fp8(-dynamic|-block)?$", re.IGNORECASE)
# Models whose original repository holds MXFP4 experts (model card of openai/gpt-oss-20b).
_MXFP4_MODELS = frozenset({"gpt-oss-20b"})


@dataclass(frozen=True)
class Stored:
    """The format on disk, and for NF4 whether its scales are quantised as well."""

    format: Format
    double_quant: bool = True


def of(name: str) -> Stored:
    """How the weights of a Hub id or a local folder are stored."""
    config = Path(name) / "config.json"
    if config.is_file():
        return _of_folder(config)
    if _NF4.search(name):
        return Stored("nf4")  # quantised with bnb_4bit_use_double_quant = true, Unsloth's own choice
    if _FP8.search(name):
        return Stored("fp8")
    if known.normalise(name) in _MXFP4_MODELS and not name.lower().endswith("-bf16"):
        return Stored("mxfp4")
    return Stored("plain")


def _of_folder(config: Path) -> Stored:
    try:
        read = json.loads(read_file(config))
    except (OSError, ValueError, RecursionError):
        return Stored("plain")  # the engine names a broken config.json
    quantised = read.get("quantization_config") if isinstance(read, dict) else None
    return _of_config(quantised) if isinstance(quantised, dict) else Stored("plain")


def _of_config(quantised: dict[str, Any]) -> Stored:
    """Methods by transformers' names; compressed-tensors is FP8 where its format is `float-quantized`."""
    method = str(quantised.get("quant_method") or "")
    if quantised.get("load_in_4bit") is True or quantised.get("_load_in_4bit") is True:
        return Stored("nf4", bool(quantised.get("bnb_4bit_use_double_quant", False)))
    if method == "mxfp4":
        return Stored("mxfp4")
    if "fp8" in method or (method == "compressed-tensors" and quantised.get("format") == "float-quantized"):
        return Stored("fp8")
    return Stored("plain")

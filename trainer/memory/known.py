"""The shape of a model by its name: of the Hub, of a folder, of an embedded one.

The published ones are in published.py as their `config.json` says; an unknown model has no shape: nothing is guessed
from its name. Imports the standard library and this room's other modules.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from trainer.memory.embedded import BUILTIN_CONFIGS
from trainer.memory.families import from_config
from trainer.memory.published import CONFIGS, OWNERS
from trainer.memory.shapes import ModelShape

# Endings that say how a repository is packed or tuned; the shape is the same without them.
ENDINGS = (
    "-unsloth-bnb-4bit",
    "-bnb-4bit",
    "-fp8-dynamic",
    "-fp8-block",
    "-fp8",
    "-bf16",
    "-2507",
    "-2512",
    "-it",
    "-pt",
    "-instruct",
    "-thinking",
    "-base",
)


def normalise(name: str) -> str:
    """`unsloth/gemma-3-27b-it-unsloth-bnb-4bit` -> `gemma-3-27b`; "" for an owner that is not looked up."""
    owner, _, model = name.lower().partition("/")
    if owner not in OWNERS or not model:
        return ""
    model = model.removeprefix("meta-")  # meta-llama/Meta-Llama-3.1-8B
    while shorter := next((model.removesuffix(end) for end in ENDINGS if model.endswith(end)), ""):
        model = shorter
    return model


def of(name: str) -> ModelShape | None:
    """The shape of a Hub id, a local folder or a built-in model; None when it is not known."""
    if name in BUILTIN_CONFIGS:
        return from_config(BUILTIN_CONFIGS[name], source=name)
    config = os.path.join(name, "config.json")
    if os.path.isfile(config):  # False also for a name that no file system takes
        try:
            read = json.loads(Path(config).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return None  # preflight names what is wrong with the file; here it only means: no estimate
        return from_config(read, source=config) if isinstance(read, dict) else None
    return published(normalise(name))


def published(model: str) -> ModelShape | None:
    """The shape of a name as in published.CONFIGS."""
    config = CONFIGS.get(model)
    return from_config(config, source=f"config.json of {model}") if config is not None else None

"""The runs of the acceptance: which preset with which engine, what is changed in the preset for it, and how long.

Torch-free. Every change is written into the result, so that no number is read as one of the untouched preset.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer import presets
from trainer.memory import known
from trainer.memory.published import CONFIGS
from trainer.spec import RunSpec

DEFAULT_PRESETS = "gemma27b qwen3-1.7b llama3.2-3b"
BIG = 10e9  # weights above which a run may take longer
SHORT_STEPS, SHORT_COMPLETION = 2, 128  # plain transformers: at full length its runs would not fit
# Seconds a run may take, loading included, by size and engine.
CAPS_S = {"big unsloth": 270, "big transformers": 120, "small unsloth": 110, "small transformers": 80}
CHECK_S = 15  # a part is not begun with less time left than this
# Of a random model half of all completions end so: groups have spread, gradients are not zero, nothing is skipped.
HALF_OF_ALL = ".*[a-m]"
TINY_PROMPT, TINY_COMPLETION = 96, 16


class UnknownShape(ValueError):
    """The preset's model is not in trainer/memory/published.py: nothing of its size can be made."""


@dataclass(frozen=True)
class Setup:
    """What is the same for all runs of one call."""

    models: Path
    device: str = "cuda"
    size: str = "full"


@dataclass(frozen=True)
class Part:
    """One run."""

    preset: str
    engine: str

    @property
    def name(self) -> str:
        return f"{label(self.preset)}-{self.engine}"


def label(preset: str) -> str:
    """A preset's name without folder and ending."""
    return Path(preset).name.removesuffix(".toml")


def config_of(spec: RunSpec, size: str) -> dict[str, Any]:
    """The configuration of the decoder of a preset's model; `tiny`: the same family, as small as NF4's blocks of 64
    allow. Raises UnknownShape also where its layers differ in more than their window: all are written alike."""
    shape, config = known.of(spec.model.name), CONFIGS.get(known.normalise(spec.model.name))
    alike = shape is not None and all(kind.linears == shape.kinds[0].linears for kind in shape.kinds)
    if shape is None or config is None or shape.experts or not alike:
        raise UnknownShape(f"{spec.model.name}: no dense configuration in trainer/memory/published.py")
    text: dict[str, Any] = config.get("text_config", config)
    return text if size == "full" else text | (_TINY_WINDOWED if "sliding_window" in text else _TINY)


_TINY: dict[str, Any] = {
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "vocab_size": 1024,
}
_TINY_WINDOWED = _TINY | {"num_hidden_layers": 6, "sliding_window": 32}


def is_prequantised(spec: RunSpec) -> bool:
    """Does the preset name a repository whose files are NF4 already?"""
    return spec.model.load_in_4bit and "4bit" in spec.model.name.lower()


def model_folder(setup: Setup, preset: str) -> Path:
    # Unsloth looks at the ending of a name, too: it is that of the repositories it stands for.
    ending = "-bnb-4bit" if is_prequantised(presets.load(preset)) else ""
    return setup.models / f"{label(preset)}-{setup.size}-{setup.device}{ending}"


def rows_file(setup: Setup, preset: str) -> Path:
    return setup.models / f"{label(preset)}-{setup.size}-rows.jsonl"


def cap_s(part: Part) -> float:
    """Seconds the run may take, loading included."""
    shape = known.of(presets.load(part.preset).model.name)
    big = shape is not None and shape.params() > BIG
    return CAPS_S[f"{'big' if big else 'small'} {part.engine}"]


def overrides(part: Part, setup: Setup, steps: int) -> list[str]:
    """--set arguments that make the preset's run offline, short, and of the synthetic model."""
    spec = presets.load(part.preset)
    changes = [
        f"model.name={model_folder(setup, part.preset)}",
        f"model.engine={part.engine}",
        f"model.device={setup.device}",
        "model.revision=",
        f"data.path={rows_file(setup, part.preset)}",
        *(f"data.{key}=" for key in ("name", "config", "eval_split", "eval_path", "eval_fraction", "max_rows")),
        "eval.at_start=false",
        "eval.at_end=false",
        "eval.eval_steps=",
        "log.mirrors=[]",
        "log.heartbeat_s=1",
        "checkpoint.save_steps=1000",
        f"optim.max_steps={min(steps, SHORT_STEPS) if _is_short(part, setup) else steps}",
    ]
    return [*changes, *_rewards(spec), *_missing(spec), *_engine(part, spec, setup), *_tiny(setup)]


def _is_short(part: Part, setup: Setup) -> bool:
    return part.engine == "transformers" and setup.size == "full"


def _rewards(spec: RunSpec) -> list[str]:
    forms = [number for number, one in enumerate(spec.reward.components) if one.function == "format_regex"]
    return [f"reward.components.{forms[0]}.params.pattern={HALF_OF_ALL}"] if forms else []


def _missing(spec: RunSpec) -> list[str]:
    """What the offline machine does not have."""
    changes = ["model.fast_inference=false"] if spec.model.fast_inference else []
    if spec.trl.get("use_liger_kernel") and importlib.util.find_spec("liger_kernel") is None:
        changes.append("trl.use_liger_kernel=false")
    if spec.model.attn_implementation == "flash_attention_2" and importlib.util.find_spec("flash_attn") is None:
        changes.append("model.attn_implementation=")
    return changes


def _engine(part: Part, spec: RunSpec, setup: Setup) -> list[str]:
    changes = []
    on_cpu = setup.device == "cpu"
    if on_cpu or (part.engine == "transformers" and spec.model.gradient_checkpointing == "unsloth"):
        changes.append("model.gradient_checkpointing=true")
    if _is_short(part, setup) and spec.generation.max_completion_length > SHORT_COMPLETION:
        changes.append(f"generation.max_completion_length={SHORT_COMPLETION}")
    if on_cpu:
        changes += ["model.dtype=float32", "model.cpu_threads=1"]
        changes += ["optim.optim=adamw_torch"] if "8bit" in spec.optim.optim else []
    else:
        # Host clocks run ahead of the GPU: without it the seconds of a span belong to another one.
        changes.append("log.exact_spans=true")
    return changes


def _tiny(setup: Setup) -> list[str]:
    if setup.size == "full":
        return []
    return [
        "model.max_seq_length=",
        f"data.max_prompt_length={TINY_PROMPT}",
        f"generation.max_completion_length={TINY_COMPLETION}",
        "generation.num_generations=4",
        "generation.steps_per_generation=",
        "generation.generation_batch_size=",
        "optim.per_device_train_batch_size=2",
        "optim.gradient_accumulation_steps=2",
    ]

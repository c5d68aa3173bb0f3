"""What is known of the settings of a run that was made elsewhere -> a RunSpec, and the keys that are really known.

From a preset, or from the config that W&B keeps (config.yaml, or JSON): arguments of TRL by their own names, the model,
LoRA, and keys of ours. A RunSpec needs a value for everything: what is not known holds a placeholder, is not among
`known`, and nobody may print it. Torch-free; the files a preset names are not looked at, the run is over.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from trainer import presets
from trainer.errors import DataError, InputError, Problem
from trainer.machine.regular_files import read_file, why
from trainer.spec import RunSpec, trl_homes

UNKNOWN = "unknown"
WRAPPER = "ComponentRewardWrapper"  # the sum of all components, as ours is called
_MODEL_NAMES = ("model.name", "model_name", "model_name_or_path", "_name_or_path")
# Arguments of other versions of TRL and of PEFT, and the key that has their meaning here.
_HOMES = {
    "max_prompt_length": "data.max_prompt_length",
    "max_seq_length": "model.max_seq_length",
    "load_in_4bit": "model.load_in_4bit",
    "lora_r": "lora.r",
    "lora_alpha": "lora.alpha",
    "lora_dropout": "lora.dropout",
    "lora_target_modules": "lora.target_modules",
}
_PEFT = {
    "r": "lora.r",
    "lora_alpha": "lora.alpha",
    "lora_dropout": "lora.dropout",
    "target_modules": "lora.target_modules",
}
_QUANTISED = {"load_in_4bit": "model.load_in_4bit", "bnb_4bit_use_double_quant": "model.double_quant"}
_BATCH = frozenset(
    ("generation.num_generations", "optim.per_device_train_batch_size", "optim.gradient_accumulation_steps")
)


@dataclass(frozen=True)
class KnownSettings:
    """spec: valid. known: `section.key` of what is known; refused: values of the config that do not fit a RunSpec."""

    spec: RunSpec
    known: list[str]
    refused: int = 0
    whole: bool = False
    """The defaults hold as well: they are those of a preset."""

    @property
    def batch_known(self) -> bool:
        return self.whole or set(self.known) >= _BATCH


def of_preset(preset: str, overrides: Sequence[str]) -> KnownSettings:
    """Raises PresetError or SpecError with every problem."""
    spec = presets.load(preset, overrides)
    return KnownSettings(spec, _set_keys(spec), whole=True)


def of_config(path: Path | None, overrides: Sequence[str], title: str, rewards: Sequence[str]) -> KnownSettings:
    """The settings a W&B config names, with overrides; without a config the overrides alone.

    rewards: names of the components that were logged. Raises DataError for the file, SpecError for the overrides.
    """
    config = _read(path) if path is not None else {}
    raw = presets.merge({}, overrides)
    typed = {f"{section}.{key}" for section, table in raw.items() if isinstance(table, dict) for key in table}
    spec = _with_placeholders(raw, title, rewards, str(path or "--set"))
    known, waiting = set(typed), [(key, value) for key, value in _found(config) if value is not None]
    for _ in range(2):  # some only fit once another is there
        refused = []
        for key, value in waiting:
            section, _, name = key.partition(".")
            tried = {**raw, section: {**raw.get(section, {}), name: value}}
            try:
                found = None if key in known else _with_placeholders(tried, title, rewards, str(path))
            except InputError:
                refused.append((key, value))
                continue
            if found is not None:
                spec, raw, known = found, tried, known | {key}
        waiting = refused
    return KnownSettings(spec, sorted(known), len({key for key, _ in waiting} - known))


def _with_placeholders(raw: Mapping[str, Any], title: str, rewards: Sequence[str], where: str) -> RunSpec:
    """The spec of what is known; of a reward only its name can be, not what it rewards."""
    model, data, reward = (dict(raw.get(section) or {}) for section in ("model", "data", "reward"))
    model.setdefault("name", UNKNOWN)
    if "name" not in data:
        data.setdefault("path", UNKNOWN)
    names: list[str | None] = [name for name in dict.fromkeys(rewards) if name != WRAPPER]
    reward.setdefault("components", [{"function": "exact_match", "name": name} for name in names or [None]])
    return presets.parse({"title": title, **raw, "model": model, "data": data, "reward": reward}, where)


def _set_keys(spec: RunSpec) -> list[str]:
    written = spec.model_dump(mode="json", exclude_unset=True)
    return sorted(f"{name}.{key}" for name, table in written.items() if isinstance(table, dict) for key in table)


def _read(path: Path) -> dict[str, Any]:
    """{key: value}: W&B writes {key: {value: ..}} to config.yaml, and the plain values where its API is asked."""
    try:
        found = yaml.safe_load(read_file(path).decode("utf-8"))
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        key = "wandb_import.no_config_file" if missing else "wandb_import.config_unreadable"
        raise DataError(Problem(key, str(path), said=why(error))) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(Problem("wandb_import.config_syntax", str(path))) from error
    if not isinstance(found, dict):
        raise DataError(Problem("wandb_import.no_config", str(path)))
    inner = {"value", "desc"}
    return {
        str(key): value["value"] if isinstance(value, dict) and "value" in value and value.keys() <= inner else value
        for key, value in found.items()
    }


def _found(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """(key of ours, value) of everything that has a place, the surest first."""
    if isinstance(config.get("spec"), dict):  # our own mirror
        config = {**config, **config["spec"]}
    sections = {name for name, field in RunSpec.model_fields.items() if name != "title"}
    for name, value in config.items():
        if name in sections and isinstance(value, dict):  # a run of ours: its spec is the config
            yield from ((f"{name}.{key}", part) for key, part in value.items())
        elif name.partition(".")[0] in sections and name.count(".") == 1:
            yield name, value
    for name in _MODEL_NAMES:
        if isinstance(config.get(name), str) and config[name]:
            yield "model.name", config[name]
    for name, dtype in (("bf16", "bfloat16"), ("fp16", "float16")):
        if config.get(name) is True:
            yield "model.dtype", dtype
    yield from _nested(config)
    homes = trl_homes() | _HOMES
    for name, value in config.items():
        home = homes.get(name, "")
        key = home.partition(".")[2]
        # Not a key of ours that decides an argument under another name, as model.dtype does bf16: it has other values.
        if key == name or name in _HOMES:
            yield home, _plain(name, value)


def _nested(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """LoRA and the quantisation, as PEFT and transformers write them."""
    peft = config.get("peft_config")
    adapters = [part for part in peft.values() if isinstance(part, dict)] if isinstance(peft, dict) else []
    for table, homes in ((adapters[0] if adapters else peft, _PEFT), (config.get("quantization_config"), _QUANTISED)):
        if isinstance(table, dict):
            yield from ((homes[name], table[name]) for name in homes if name in table)


def _plain(name: str, value: Any) -> Any:
    """Values that TRL's argument has in another form than ours."""
    if name == "max_steps" and isinstance(value, int | float) and value <= 0:
        return None  # transformers' word for "num_train_epochs decides"
    if name == "scale_rewards" and isinstance(value, bool):
        return "group" if value else "none"  # TRL before 0.24
    if isinstance(value, str) and value.startswith(("{", "[")):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value

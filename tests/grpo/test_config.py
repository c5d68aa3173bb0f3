"""trainer.grpo.config: every field of the constructed GRPOConfig is what the preset chose."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from trl import GRPOConfig

from trainer import plan as planning
from trainer import presets
from trainer.grpo import config
from trainer.plan import RunPlan
from trainer.spec import FIXED, RunSpec, trl_homes, trl_table

FIELDS = [field.name for field in dataclasses.fields(GRPOConfig) if field.init]


def planned(*overrides: str, preset: str = "tiny") -> tuple[RunSpec, RunPlan]:
    spec = presets.load(preset, overrides)
    return spec, planning.make(spec, rows=1024)


def constructed(tmp_path: Path, *overrides: str, preset: str = "tiny") -> tuple[Any, dict[str, Any]]:
    chosen = config.choose(*planned(*overrides, preset=preset), tmp_path, device="cpu", dtype="float32")
    return config.build(chosen), chosen


@pytest.mark.parametrize("preset", sorted(info.name for info in presets.list_presets()))
def test_every_field_holds_what_the_preset_chose(tmp_path: Path, preset: str) -> None:
    built, chosen = constructed(tmp_path, preset=preset)
    assert sorted(chosen) == sorted(FIELDS)  # also those left at TRL's default are passed
    assert config.differences(built, config.expected(chosen)) == []


def test_values_of_the_spec_reach_the_config(tmp_path: Path) -> None:
    built, _ = constructed(tmp_path, "grpo.beta=0.1", "optim.learning_rate=5e-7", "trl.sapo_temperature_neg=1.5")
    assert built.beta == 0.1
    assert built.learning_rate == 5e-7
    assert built.sapo_temperature_neg == 1.5
    assert built.max_steps == 150
    assert built.use_cpu is True
    assert built.report_to == []


def test_a_config_class_that_changes_a_value_is_caught(tmp_path: Path) -> None:
    """What Unsloth's replacement does to epsilon_high, learning_rate and others."""

    @dataclasses.dataclass
    class Changing(GRPOConfig):
        def __post_init__(self) -> None:
            super().__post_init__()
            self.epsilon_high = 0.28
            self.optim = "adamw_8bit"

    chosen = config.choose(*planned(), tmp_path, device="cpu", dtype="float32")
    found = config.differences(config.build(chosen, Changing), config.expected(chosen))
    assert {(name, wanted, value) for name, wanted, value in found} == {
        ("epsilon_high", None, 0.28),
        ("optim", "adamw_torch", "adamw_8bit"),
    }
    built = config.build(chosen, Changing)
    assert {name for name, _, _ in config.correct(built, config.expected(chosen))} == {"epsilon_high", "optim"}
    assert config.differences(built, config.expected(chosen)) == []


SAMPLES: dict[str, Any] = {"bool": True, "int": 3, "float": 0.5, "str": "x", "list": ["a"], "dict": {"a": 1}}
# A value TRL takes and that is not its default, where the sample of the kind is not one.
VALUES: dict[str, Any] = {
    "accelerator_config": {"split_batches": True},
    "debug": "underflow_overflow",
    "hub_strategy": "end",
    "include_num_input_tokens_seen": "all",
    "log_level": "info",
    "log_level_replica": "info",
    "parallelism_config": {"tp_size": 1},
    "train_sampling_strategy": "sequential",
    "vllm_importance_sampling_mode": "token_truncate",
}
# What transformers or TRL refuses here, with a word of its reason: it was reached, which is what is tested.
REFUSED = {
    "dataloader_prefetch_factor": "dataloader_num_workers",
    "ddp_backend": "process group",
    "deepspeed": "deepspeed",
    "fsdp": "fsdp",
    "log_completions_hub_repo": "log_completions",
    "tf32": "Ampere",
}


def other_value(argument: str) -> Any:
    """A value that differs from TRL's default."""
    if argument in VALUES:
        return VALUES[argument]
    kind = next(kind for kind in trl_table()[argument] if kind in SAMPLES)
    default = {field.name: field.default for field in dataclasses.fields(GRPOConfig)}[argument]
    return not default if kind == "bool" else SAMPLES[kind]


@pytest.mark.parametrize(
    "argument", [name for name, home in trl_homes().items() if home.startswith("trl.") and name not in FIXED]
)
def test_every_other_argument_of_trl_reaches_the_config(tmp_path: Path, argument: str) -> None:
    spec, plan = planned()
    value = other_value(argument)
    changed = spec.model_copy(update={"trl": {argument: value}})
    chosen = config.choose(changed, plan, tmp_path, device="cpu", dtype="float32")
    if argument in REFUSED:
        with pytest.raises((ValueError, ImportError), match=REFUSED[argument]):
            config.build(chosen)
        return
    built = config.build(chosen)
    assert config.differences(built, config.expected(chosen)) == []
    made_a_difference = config.differences(constructed(tmp_path)[0], config.expected(chosen)) != []
    assert made_a_difference == (argument != "dataloader_pin_memory")  # transformers: always off on a CPU


def test_vllm_reads_sequences_as_long_as_the_plans_and_masks_none_unless_asked(tmp_path: Path) -> None:
    spec, plan = planned()
    theirs = {"vllm_max_model_length": 99, "vllm_importance_sampling_mode": "sequence_mask"}
    chosen = [
        config.choose(
            spec.model_copy(update={"trl": {"use_vllm": True} | trl}), plan, tmp_path, device="cpu", dtype="float32"
        )
        for trl in ({}, theirs)
    ]
    longest = spec.data.max_prompt_length + spec.generation.max_completion_length
    ours = {"vllm_max_model_length": longest, "vllm_importance_sampling_mode": "token_truncate"}
    assert [{name: each[name] for name in theirs} for each in chosen] == [ours, theirs]


@pytest.mark.parametrize(
    ("left", "wrong"),
    [
        ({}, []),
        ({"ACCELERATE_MIXED_PRECISION": "bf16"}, [("mixed_precision", "no", "bf16")]),
        ({"ACCELERATE_DYNAMO_BACKEND": "eager"}, [("dynamo_backend", "NO", "EAGER")]),
        ({"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4"}, [("gradient_accumulation_steps", 1, 4)]),
    ],
)
def test_what_accelerate_built_is_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: dict[str, str], wrong: list[tuple[str, Any, Any]]
) -> None:
    built, _ = constructed(tmp_path)
    for name, value in left.items():
        monkeypatch.setenv(name, value)
    built.mixed_precision = "bf16" if "ACCELERATE_MIXED_PRECISION" in left else built.mixed_precision  # read first
    AcceleratorState._reset_state(reset_partial_state=True)
    try:
        accelerator = Accelerator(cpu=True, mixed_precision=built.mixed_precision)
        assert config.accelerate_differences(accelerator, built) == wrong
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)

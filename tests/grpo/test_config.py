"""trainer.grpo.config: every field of the constructed GRPOConfig is what the preset chose."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from trl import GRPOConfig

from trainer import plan as planning
from trainer import presets
from trainer.grpo import config
from trainer.plan import RunPlan
from trainer.spec import RunSpec

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
    assert config.differences(built, chosen) == []


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
    found = config.differences(config.build(chosen, Changing), chosen)
    assert {(name, wanted, value) for name, wanted, value in found} == {
        ("epsilon_high", None, 0.28),
        ("optim", "adamw_torch", "adamw_8bit"),
    }

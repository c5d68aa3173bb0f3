"""Every argument of TRL's GRPOConfig has exactly one home in a preset, reachable from TOML text."""

from __future__ import annotations

import tomllib

import pytest

from trainer import presets
from trainer.errors import SpecError
from trainer.presets import explain
from trainer.spec import FIXED, SET_ELSEWHERE, trl_homes, trl_table

MINIMAL = """
[model]
name = "Qwen/Qwen3-0.6B"
[data]
path = "rows.jsonl"
[[reward.components]]
function = "exact_match"
"""


def refused(text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        presets.parse(tomllib.loads(text), "mine.toml")
    return [str(problem) for problem in caught.value.problems]


SAMPLES = {
    "bool": "true",
    "int": "3",
    "float": "0.5",
    "str": '"steps"',
    "list": '["a"]',
    "dict": "{ a = 1 }",
}
# Arguments of a section whose bounds the sample of their kind breaks.
SECTION_SAMPLES = {
    "checkpoint.save_steps": "5",
    "grpo.multi_objective_aggregation": '"normalize_then_sum"',
    "data.shuffle_dataset": "false",
    "generation.num_generations": "4",
    "grpo.loss_type": '"grpo"',
    "grpo.importance_sampling_level": '"sequence"',
    "grpo.scale_rewards": '"batch"',
    "grpo.delta": "4.0",
    "optim.optim": '"adamw_8bit"',
    "optim.lr_scheduler_type": '"cosine"',
}


def test_every_trl_argument_has_one_home() -> None:
    homes = trl_homes()
    assert homes.keys() == trl_table().keys()
    for argument, home in homes.items():
        assert home.startswith(("trl.", "--", "$HF_TOKEN")) or explain.field_at(tuple(home.split("."))), (
            argument,
            home,
        )


@pytest.mark.parametrize("argument", sorted(trl_table()))
def test_trl_argument_can_be_set_from_toml(argument: str) -> None:
    home = trl_homes()[argument]
    if argument in SET_ELSEWHERE:
        assert f"use {home}" in "\n".join(refused(f"[trl]\n{argument} = 1\n{MINIMAL}"))
        return
    section, _, name = home.partition(".")
    kinds = [kind for kind in trl_table()[argument] if kind in SAMPLES]
    sample = SECTION_SAMPLES.get(home, SAMPLES[kinds[0]])
    if argument in FIXED:
        value = FIXED[argument][0]
        sample = f'"{value}"' if isinstance(value, str) else str(value).lower()
    text = MINIMAL.replace(f"[{section}]", f"[{section}]\n{name} = {sample}")
    if f"[{section}]" not in MINIMAL:
        text = f"[{section}]\n{name} = {sample}\n{MINIMAL}"
    spec = presets.parse(tomllib.loads(text), "mine.toml")
    assert argument in spec.trl_arguments()
    assert spec.trl_arguments()[argument] == tomllib.loads(f"v = {sample}")["v"]

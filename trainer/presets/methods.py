"""What a method does not read is not in its spec: a preset for GRPO is also one for the other methods.

    --set run.method=sft     [grpo] and [sampling] of the preset go, and what says how GRPO's batches are generated

So nothing that has no effect is stored, shown or planned with; what was typed and goes is said (`unread`). Pure
functions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trainer.spec import RunSpec
from trainer.spec.methods import SUPERVISED
from trainer.text import Message

OF_A_BATCH = ("steps_per_generation", "generation_batch_size")
"""Keys of [generation] that say what is written between two updates."""
OF_AN_ADVANTAGE = ("advantage", "scale_rewards", "multi_objective_aggregation", "beta", "num_iterations")
"""Keys of [grpo] that online RFT does not have: its coefficient is 1 or 0, and every batch is trained on once."""
OF_ANSWERS = ("answers", "pass_at", "samples")
"""Keys of [eval] that mean nothing to a model that writes no answers."""


def put_in(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The raw spec without the settings that its method does not read."""
    found = dict(raw)
    run = found.get("run")
    method = run.get("method") if isinstance(run, dict) else None
    for section, keys in _left_out(method).items():
        if keys:
            _leave_out(found, section, keys)
        else:
            found.pop(section, None)
    return found


def _left_out(method: Any) -> dict[str, tuple[str, ...]]:
    """{section that the method does not read: the keys of it, () for all}."""
    if method == "online_rft":
        return {"grpo": OF_AN_ADVANTAGE}
    if method not in SUPERVISED:
        return {}
    found: dict[str, tuple[str, ...]] = {"grpo": (), "sampling": (), "generation": OF_A_BATCH, "reward": ("learning",)}
    if method in ("dpo", "reward_model"):
        found["lora"] = ("dropout",)  # TRL's DPOTrainer and RewardTrainer turn it off
    return found | ({"eval": OF_ANSWERS} if method == "reward_model" else {})


def unread(specs: Sequence[RunSpec], overrides: Sequence[str]) -> list[Message]:
    """What was typed, or laid over by a recipe, and means nothing to the method of any stage; one sentence, or none."""
    typed = [key.strip() for key, _, value in (each.partition("=") for each in overrides) if value.strip()]
    laid = [key for changes in specs[0].recipes.values() for key in changes]
    used = [spec.run.method for spec in specs]
    keys = list(dict.fromkeys(key for key in [*typed, *laid] if all(is_unread(key, method) for method in used)))
    return (
        [Message("presets.advice.unread_of_method", keys=keys, method=", ".join(dict.fromkeys(used)))] if keys else []
    )


def is_unread(key: str, method: str) -> bool:
    """Such a setting has no effect on a run of that method."""
    section, _, name = key.partition(".")
    left_out = _left_out(method)
    if section in left_out:
        return not left_out[section] or name.partition(".")[0] in left_out[section]
    return section in SUPERVISED and section != method


def _leave_out(found: dict[str, Any], section: str, keys: tuple[str, ...]) -> None:
    table = found.get(section)
    if isinstance(table, dict):
        found[section] = {key: value for key, value in table.items() if key not in keys}

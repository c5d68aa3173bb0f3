"""What a method does not read is not in its spec: a preset for GRPO is also one for the other methods.

    --set run.method=sft     [grpo] and [sampling] of the preset go, and what says how GRPO's batches are generated

So nothing that has no effect is stored, shown or planned with. Pure functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainer.spec.methods import SUPERVISED

OF_A_BATCH = ("steps_per_generation", "generation_batch_size")
"""Keys of [generation] that say what is written between two updates."""
OF_AN_ADVANTAGE = ("advantage", "scale_rewards", "multi_objective_aggregation", "beta", "num_iterations")
"""Keys of [grpo] that online RFT does not have: its coefficient is 1 or 0, and every batch is trained on once."""


def put_in(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The raw spec without the settings that its method does not read."""
    found = dict(raw)
    run = found.get("run")
    method = run.get("method") if isinstance(run, dict) else None
    if method in SUPERVISED:
        for section in ("grpo", "sampling"):
            found.pop(section, None)
        _leave_out(found, "generation", OF_A_BATCH)
    elif method == "online_rft":
        _leave_out(found, "grpo", OF_AN_ADVANTAGE)
    return found


def _leave_out(found: dict[str, Any], section: str, keys: tuple[str, ...]) -> None:
    table = found.get(section)
    if isinstance(table, dict):
        found[section] = {key: value for key, value in table.items() if key not in keys}

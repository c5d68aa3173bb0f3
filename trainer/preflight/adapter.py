"""Does the folder that training is to start from hold an adapter of this shape, trained on this model?

The worker looks from the project's folder, so this does too. What lies in the adapter's weights is seen at the load.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trainer.errors import Problem
from trainer.machine.json_files import read_json
from trainer.machine.project import PROJECT
from trainer.run.checkpoints import ADAPTER, ADAPTER_CONFIG
from trainer.spec import RunSpec

WHERE = "lora.start_from"


def problems(spec: RunSpec) -> Iterator[Problem]:
    if spec.lora.start_from is None:
        return
    folder = PROJECT / spec.lora.start_from
    config: dict[str, Any] = read_json(folder / ADAPTER_CONFIG) or {}
    if not config or not (folder / ADAPTER).is_file():
        yield Problem("preflight.no_adapter_there", WHERE, folder=str(folder), files=f"{ADAPTER_CONFIG}, {ADAPTER}")
    elif config.get("r") != spec.lora.r:
        yield Problem("preflight.adapter_rank", "lora.r", seen=spec.lora.r, r=config.get("r"))

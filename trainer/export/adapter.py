"""The adapter alone: a few megabytes that PEFT puts on the base model. Looks at its weights and copies files; loads no
model."""

from __future__ import annotations

import shutil
from pathlib import Path

from trainer.errors import ExportRefused, Problem
from trainer.export import merged, model_card, staging
from trainer.export.kinds import FACTS, Exported
from trainer.export.source import Source
from trainer.machine.json_files import write_json
from trainer.run.checkpoints import ADAPTER, ADAPTER_CONFIG


def export(source: Source, target: Path) -> Exported:
    """Adapter, its config, the tokenizer and a model card in `target`.

    Raises ExportRefused when the run has no adapter, the target is taken or the disk is full, ExportError for weights
    that are no numbers.
    """
    from safetensors import safe_open

    if not source.lora:
        raise ExportRefused(Problem("export.no_adapter", run=source.rundir.name))
    with safe_open(source.path / ADAPTER, "pt") as weights:
        merged.refuse_unfinite(source, ((name, weights.get_tensor(name)) for name in weights.keys()))  # noqa: SIM118
    with staging.staged(target) as draft:
        files = [source.path / ADAPTER, *source.tokenizer_files]
        staging.need_room(target, sum(path.stat().st_size for path in files))
        for path in files:
            shutil.copyfile(path, draft / path.name)
        write_json(draft / ADAPTER_CONFIG, _config(source))
        (draft / "README.md").write_text(model_card.adapter(source), encoding="utf-8")
        facts = source.facts("adapter")
        write_json(draft / FACTS, facts)
    return Exported(target, source.step, facts)


def _config(source: Source) -> dict[str, object]:
    """The adapter's config with a base that means something on another machine.

    A folder's path does not: PEFT gets the folder's name (or builtin/NAME), and the card says how to get it.
    """
    config = source.adapter_config() | {"base_model_name_or_path": source.shown()}
    return config | {"revision": source.commit()}

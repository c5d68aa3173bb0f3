"""Whole weights of a reward model: what `AutoModelForSequenceClassification` loads, an adapter merged into its base.

Checked before it appears under its name: the saved weights give the scores of those in memory.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from trainer.errors import ExportError, Problem
from trainer.export import merged, model_card, staging, verify
from trainer.export.kinds import DTYPES, FACTS, Exported, Say
from trainer.export.source import Source
from trainer.machine.json_files import write_json
from trainer.text import Message

LOADER = "AutoModelForSequenceClassification"


def export(source: Source, target: Path, dtype: str, say: Say) -> Exported:
    """Weights, tokenizer, how a text becomes tokens, and card in `target`. Raises ExportRefused or ExportError."""
    import torch
    from transformers import AutoTokenizer

    assert dtype in DTYPES, dtype
    with staging.staged(target) as draft, merged.quiet():
        tokenizer = AutoTokenizer.from_pretrained(source.path)
        say(Message("export.loading", name=source.shown() if source.lora else source.path.name))
        model = _loaded(source, tokenizer)
        merged.refuse_unfinite(source, model.named_parameters())
        rows = verify.sequences(source, tokenizer, model.get_input_embeddings().num_embeddings)
        trained = _scores(model, rows)
        model = model.merge_and_unload() if source.lora else model
        merged.cast(model, getattr(torch, dtype))
        stored = _scores(model, rows)
        staging.need_room(target, sum(p.numel() * p.element_size() for p in model.parameters()))
        say(Message("export.saving"))
        model.save_pretrained(draft)
        for path in source.tokenizer_files:
            shutil.copyfile(path, draft / path.name)
        del model
        say(Message("export.comparing"))
        figures = _compared(trained, stored, _scores(_whole(draft), rows), rows)
        facts = source.facts("merged") | {"dtype": dtype, "verified": figures}
        (draft / "README.md").write_text(model_card.judge(source, dtype, figures), encoding="utf-8")
        write_json(draft / FACTS, facts)
    return Exported(target, source.step, facts)


def _loaded(source: Source, tokenizer: Any) -> Any:
    """With its adapter beside the base, in float32: merged in fewer bits it would not be what was trained."""
    import torch

    from trainer.rewards.library import side_model

    if not source.lora:
        return _whole(source.path)
    base = source.base()
    options = {"revision": base.revision, "trust_remote_code": source.spec.model.trust_remote_code}
    options |= {"dtype": torch.float32}
    model, _ = side_model.adapted(_loader(), str(source.path), base.name, tokenizer, options)
    return model.eval()


def _whole(folder: Path) -> Any:
    return merged.complete(_loader(), folder, dtype="auto").eval()


def _loader() -> Any:
    import transformers

    return getattr(transformers, LOADER)


def _scores(model: Any, rows: list[list[int]]) -> Any:
    """(n,) float32, of n token lists, one at a time."""
    import torch

    return torch.cat([one.reshape(-1) for one in verify.logits(model, rows)])


def _compared(trained: Any, stored: Any, loaded: Any, rows: list[list[int]]) -> dict[str, Any]:
    """Raises ExportError where the saved weights are not those in memory."""
    figures = {
        "sequences": len(rows),
        "tokens": sum(map(len, rows)),
        "saved_max_abs_diff": float((loaded - stored).abs().max()),
        "trained_max_abs_diff": float((loaded - trained).abs().max()),
    }
    if not figures["saved_max_abs_diff"] < verify.MAX_ABS_DIFF:  # so that NaN is wrong too
        raise ExportError(Problem("export.saved_differ", difference=figures["saved_max_abs_diff"]))
    return figures

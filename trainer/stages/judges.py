"""A model that judges, made of one that writes: its inner model under a new head of one number.

    writer    embeds and reads a text, and says which token comes next
    judge     the same inner model, nothing loaded or copied; the head reads the last token  (arXiv 2203.02155, 3.5)

transformers' GenericForSequenceClassification is such a model, so a checkpoint of it is what
`AutoModelForSequenceClassification` loads. The writer shares the weights that are trained: what it has to write it
writes before the first step.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForSequenceClassification

from trainer.errors import EngineError, Problem
from trainer.spec import RunSpec

HEAD = "score"  # its name in GenericForSequenceClassification (transformers 5.17, modeling_layers.py)


def judge_of(writer: Any, spec: RunSpec) -> Any:
    """Its head is drawn from run.seed alone, with the spread of the model's own initial weights. Raises EngineError for
    a model that transformers has no classifier for."""
    config = copy.deepcopy(writer.config)
    config.num_labels = 1
    kind = AutoModelForSequenceClassification._model_mapping.get(type(config), None)
    inner: Any = writer.base_model
    if kind is None:
        raise _none(writer, spec)
    with torch.device("meta"):  # the inner model it makes for itself is not needed
        judge = kind(config)
    head, prefix = getattr(judge, HEAD, None), judge.base_model_prefix
    if not isinstance(head, nn.Linear) or type(getattr(judge, prefix, None)) is not type(inner):
        raise _none(writer, spec)
    setattr(judge, prefix, inner)
    setattr(judge, HEAD, _head(head.in_features, config, spec, writer.device))
    return judge.train(writer.training)


def _head(width: int, config: Any, spec: RunSpec, device: torch.device) -> nn.Linear:
    made = nn.Linear(width, 1, bias=False)
    drawn = torch.randn(made.weight.shape, generator=torch.Generator().manual_seed(spec.run.seed))
    spread = getattr(config.get_text_config(), "initializer_range", None) or 0.02
    with torch.no_grad():
        made.weight.copy_(spread * drawn)
    return made.to(device)


def adapter_of(config: Any, revision: str | None) -> Any:
    """PEFT's config of the same adapter on a judge, whose head is trained whole beside it. revision: of the weights it
    lies on; whoever loads it later has nothing else to go by."""
    if config is None:
        return None
    made = copy.deepcopy(config)
    made.task_type, made.modules_to_save, made.revision = "SEQ_CLS", [HEAD], revision
    return made


def _none(writer: Any, spec: RunSpec) -> EngineError:
    return EngineError(Problem("stages.no_judge", "model.name", model=spec.model.name, kind=type(writer).__name__))

"""What of the fast update applies to a trainer, as far as it can be seen without trying."""

from __future__ import annotations

from typing import Any

from torch import nn

from trainer.fast import cache
from trainer.fast.saying import Why
from trainer.fast.unsloths import is_unsloths
from trainer.spec.choices import IN_BACKWARD


def why_not(trainer: Any) -> Why:
    """What applies to this trainer, as far as it can be seen without trying."""
    shared, skipped, ordered = _why_not_shared(trainer), None, None
    # Where Unsloth's trainer does not know the entropy terms at all, there are none.
    entropy = getattr(trainer, "_entropy_bonus_enabled", False) or getattr(trainer, "top_entropy_quantile", 1.0) < 1.0
    router = getattr(trainer, "aux_loss_enabled", False)
    if trainer.beta:
        skipped = "beta"  # every token is held to the reference, those of dead groups too
    elif entropy:
        skipped = "entropy"
    elif router:
        skipped = "router"
    elif is_unsloths(trainer) and trainer.loss_type == "bnpo":
        skipped = "unsloth"  # divides by the tokens of whichever rows it is given
    if trainer.loss_type == "bnpo" or entropy or router:
        ordered = "micro_batches"  # each is weighed by itself: which rows are in it changes the gradient
    return Why(shared, ordered, skipped)


def _why_not_shared(trainer: Any) -> str | None:
    model = trainer.accelerator.unwrap_model(trainer.model)
    text = model.config.get_text_config()
    if is_unsloths(trainer):
        return "unsloth"
    if trainer.use_liger_kernel:
        return "liger"
    if trainer.accelerator.num_processes > 1 or trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled:
        return "processes"
    if trainer.aux_loss_enabled:
        return "router"
    dropped = any(isinstance(module, nn.Dropout) and module.p > 0 for module in model.modules())
    if dropped or getattr(text, "attention_dropout", 0.0) > 0:
        return "dropout"  # TRL's rows drop other parts of one prompt
    if "logits_to_keep" not in trainer.model_kwarg_keys or cache.windows(model.config) is None:
        return "layers"
    if cache.turns_with_length(model.config):
        return "positions"
    if learns_positions(model):
        return "learned"
    layerwise = trainer.args.optim in IN_BACKWARD  # transformers has it as an enumeration of strings
    if is_reentrant(trainer.args):  # the gradient through the prompts would be missing, without a word
        return "untried" if layerwise else "reentrant"  # the check needs a backward pass, which would be a step
    if layerwise:
        return "layerwise"  # each weight is updated as soon as it has a gradient, and the prompts' comes last
    return None


def is_reentrant(args: Any) -> bool:
    return bool(args.gradient_checkpointing and (args.gradient_checkpointing_kwargs or {}).get("use_reentrant"))


def learns_positions(model: Any) -> bool:
    """From a table, as GPT-2: TRL gives no positions, and such a model then counts the padding before a prompt."""
    most = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    tables = [each for each in model.modules() if isinstance(each, nn.Embedding)]
    return any(each.num_embeddings == most and each is not model.get_input_embeddings() for each in tables)

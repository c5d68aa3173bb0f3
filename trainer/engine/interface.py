"""What every engine is given and gives back, and what it says when weights cannot be loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from trainer.errors import EngineError, Problem
from trainer.spec import RunSpec
from trainer.text import Message

Trying: TypeAlias = Callable[[Any], None]
"""Given the tokenizer before there are weights; raises what is wrong with it."""


@dataclass(frozen=True)
class Choice:
    """What `auto` became. dtype is the name of a torch dtype."""

    engine: str
    device: str
    dtype: str
    why: Message = field(default_factory=lambda: Message("plain.text", text=""))


@dataclass(frozen=True)
class Loaded:
    """A model for the trainer. peft_config is given to TRL, which attaches the adapter; None: the model is complete.

    source: what the weights were, for the manifest: Hub id and commit, or the folder's name.
    facts: of the engine, for env.json.
    """

    model: Any
    tokenizer: Any
    peft_config: Any | None
    source: str
    facts: dict[str, Any] = field(default_factory=dict)


def checked(tokenizer: Any, spec: RunSpec) -> Any:
    """The tokenizer. Raises EngineError when the data is chat and it has no chat template."""
    if spec.data.chat and not tokenizer.chat_template:
        raise EngineError(Problem("engine.no_chat_template", "model.name", model=spec.model.name))
    return tokenizer


def unloadable(spec: RunSpec, error: Exception) -> EngineError:
    """One line for what a library says when weights are not found, gated, half downloaded or of an unknown kind."""
    said = " ".join(str(error).split())[:400]
    missing = isinstance(error, OSError | ValueError)  # else a library failed at its work
    key = "engine.not_found" if missing else "engine.not_loaded"
    return EngineError(Problem(key, "model.name", model=spec.model.name, said=said))


def without_routers(model: Any) -> None:
    """Tell TRL that a model without experts has no load to balance.

    TRL 1.14.2 (GRPOTrainer.__init__) goes by `router_aux_loss_coef`, which dense Granite 4 has too; the loss that its
    forward pass then gives is the number 0, and the step fails on it.
    """
    config = model.config.get_text_config()
    if getattr(config, "num_local_experts", None) == 0:
        config.router_aux_loss_coef = 0.0

"""The adapter that training starts from, and the frozen copy of it that the KL term is held against.

TRL 1.14.2 (`_generate_and_score_completions`, with Unsloth's too) asks the adapter called `ref` for the reference where
a PEFT model has one, else the bare base model. TRL makes it of a PeftModel it is given; here TRL puts the adapter on
itself, and Unsloth takes that part of TRL out. So it is made here, before the first step, in the trained one's
precision: at step 0 the KL is 0 to the bit. It is never trained: PEFT's `set_adapter` gives gradients to the adapter
that is active, and TRL activates this one for the reference alone.

PEFT saves it beside the trained one, as `ref/` of a checkpoint.

With `grpo.ref_update_steps` the reference moves: between two rollout phases the policy's weights are copied into it,
for LoRA into the frozen adapter, for whole weights into TRL's `ref_model`, which a checkpoint then holds as well.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model, save_model
from transformers.trainer_callback import TrainerCallback

from trainer.run.checkpoints import ADAPTER, REFERENCE

TRAINED, REF = "default", "ref"


def take(model: Any, folder: Path) -> tuple[list[str], list[str]]:
    """Put the weights of the adapter in `folder` into the trained one of a PEFT model; names of those the file lacks,
    and of those the model has no place for. Raises what PEFT says of other shapes."""
    with same_precision(model):
        found = model.load_adapter(str(folder), TRAINED, is_trainable=True)
    return sorted(found.missing_keys), sorted(found.unexpected_keys)


def freeze_copy(model: Any) -> None:
    """Add the frozen adapter, with the weights that the trained one has now. Draws nothing from the random state."""
    if REF not in model.peft_config:
        devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
        with torch.random.fork_rng(devices=devices):
            model.add_adapter(REF, copy.deepcopy(model.peft_config[TRAINED]))
    for trained, frozen in pairs(model):
        frozen.data = trained.detach().clone()
        frozen.requires_grad_(False)


def pairs(model: Any) -> Iterator[tuple[Any, Any]]:
    """(weight of the trained adapter, the same of the frozen one), all of them."""
    named = dict(model.named_parameters())
    for name, parameter in named.items():
        if f".{TRAINED}." in name:
            yield parameter, named[name.replace(f".{TRAINED}.", f".{REF}.")]


def is_saved_in(checkpoint: Path) -> bool:
    """Then transformers 5.17 (`_load_from_checkpoint`) loads this one alone, and leaves the trained one as it is."""
    return (checkpoint / REF / ADAPTER).is_file()


class same_precision:
    """What is loaded inside gets the precision that the weights had before: PEFT casts adapters to float32, TRL trains
    those of a quantised model in bfloat16. A frozen weight that is new gets its trained twin's."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def __enter__(self) -> None:
        self.dtypes = {name: parameter.dtype for name, parameter in self.model.named_parameters()}

    def __exit__(self, *error: object) -> None:
        for name, parameter in self.model.named_parameters():
            frozen = f".{REF}." in name
            if parameter.requires_grad or frozen:
                twin = name.replace(f".{REF}.", f".{TRAINED}.") if frozen else name
                parameter.data = parameter.data.to(self.dtypes[name if name in self.dtypes else twin])


class Moving(TrainerCallback):
    """After each `every` optimizer steps the reference becomes the policy as it is; a save comes after that."""

    def __init__(self, trainer: Any, every: int) -> None:
        self.trainer, self.every = trainer, every
        if trainer.ref_model is None:
            freeze_copy(trainer.model)

    def step(self, now: int) -> int:
        """Whose weights the reference had while optimizer step `now` was made; 0 is the start."""
        return (now - 1) // self.every * self.every

    def on_step_end(self, args: Any, state: Any, *others: Any, **kwargs: Any) -> None:
        if state.global_step % self.every == 0:
            with torch.no_grad():
                self.move()

    def move(self) -> None:
        unwrap = self.trainer.accelerator.unwrap_model
        if self.trainer.ref_model is None:
            for trained, frozen in pairs(unwrap(self.trainer.model)):
                frozen.copy_(trained)
            return
        policy = dict(unwrap(self.trainer.model).named_parameters())
        for name, frozen in unwrap(self.trainer.ref_model).named_parameters():
            frozen.copy_(policy[name])

    def save(self, folder: Path) -> None:
        """Whole weights; an adapter is saved by PEFT."""
        if self.trainer.ref_model is not None:
            save_model(self.trainer.accelerator.unwrap_model(self.trainer.ref_model), str(folder / REFERENCE))

    def load(self, folder: Path) -> None:
        """Raises OSError and what safetensors says where the file is not the reference's."""
        if self.trainer.ref_model is not None:
            load_model(self.trainer.accelerator.unwrap_model(self.trainer.ref_model), str(folder / REFERENCE))

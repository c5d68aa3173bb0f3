"""A model that judges, held in the process of the model that is trained: loading it and batches for it.

Imports torch and transformers only inside functions.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainer.errors import Problem, RewardError

ADAPTER_CONFIG = "adapter_config.json"  # as PEFT saves it
NOT_USED = ("pooler", "position_ids")
"""Weights a checkpoint may lack: no reward here reads the pooler of an encoder, and position ids are counted anew."""


def pick_device(asked: str) -> str:
    """`auto` is the GPU if torch sees one. Raises RewardError where a GPU was asked for and there is none."""
    import torch

    has_gpu = torch.cuda.is_available()
    if asked == "auto":
        return "cuda" if has_gpu else "cpu"
    if asked.startswith("cuda") and not has_gpu:
        raise RewardError(Problem("rewards.no_gpu", device=asked))
    return asked


def local(name: str) -> Path:
    """The folder of that name, whether or not it is there."""
    return Path(os.path.expanduser(name) if name.startswith("~") else name)


def load(kind: str, name: str, revision: str | None, device: str, dtype: Any, trust_remote_code: bool = False) -> Any:
    """(model, tokenizer), the model in eval mode, without gradients and on the device.

    kind: the class of transformers, `AutoModel` or `AutoModelForSequenceClassification`. name: Hub id or local folder.
    Random numbers drawn while loading are put back, so that a run with a reward model samples as one without.
    Raises RewardError when it cannot be loaded, or when the checkpoint lacks weights: transformers would fill them
    with random numbers, and a random head gives random rewards.
    """
    import torch
    import transformers

    name = str(local(name))
    options: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    try:
        with torch.random.fork_rng(devices=devices):
            tokenizer = transformers.AutoTokenizer.from_pretrained(name, **options)
            loader = getattr(transformers, kind)
            options |= {"dtype": dtype, "device_map": {"": device}, "output_loading_info": True}
            if (local(name) / ADAPTER_CONFIG).is_file():
                from peft import PeftConfig

                config = PeftConfig.from_pretrained(name)
                options |= {"revision": config.revision}
                model, report = adapted(loader, name, config.base_model_name_or_path, tokenizer, options)
                model = model.merge_and_unload()
            else:
                model, report = loader.from_pretrained(name, **options)
    except torch.OutOfMemoryError:
        raise  # advice on memory is given elsewhere
    except Exception as error:  # of any of the libraries that read configs, weights and vocabularies
        said = " ".join(str(error).split())[:300]
        raise RewardError(Problem("rewards.not_loaded", name=name, said=said)) from error
    missing = sorted(key for key in report["missing_keys"] if not any(part in key for part in NOT_USED))
    if missing:
        raise RewardError(Problem("rewards.weights_missing", name=name, missing=", ".join(missing[:3]), kind=kind))
    return model.eval().requires_grad_(False), tokenizer


def adapted(loader: Any, name: str, base: str, tokenizer: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """A reward model that was trained as an adapter in the folder `name`, on the weights it was trained on, `base`; of
    these the head is not among the missing ones. Raises ValueError where the adapter does not fit them."""
    from peft import PeftModel, get_peft_model_state_dict
    from peft.utils import SAFETENSORS_WEIGHTS_NAME
    from safetensors import safe_open

    with safe_open(local(name) / SAFETENSORS_WEIGHTS_NAME, "pt") as file:
        shapes = {key: file.get_slice(key).get_shape() for key in file.keys()}  # noqa: SIM118  # no dictionary
    labels = next((shape[0] for key, shape in shapes.items() if ".lora_" not in key), 1)
    below, report = loader.from_pretrained(base, num_labels=labels, **options | {"output_loading_info": True})
    model = PeftModel.from_pretrained(below, name, torch_device=str(below.device))
    lost = (
        shapes.keys() ^ get_peft_model_state_dict(model).keys()
    )  # PEFT leaves out in silence what it has no place for
    if lost:
        raise ValueError(f"{len(lost)} weights of the adapter have no place in {base}, the first: {min(lost)}")
    own = set(model.peft_config["default"].modules_to_save or ())
    missing = [key for key in report["missing_keys"] if key.partition(".")[0] not in own]
    model.get_base_model().config.get_text_config().pad_token_id = tokenizer.pad_token_id
    return model, {"missing_keys": missing}


def longest_input(model: Any) -> int | None:
    """Tokens the model has positions for; None where its config sets no bound."""
    positions: int | None = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    table = getattr(getattr(model.base_model, "embeddings", None), "position_embeddings", None)
    before = getattr(table, "padding_idx", None)  # RoBERTa counts positions from the padding's id on
    return positions if positions is None or before is None else positions - before - 1


def by_length(ids: Sequence[Sequence[int]], batch_size: int) -> list[list[int]]:
    """Rows of each batch, longest first: neighbours of one length need little padding."""
    order = sorted(range(len(ids)), key=lambda row: -len(ids[row]))
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def padded(ids: Sequence[Sequence[int]], filler: int, device: str) -> dict[str, Any]:
    """`input_ids` and `attention_mask`, both [rows, longest], padded on the right: no position of a text moves."""
    import torch

    longest = max(len(row) for row in ids)
    tokens = [[*row, *[filler] * (longest - len(row))] for row in ids]
    mask = [[1] * len(row) + [0] * (longest - len(row)) for row in ids]
    return {"input_ids": torch.tensor(tokens, device=device), "attention_mask": torch.tensor(mask, device=device)}

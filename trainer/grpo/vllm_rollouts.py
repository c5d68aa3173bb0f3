"""Completions by vLLM in the training process (`trl.use_vllm`), from exactly the policy that is trained.

TRL 1.14.2 makes its `VLLMGeneration` (trl/generation/vllm_generation.py) in `GRPOTrainer.__init__`, which makes a
`vllm.LLM` in `_init_vllm` and brings the weights over in `sync_weights`. `Rollouts` extends it where that falls short:

precision   TRL passes none, and vLLM's "auto" made bfloat16 of a float32 policy.
revision    TRL passes none: vLLM would read the newest weights of the Hub, whatever was trained.
LoRA        TRL merges the adapter into the weights at each sync and takes it out again, which rounds them more and
            more and is wrong for weights in 4 bit. Here vLLM keeps the base weights as they are: a sync saves the
            adapter, and every request names the newest one (`LoRARequest`).
CPU         vLLM would compile for minutes, take most of the machine's memory, and keep packed weights only, into which
            nothing can be loaded again.

Unsloth has a way of its own (model.fast_inference).
"""

from __future__ import annotations

import functools
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, get_args

import torch
from accelerate.utils import is_peft_model
from trl.generation import vllm_generation
from trl.trainer import grpo_trainer

from trainer.grpo.reference import TRAINED
from trainer.memory import GIB, vllm_cpu_cache_gib
from trainer.memory.families import from_config


class Rollouts(vllm_generation.VLLMGeneration):  # type: ignore[misc]  # Any: TRL is not read by mypy
    """TRL's generation by vLLM. autocast: what the policy computes in, None for the precision of its weights; folder:
    where the adapter is saved for a moment."""

    def __init__(self, model: Any, *args: Any, autocast: torch.dtype | None, folder: Path, **kwargs: Any) -> None:
        self.dtype, self.folder = autocast or model.dtype, folder
        self.by_request = is_peft_model(model)
        self.request: Any = None
        super().__init__(model, *args, **kwargs)

    def _init_vllm(self) -> None:
        if self.mode != "colocate":
            super()._init_vllm()
            return
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")  # else it reports model and machine to its makers
        os.environ.setdefault("MASTER_PORT", str(_free_port()))  # two runs that start together take one of TRL's four
        unpacked = _unpacked_on_a_cpu if _on_cpu() and not self.by_request else nullcontext
        made = functools.partial(vllm_generation.LLM, **self._options())
        with _replaced(vllm_generation, "LLM", made), unpacked(), _nothing_preloaded():
            super()._init_vllm()

    def _options(self) -> dict[str, Any]:
        """Arguments of `vllm.LLM` that TRL does not pass."""
        options: dict[str, Any] = {
            "dtype": str(self.dtype).removeprefix("torch."),
            "revision": getattr(self.model.config, "_commit_hash", None),
        }
        if self.by_request:
            options |= {"enable_lora": True, "max_loras": 1, "max_lora_rank": _room_for(self._rank())}
        if _on_cpu():
            options |= {"enforce_eager": True} | self._cpu_cache()
        return options

    def _cpu_cache(self) -> dict[str, int]:
        """Room for the rows that may be under way at once; a share of the machine's memory where sizes are not known.
        A person's own VLLM_CPU_KVCACHE_SPACE comes first in vLLM."""
        shape = from_config(self.model.config.to_dict(), source="")
        if shape is None or not self.max_model_length:
            return {}
        gib = vllm_cpu_cache_gib(shape, self.max_num_seqs, self.max_model_length, self.dtype.itemsize)
        return {"kv_cache_memory_bytes": round(gib * GIB)}

    def _rank(self) -> int:
        rank: int = self.model.peft_config[TRAINED].r
        return rank

    def sync_weights(self) -> None:
        """Bring the policy over: an adapter under a new number, else all weights as TRL does."""
        if not self.by_request:
            super().sync_weights()
            return
        from vllm.lora.request import LoRARequest

        before = self.request.lora_int_id if self.request else 0
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder, prefix="adapter_for_vllm_") as folder:
            self.model.save_pretrained(folder, save_embedding_layers=False, selected_adapters=[TRAINED])
            self.request = LoRARequest(f"sync {before + 1}", before + 1, folder)
            if before:
                self.llm.llm_engine.remove_lora(before)
            self.llm.llm_engine.add_lora(self.request)  # reads it: with room for one adapter, none is read again
        self.llm.reset_prefix_cache()
        # TRL's `generate` calls this with prompts and sampling parameters only.
        self.llm.generate = functools.partial(type(self.llm).generate, self.llm, lora_request=self.request)


@contextmanager
def in_place_of_trls(args: Any) -> Iterator[None]:
    """Inside, GRPOTrainer makes `Rollouts` where it would make TRL's own. args: its GRPOConfig."""
    autocast = torch.bfloat16 if args.bf16 else torch.float16 if args.fp16 else None
    made = functools.partial(Rollouts, autocast=autocast, folder=Path(args.output_dir))
    with _replaced(grpo_trainer, "VLLMGeneration", made):
        yield


def _room_for(rank: int) -> int:
    """The smallest rank of those that vLLM makes room for."""
    from vllm.config.lora import MaxLoRARanks

    rooms: tuple[int, ...] = get_args(MaxLoRARanks)
    return min(room for room in rooms if room >= rank)


def _on_cpu() -> bool:
    from vllm.platforms import current_platform

    on_cpu: bool = current_platform.is_cpu()
    return on_cpu


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def _unpacked_on_a_cpu() -> Iterator[None]:
    """Linear layers keep their weights: vLLM packs them for its CPU kernels and drops what they were made of
    (vllm/model_executor/layers/utils.py, vLLM 0.30)."""
    from vllm.model_executor.layers import utils

    def keep(layer: Any, remove_weight: bool) -> None:
        layer.cpu_linear = torch.nn.functional.linear

    with _replaced(utils, "dispatch_cpu_unquantized_gemm", keep):
        yield


@contextmanager
def _nothing_preloaded() -> Iterator[None]:
    """On a CPU vLLM names libraries that every process after it would have to load (LD_PRELOAD); in this one it is too
    late, and a sandbox has none of them."""
    before = os.environ.get("LD_PRELOAD")
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("LD_PRELOAD", None)
        else:
            os.environ["LD_PRELOAD"] = before


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)

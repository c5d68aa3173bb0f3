"""Variables of a shell that would decide how a model is trained, behind the settings' back.

Left by a launcher, a scheduler or a search for a fault: accelerate 1.15 (state.py, utils/dataclasses.py), transformers
5.17 (training_args.py) and torch 2.13 read them and ask nobody. What people set for this very machine stays: which GPU,
caches, tokens, threads, memory allocation, logging. accelerate's default_config.yaml is read by `accelerate launch`
alone, which sets its variables itself, after these are gone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

LEFT_OUT = "TRAINER_LEFT_OUT"
"""The variable with the names of what was taken out: between our own processes, for the worker to say."""

_BEGINNINGS = (
    "ACCELERATE_",
    "DEEPSPEED_",
    "FSDP_",
    "MEGATRON_LM_",
    "PARALLELISM_CONFIG_",
    "MPI_LOCAL",
    "MV2_COMM_WORLD_",
    "OMPI_COMM_WORLD_",
    "PMI_",
    "SMDATAPARALLEL_",
    "TORCHELASTIC_",
    "TORCH_DISTRIBUTED_",
)
_NAMES = {
    # processes: torchrun, accelerate, SageMaker, TPU hosts
    *("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "NODE_RANK", "NPROC", "GROUP_RANK", "GROUP_WORLD_SIZE"),
    *("ROLE_RANK", "ROLE_NAME", "ROLE_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "FORK_LAUNCHED"),
    *("SM_FRAMEWORK_PARAMS", "SM_HP_MP_PARAMETERS", "USE_TORCH_XLA", "PJRT_DEVICE", "TPU_NAME"),
    *("XLA_USE_BF16", "XLA_DOWNCAST_BF16"),
    # a search for a fault: every kernel is waited for, every allocation goes to the driver
    *("CUDA_LAUNCH_BLOCKING", "HIP_LAUNCH_BLOCKING", "TORCH_CUDA_SANITIZER", "PYTORCH_NO_CUDA_MEMORY_CACHING"),
    # the precision of a matrix product
    *("NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"),
    *("ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE"),
}


def without(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without them; under LEFT_OUT the names of what it held, or held before."""
    found = {name for name in environment if name in _NAMES or name.startswith(_BEGINNINGS)}
    kept = {name: value for name, value in environment.items() if name not in found}
    names = sorted(found.union(left_out(environment)))
    return kept | {LEFT_OUT: ",".join(names)} if names else kept


def left_out(environment: Mapping[str, str]) -> list[str]:
    """Names of the variables that `without` took out."""
    return [name for name in environment.get(LEFT_OUT, "").split(",") if name]


def clear() -> None:
    """Take them out of this process, before torch looks."""
    kept = without(os.environ)
    for name in os.environ.keys() - kept.keys():
        del os.environ[name]
    os.environ.update(kept)

"""What a device says when it has no memory left. Torch-free."""

from __future__ import annotations

import re

# What PyTorch, cuBLAS, cuDNN, Triton and the CPU's allocator say; class names tell less (most are RuntimeError).
SAID = re.compile(
    r"out of memory|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED|DefaultCPUAllocator: can't allocate memory"
    r"|No available memory for the cache blocks",
    re.IGNORECASE,
)


def is_out_of_memory(error: BaseException) -> bool:
    """Has a device refused memory? Also when the error was raised `from` that one.

    Not the machine's own MemoryError: a smaller micro-batch on the GPU would not help it.
    """
    if isinstance(error, RuntimeError | ValueError) and SAID.search(str(error)):
        return True
    return error.__cause__ is not None and is_out_of_memory(error.__cause__)


def shortened(error: BaseException) -> str:
    """What the device said and how much it was asked for, without the advice that PyTorch adds."""
    sentences = " ".join(str(error).split()).split(". ")
    first = next((number for number, text in enumerate(sentences) if SAID.search(text)), 0)
    return ". ".join(sentences[first : first + 2])[:240].rstrip(".")

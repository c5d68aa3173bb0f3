"""Terms of one phase: activations and logits of the update; KV cache, prompt reading and vLLM of generation.

Pure functions of a Load, one a term, each with its source.
"""

from __future__ import annotations

import math

from trainer.memory.load import GIB, Load
from trainer.memory.shapes import Layers, ModelShape
from trainer.memory.static import weights_gib

# TRL 1.14.2 with use_liger_kernel: _CHUNKED_LOGPROB_CHUNK_SIZE of grpo_trainer.py.
LIGER_CHUNK_TOKENS = 8192
# unsloth_zoo 2026.10.7, vllm_utils.py `load_vllm`, for vLLM 0.11 and later: with standby the share
# is this fraction of the GPU, by its size in GiB, whatever gpu_memory_utilization says.
STANDBY_SHARE = ((40.0, 0.925), (25.0, 0.9), (20.0, 0.825), (14.0, 0.8), (10.0, 0.775), (0.0, 0.75))
STANDBY_FACTOR = 0.95  # of that share, in the same function
# Resident memory of a worker that has imported vLLM 0.30.0 for the CPU and started it with no weights to speak of,
# beyond PROCESS_GIB: measured on Linux, torch 2.13.0, 2026-11-30.
VLLM_CPU_LIBRARIES_GIB = 0.13
VLLM_CPU_BLOCK_TOKENS = 128  # vllm/platforms/cpu.py `check_and_update_config`
CACHE_ROOM_TOKENS = 64  # trainer/fast/growing.py `ROOM`: kept free behind the tokens of a cache that grows


# ---- the update


def layer_activations_gib(load: Load, kind: Layers, rows: int, tokens: int) -> float:
    """Tensors one decoder layer keeps for its backward pass.

    Source: counted from transformers' decoder layers in the manner of arXiv 2205.05198, section 4: two norms with their
    float32 copies and the residuals (10 x hidden), what attention or its substitute mixes (`kind.mixed`: queries, keys,
    values and the output), and six MLP tensors (gate, up, activation, product and two gradients). Eager attention adds
    the score matrix in compute precision and in float32; sdpa and flash attention do not keep it.
    """
    # Numbers a token, so a tensor of (B, T, width); scores are (B, heads, T, T).
    width = 10 * load.shape.hidden + kind.mixed + 6 * kind.mlp
    values = rows * tokens * width * load.compute_bytes
    scores = rows * kind.heads * tokens * tokens * (load.compute_bytes + 4) if load.eager_attention else 0
    return (values + scores) / GIB


def activations_gib(load: Load) -> float:
    """What the update's forward pass keeps for the backward pass.

    Source: arXiv 1604.06174: with checkpointing each layer keeps its input only, plus one layer's
    tensors while it is recomputed. Unsloth's mode moves the inputs to main memory
    (unsloth_zoo/gradient_checkpointing.py, two GPU buffers): one layer's tensors and two inputs stay.
    """
    if load.micro_prompts is not None:
        return shared_activations_gib(load)
    each = [(kind.count, layer_activations_gib(load, kind, load.micro_batch, load.tokens)) for kind in load.shape.kinds]
    if not load.gradient_checkpointing:
        return sum(count * gib for count, gib in each)
    inputs = load.micro_batch * load.tokens * load.shape.hidden * load.compute_bytes / GIB  # (B, T, hidden) a layer
    kept = 2 if load.gradient_checkpointing == "unsloth" else load.shape.layers
    return max(gib for _, gib in each) + kept * inputs


def shared_activations_gib(load: Load) -> float:
    """The same where each prompt is computed once (trainer/fast): of U (P + T) and B T tokens in place of B (P + T).

    Source: counted from trainer/fast, compared with runs of a Llama of 12 layers on a CPU (1 to 4 prompts of 512
    tokens, 8 completions of 64, with and without checkpointing and grouped heads: 0.9 to 1.4 times what was measured,
    as without sharing). Attention reads the prompt's keys and values in front of a row's own: joined to (B, P + T), and
    repeated for every head, because such a mask excludes grouped attention; it keeps both. Where a micro-batch has
    several prompts, each row is given a copy of its own before, for all layers. Checkpointing keeps these copies for
    the replay, and beside them keys, values and their gradients of all prompts.
    """
    rows, tokens, opened = load.micro_batch, load.completion_tokens, load.open_prompts
    kept = largest = 0.0
    passed = 1 - 1 / sum(kind.count for kind in load.shape.kinds)  # a pass over a prompt ends in the last layer
    for kind in load.shape.kinds:
        seen = load.prompt_tokens if kind.window is None else min(load.prompt_tokens, kind.window)
        queries = kind.mixed / 2 - kind.kv_width
        joined = rows * ((seen + tokens) * 2 * queries - tokens * 2 * kind.kv_width)  # in place of the row's own
        scores = rows * kind.heads * tokens * seen if load.eager_attention else 0
        of_rows = layer_activations_gib(load, kind, rows, tokens)
        of_rows += (joined * load.compute_bytes + scores * (load.compute_bytes + 4)) / GIB
        of_prompts = passed * layer_activations_gib(load, kind, opened, load.prompt_tokens)
        copies = rows * seen * 2 * kind.kv_width if load.micro_prompts and load.micro_prompts > 1 else 0
        if load.gradient_checkpointing:
            inputs = (opened * load.prompt_tokens + rows * tokens) * load.shape.hidden
            prompts = 2 * opened * load.prompt_tokens * 2 * kind.kv_width
            kept += kind.count * (inputs + prompts + copies) * load.compute_bytes / GIB
            largest = max(largest, of_rows, of_prompts)
        else:
            kept += kind.count * (of_rows + of_prompts + copies * load.compute_bytes / GIB)
    return kept + largest


def logits_gib(load: Load) -> float:
    """Logits in the update, by the loss that is used."""
    return unsloth_logits_gib(load) if load.unsloth else trl_logits_gib(load)


def trl_logits_gib(load: Load) -> float:
    """Logits of the completion tokens and their gradient.

    Source: TRL 1.14.2 `_full_logits_logps`: the whole (micro-batch, completion, vocabulary) block.
    accelerate hands it over in float32; it is kept together with its gradient in float32 and, in
    16-bit training, in 16 bit: 10 bytes (8 in float32), and 4 more for the copy made when the
    temperature is not 1. The log-probability of old and reference policy use the same block
    before, without gradient. With use_liger_kernel only a chunk of tokens.
    """
    # (B, T, V): T of the completion only, `logits_to_keep`
    tokens = load.micro_batch * (load.tokens if load.prompt_logits else load.completion_tokens)
    tokens = min(tokens, LIGER_CHUNK_TOKENS) if load.liger else tokens
    bytes_each = (10 if load.compute_bytes == 2 else 8) + (4 if load.temperature_scaled else 0)
    return tokens * load.shape.vocab * bytes_each / GIB


def unsloth_logit_tokens(load: Load) -> int:
    """Tokens of one sequence whose logits are made: the completion, and before it as many as the prompts differ.

    Source: `grpo_accumulated_loss` takes the last `logits_to_keep + max_left_pad` positions. Prompts
    of one generation batch may differ by nearly max_prompt_length: the upper bound.
    """
    return load.completion_tokens if load.one_prompt else load.tokens


def unsloth_chunk_tokens(load: Load) -> int:
    """Tokens of one chunk of logits: a row is cut into 4 pieces, or one a 4096 tokens of the sequence."""
    pieces = max(4, load.tokens // 4096)
    return -(-unsloth_logit_tokens(load) // pieces)


def unsloth_logits_gib(load: Load) -> float:
    """Logits as Unsloth makes them from hidden states, chunk after chunk.

    Source: unsloth_zoo 2026.10.7, rl_replacements.py: `grpo_accumulated_loss` calls
    `chunked_hidden_states_selective_log_softmax`, compiled. Its forward pass multiplies each chunk
    with the output embedding and reduces it to one number a token. Autograd keeps the product of
    every chunk in compute precision (torch's partitioner never repeats a matrix product); the
    float32 copy and the gradient are there for one chunk at a time.
    UNSLOTH_GRPO_LOGPROB_RECOMPUTE=1, off by default, would keep one chunk only. The passes without
    gradient (old and reference policy) size themselves by the memory that is free and are not
    counted.
    """
    kept = load.micro_batch * unsloth_logit_tokens(load) * load.compute_bytes
    working = unsloth_chunk_tokens(load) * (load.compute_bytes + 4)
    return (kept + working) * load.shape.vocab / GIB


# ---- generation


def cache_bytes(load: Load, tokens: int) -> int:
    """What one sequence of `tokens` keeps from token to token: keys and values, and the states of layers that do not
    attend, which are float32 whatever the weights are (transformers 5.17: modeling_qwen3_5.py, `recurrent_state`)."""
    return load.shape.kv_values(tokens) * load.compute_bytes + load.shape.state_values() * 4


def kv_cache_gib(load: Load, rows: int) -> float:
    """Keys, values and states of `rows` sequences at full length.

    Source: transformers' DynamicCache keeps 2 x layers x kv_heads x head_dim numbers a token; its
    sliding-window layers keep the last `sliding_window` tokens only, layers that do not attend a state of one size.
    """
    room = 0 if load.prompts_read is None else CACHE_ROOM_TOKENS
    return rows * cache_bytes(load, load.tokens + room) / GIB


def prefill_gib(load: Load, rows: int) -> float:
    """Reading all prompts at once before the first token: one layer's tensors without backward, and last logits.

    Source: transformers' generate runs the whole prompt of every row in one forward pass. Without
    a backward pass the residual, its normed copy and the two widest MLP tensors are alive at once.
    """
    shape = load.shape
    width = 4 * shape.hidden + 3 * max(kind.mlp for kind in shape.kinds)
    values = rows * load.prompt_tokens * width * load.compute_bytes
    return (values + rows * shape.vocab * 8) / GIB


def vllm_share(total_gib: float, utilization: float, standby: bool) -> float:
    """Fraction of a GPU of `total_gib` that vLLM takes, weights included.

    Source: unsloth_zoo 2026.10.7, vllm_utils.py `load_vllm`: with standby the share follows from the
    size of the GPU, and gpu_memory_utilization is set to it.
    """
    if not standby:
        return utilization
    return STANDBY_FACTOR * next(share for least, share in STANDBY_SHARE if total_gib >= least)


def vllm_weights_gib(load: Load) -> float:
    """The weights as vLLM holds them: those of a model that is trained whole are in compute precision there.

    Source: TRL 1.14.2 asks for the format of the policy's base weights (`VLLMGeneration._init_vllm`), and
    trainer/grpo/vllm_rollouts.py for its precision.
    """
    return weights_gib(load) if load.lora_rank else load.shape.params() * load.compute_bytes / GIB


def vllm_cpu_cache_gib(shape: ModelShape, rows: int, tokens: int, bytes_each: int) -> float:
    """KV cache that vLLM is given on a CPU: for all rows at full length (trainer/grpo/vllm_rollouts.py).

    Source: vLLM 0.30 keeps it in blocks of tokens, one of them always empty, for layers with a sliding window too.
    """
    blocks = rows * math.ceil(tokens / VLLM_CPU_BLOCK_TOKENS) + 1
    token = sum(2 * kind.count * kind.kv_width for kind in shape.kinds) * bytes_each
    return (blocks * VLLM_CPU_BLOCK_TOKENS * token + rows * shape.state_values() * 4) / GIB


def vllm_gib(load: Load) -> float:
    """What vLLM takes beyond the weights it shares with training.

    Never less than the KV cache of one sequence, without which it does not start; on an unknown
    GPU that is all that is counted.
    """
    assert load.vllm is not None
    own = vllm_weights_gib(load) if load.vllm.own_weights else 0.0
    sequence = kv_cache_gib(load, 1)
    if not load.on_gpu:
        cache = vllm_cpu_cache_gib(load.shape, load.generation_rows, load.tokens, load.compute_bytes)
        return own + cache + VLLM_CPU_LIBRARIES_GIB
    if load.gpu_total_gib is None:
        return own + sequence
    share = vllm_share(load.gpu_total_gib, load.vllm.utilization, load.vllm.standby)
    shared = 0.0 if load.vllm.own_weights else weights_gib(load)
    return max(own + sequence, share * load.gpu_total_gib - shared)


def vllm_starts(load: Load) -> bool:
    """Whether vLLM's share holds the weights and the KV cache of one sequence; it refuses to start otherwise."""
    if load.vllm is None or load.gpu_total_gib is None or not load.on_gpu:
        return True
    share = vllm_share(load.gpu_total_gib, load.vllm.utilization, load.vllm.standby)
    weights = vllm_weights_gib(load) if load.vllm.own_weights else weights_gib(load)
    return share * load.gpu_total_gib >= weights + kv_cache_gib(load, 1)

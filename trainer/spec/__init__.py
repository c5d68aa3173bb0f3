"""RunSpec: everything a person can choose about a run, validated before anything heavy is imported.

A preset (TOML) plus `--set section.key=value` becomes one frozen RunSpec. Every field has a type, a bound and a
sentence with its unit and the meaning of 0 and None. A field that carries the name of a `GRPOConfig` argument of TRL
*is* that argument; every other argument of TRL is set by its own name in the section `[trl]`.

Imports pydantic and the standard library only. Knows nothing about files of a run, devices or trainers.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from trainer.spec.chain import Chain
from trainer.spec.data import Data, FewShot, Instruction
from trainer.spec.episode import Episode
from trainer.spec.methods import METHODS, SAMPLING, SUPERVISED, Dpo, Method, RewardModel, Rft, Run, Sft
from trainer.spec.reward import SUM, Component, Reward
from trainer.spec.sampling import Sampling
from trainer.spec.section import Section

__all__ = [
    "FIXED", "METHODS", "RECORDS", "SET_ELSEWHERE", "SUM", "Chain", "Checkpoint", "Component", "Data", "Dpo",
    "Episode", "Eval", "FewShot", "Generation", "Grpo", "Instruction", "Log", "Lora", "Method", "Model", "Optim",
    "Reward", "RewardModel", "Rft", "Run", "RunSpec", "Sampling", "Section", "Sft", "WarmStart", "training_arguments",
    "trl_homes", "trl_table",
]  # fmt: skip

RECORDS = frozenset({"chain"})
"""Sections that the project writes and no person."""
Scalar = bool | int | float | str
TRL_TABLE = Path(__file__).with_name("trl_arguments.json")
TRAINING_LIST = Path(__file__).with_name("training_arguments.json")

# Arguments of GRPOConfig that a key of ours decides, each with that key. [trl] refuses them.
SET_ELSEWHERE = {
    "output_dir": "--name",
    "run_name": "--name",
    "resume_from_checkpoint": "--resume",
    "use_cpu": "model.device",
    "bf16": "model.dtype",
    "fp16": "model.dtype",
    "report_to": "log.mirrors",
    "eval_strategy": "eval.eval_steps",
    "eval_steps": "eval.eval_steps",
    "eval_on_start": "eval.at_start",
    "model_init_kwargs": "model.attn_implementation",
    "reward_weights": "reward.components",
    "hub_token": "$HF_TOKEN",
}
# Arguments with one right value here, each with the key of the text that says why. [trl] refuses any other value.
FIXED: dict[str, tuple[Scalar, str]] = {
    "logging_strategy": ("steps", "spec.fixed.one_event_a_step"),
    "logging_steps": (1, "spec.fixed.one_event_a_step"),
    "logging_first_step": (True, "spec.fixed.one_event_a_step"),
    "logging_nan_inf_filter": (False, "spec.fixed.nan_is_seen"),
    "disable_tqdm": (True, "spec.fixed.log_is_a_file"),
    "save_strategy": ("steps", "spec.fixed.saved_between_phases"),
    "save_only_model": (False, "spec.fixed.saved_whole"),
    "enable_jit_checkpoint": (False, "spec.fixed.not_inside_a_step"),
    "sync_ref_model": (False, "spec.fixed.reference_stays"),
    "load_best_model_at_end": (False, "spec.fixed.last_weights"),
    "auto_find_batch_size": (False, "spec.fixed.whole_groups"),
    "push_to_hub": (False, "spec.fixed.saved_here"),
    "remove_unused_columns": (False, "spec.fixed.columns_stay"),
}


class WarmStart(Section):
    """Supervised training before GRPO. Only for a model that starts from random weights."""

    path: str
    """File as `data.path`, with the columns that prompt and `completion_template` name; held-out rows are left out."""
    completion_template: str = "{answer}"
    """What the model should write for a row; `{column}` is replaced."""
    steps: Annotated[int, Field(ge=0)] = 100
    """Optimizer steps; 0 leaves the weights random."""
    batch_size: Annotated[int, Field(ge=1)] = 64
    """Rows per step."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 3e-3
    """Learning rate of AdamW, reached after 20 steps."""
    until_loss: Annotated[float, Field(ge=0)] = 0.0
    """Stop early once the mean loss of five steps is below this (nats a token); 0 never stops early."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Seed of the initial weights and of the row order: the same seed gives the same weights."""


class Model(Section):
    """Which weights are trained, in which precision, by which engine."""

    name: str
    """Hub id, local folder, `builtin/smollm2-135m` (fetched once) or `builtin/tiny-qwen3` (made on this machine)."""
    revision: str | None = None
    """Commit of the Hub repository; empty takes its newest."""
    engine: Literal["auto", "transformers", "unsloth"] = "auto"
    """`auto` takes Unsloth where it and an NVIDIA GPU are, else plain transformers with PEFT."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes the GPU if there is one."""
    cpu_threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Threads torch computes with on the CPU; empty takes every core."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Compute precision; `auto` is bfloat16 on a GPU that has it, else float32. Trained whole weights stay float32."""
    load_in_4bit: bool = False
    """NF4 weights through bitsandbytes (QLoRA): about 0.55 bytes a weight instead of 2."""
    double_quant: bool = True
    """Quantise the NF4 scales as well: 0.37 bits a weight less."""
    attn_implementation: Literal["eager", "sdpa", "flash_attention_2"] | None = None
    """Empty lets transformers choose."""
    gradient_checkpointing: bool | Literal["unsloth"] = True
    """Recompute activations in the backward pass: less memory, about 30 % more time."""
    fast_inference: bool = False
    """vLLM writes the completions from the same weights in GPU memory (Unsloth; Linux; vllm must be installed)."""
    gpu_memory_utilization: Annotated[float, Field(gt=0, lt=1)] = 0.6
    """Share of the GPU that vLLM takes, weights included; only with fast_inference."""
    standby: bool = True
    """vLLM gives its KV cache back while the weights are trained; only with fast_inference."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model. Only for a repository you have read."""
    max_seq_length: Annotated[int, Field(ge=1)] | None = None
    """Bound on prompt and completion together, in tokens; a longer plan is refused. Empty is no bound."""
    adapter: str | None = None
    """Adapter that is trained further, and the reference where beta > 0: a folder, a Hub id, or `run:NAME@best`,
    `@latest`, `@20`; `run:NAME` is its best, unevaluated its latest checkpoint. Empty starts a new one."""
    warm_start: WarmStart | None = None
    """Supervised training of a built-in model at its first use; the result is cached."""


class Lora(Section):
    """Low-rank adapters; with `enabled = false` all weights are trained."""

    enabled: bool = True
    """Train adapters only, or everything."""
    r: Annotated[int, Field(ge=1, le=1024)] = 16
    """Rank; more rank, more that can be learnt, more memory."""
    alpha: Annotated[float, Field(gt=0)] = 16
    """Scale: the adapter's output is multiplied by alpha / r."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout inside the adapter; above 0 it makes the log-probabilities noisy."""
    target_modules: str | list[str] = "all-linear"
    """Names of the linear layers that get an adapter, or `all-linear`."""


class Generation(Section):
    """How completions are sampled."""

    num_generations: Annotated[int, Field(ge=2, le=1024)] = 8
    """G, completions per prompt: one group."""
    max_completion_length: Annotated[int, Field(ge=1)] = 512
    """Tokens after which a completion is cut."""
    temperature: Annotated[float, Field(gt=0, le=10)] = 1.0
    """1 samples from the policy itself, which the advantage assumes."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Below 1 the importance ratios are biased."""
    top_k: Annotated[int, Field(ge=0)] = 0
    """0 is off; above 0 the importance ratios are biased."""
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    """Empty is off; otherwise the importance ratios are biased."""
    repetition_penalty: Annotated[float, Field(gt=0, le=10)] = 1.0
    """1 is off."""
    steps_per_generation: Annotated[int, Field(ge=1)] | None = None
    """Micro-batches generated at once; empty takes gradient_accumulation_steps (fully on-policy)."""
    generation_batch_size: Annotated[int, Field(ge=1)] | None = None
    """Completions generated at once, in place of steps_per_generation."""


class Grpo(Section):
    """The objective."""

    beta: Annotated[float, Field(ge=0, le=100)] = 0.0
    """Weight of the KL term to the reference model; 0 needs no reference. TRL multiplies the term by the ratio
    (`trl.use_bias_correction_kl`, on by default); `false` is the plain k3 of the GRPO paper."""
    ref_update_steps: Annotated[int, Field(ge=1)] | None = None
    """Optimizer steps after which the reference becomes the policy as it is then, again and again (iterative GRPO);
    raised to the next whole rollout phase. Empty keeps the reference as it was at the start."""
    num_iterations: Annotated[int, Field(ge=1)] = 1
    """Passes over each generation batch (mu in the paper)."""
    epsilon: Annotated[float, Field(ge=0)] = 0.2
    """Lower clip of the ratio of policy to sampling policy."""
    epsilon_high: Annotated[float, Field(ge=0)] | None = None
    """Upper clip; empty takes epsilon."""
    delta: Annotated[float, Field(gt=0)] | None = None
    """Cap on the ratio for negative advantages; empty is off."""
    loss_type: Literal["grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "luspo", "vespo"] = "dapo"
    """How token losses are averaged."""
    importance_sampling_level: Literal["token", "sequence"] = "token"
    """`sequence` is GSPO."""
    scale_rewards: Literal["group", "batch", "none"] = "group"
    """What the advantage is divided by."""
    advantage: Literal["group_mean", "rloo", "maxrl"] = "group_mean"
    """What a completion's reward is compared with: `group_mean` of its group, as in TRL; `rloo` the mean of the other
    completions; `maxrl` the mean of the group, and divided by it. The last two need `scale_rewards = "none"`."""
    multi_objective_aggregation: Literal["sum_then_normalize", "normalize_then_sum"] = "sum_then_normalize"
    """`normalize_then_sum` is GDPO: each reward component is normalised within its group before they are summed."""
    mask_truncated_completions: bool = False
    """Leave cut completions out of the loss."""

    @property
    def looks_at_the_batch(self) -> bool:
        """An advantage depends on all completions of a rollout phase, not on its group alone."""
        return self.scale_rewards == "batch" or self.multi_objective_aggregation == "normalize_then_sum"


class Optim(Section):
    """Batches, steps and the optimizer. The batch counts completions, not prompts."""

    per_device_train_batch_size: Annotated[int, Field(ge=1)] = 8
    """Completions in one forward and backward pass (micro-batch)."""
    gradient_accumulation_steps: Annotated[int, Field(ge=1)] = 1
    """Micro-batches per optimizer step."""
    max_steps: Annotated[int, Field(ge=1)] | None = None
    """Optimizer steps; empty trains num_train_epochs."""
    num_train_epochs: Annotated[float, Field(gt=0)] = 1.0
    """Passes over the data when max_steps is empty."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-6
    """Peak learning rate."""
    lr_scheduler_type: str = "linear"
    """Shape of the learning rate after warm-up (transformers' names)."""
    warmup_steps: Annotated[float, Field(ge=0)] = 0
    """Steps to reach the peak; below 1 a share of all steps."""
    optim: str = "adamw_torch"
    """Optimizer (transformers' names); adamw_8bit saves memory on a GPU."""
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.0
    """AdamW's weight decay."""
    adam_beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Decay of the first moment."""
    adam_beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Decay of the second moment."""
    max_grad_norm: Annotated[float, Field(ge=0)] = 1.0
    """Clip of the gradient's norm; 0 is off."""


class Checkpoint(Section):
    """When weights, optimizer, data position and random state are saved."""

    save_steps: Annotated[int, Field(ge=1)] = 50
    """Optimizer steps between checkpoints; raised to the next whole rollout phase."""
    save_total_limit: Annotated[int, Field(ge=1)] = 3
    """Checkpoints that are kept: the newest ones, and the best evaluated one among them."""


class Eval(Section):
    """Greedy answers on held-out rows, scored by the same rewards."""

    at_start: bool = True
    """Evaluate the untrained model."""
    at_end: bool = True
    """Evaluate the trained model."""
    eval_steps: Annotated[int, Field(ge=1)] | None = None
    """Optimizer steps between evaluations; empty is only before and after."""
    max_rows: Annotated[int, Field(ge=1)] = 256
    """Held-out rows used."""
    batch_size: Annotated[int, Field(ge=1)] = 32
    """Rows answered at once."""
    answers: bool = False
    """At every save: the adapter to epoch_E/ and, with those weights, the held-out rows' answers to
    inference_epochE.json, scored at once."""
    pass_at: list[Annotated[int, Field(ge=1)]] = Field(default_factory=list)
    """k of pass@k and maj@k, beside every greedy evaluation; empty samples nothing."""
    samples: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Answers sampled a row for pass@k; empty takes the larger of the largest k and num_generations."""


class Log(Section):
    """What is recorded beside the metrics."""

    rollouts: bool = True
    """Write every prompt, completion, reward and advantage."""
    mirrors: list[Literal["wandb", "tensorboard", "trackio"]] = Field(default_factory=list)
    """Services that get a copy of metrics and completions; docs/mirrors.md. The event log is complete without them."""
    webhook: str | None = None
    """Address that is told when a run finished, failed or stopped, and of its alerts; `$NAME` reads it from that
    variable, so that it is written nowhere. None tells nobody; docs/notifications.md."""
    webhook_form: Literal["auto", "json", "slack"] = "auto"
    """`slack` is {"text": ...}, which Mattermost and others take too; `auto` is that for hooks.slack.com, else JSON."""
    exact_spans: bool = False
    """Wait for the GPU at every span's edge: exact seconds per phase, slower steps."""
    heartbeat_s: Annotated[float, Field(gt=0)] = 5.0
    """Seconds between signs of life with memory and GPU readings."""


class RunSpec(Section):
    """A validated run. Frozen: what was started is what is written to spec.json."""

    title: str = ""
    """One line for lists: what this preset teaches."""
    titles: dict[str, str] = Field(default_factory=dict)
    """The title in other languages: titles.ko beside title."""
    model: Model
    lora: Lora = Lora()
    data: Data
    reward: Reward
    generation: Generation = Generation()
    sampling: Sampling = Sampling()
    episode: Episode = Episode()
    grpo: Grpo = Grpo()
    sft: Sft = Sft()
    rft: Rft = Rft()
    dpo: Dpo = Dpo()
    reward_model: RewardModel = RewardModel()
    optim: Optim = Optim()
    checkpoint: Checkpoint = Checkpoint()
    eval: Eval = Eval()
    log: Log = Log()
    run: Run = Run()
    trl: dict[str, Any] = Field(default_factory=dict)
    """Any other argument of TRL's GRPOConfig, by its own name."""
    chain: Chain | None = None
    """Its place among several stages, and what comes after it. Written from `[[stage]]`; None for a run alone."""
    fixed: list[str] = Field(default_factory=list)
    """Keys that make this preset what it is: a recipe with another value for one of them is refused."""
    recipes: dict[str, dict[str, list[str]]] = Field(default_factory=dict)
    """A record of the recipes that were laid over the preset: [before, after] of every key of each. It sets nothing."""

    @property
    def sft_template(self) -> str:
        """What supervised fine-tuning teaches for a row."""
        return self.reward.gold_template if self.sft.completion_template is None else self.sft.completion_template

    @property
    def is_supervised(self) -> bool:
        """It learns from examples that are there before the first step."""
        return self.run.method in SUPERVISED

    @property
    def samples_first(self) -> bool:
        """The model writes its examples before training."""
        return self.run.method in SAMPLING

    @property
    def is_reward_model(self) -> bool:
        """What is trained judges texts and writes none."""
        return self.run.method == "reward_model"

    @property
    def learns(self) -> str:
        """What a run learns, as the texts are named: its method, or the objective of a reward model."""
        return self.reward_model.objective if self.is_reward_model else self.run.method

    def title_in(self, language: str) -> str:
        """The title in that language, where the preset has it."""
        return self.titles.get(language) or self.title

    def trl_arguments(self) -> dict[str, Any]:
        """Arguments of GRPOConfig this spec chooses by name: {argument: value}, without derived ones."""
        known = trl_table()
        chosen: dict[str, Any] = {}
        for section in (
            self.model,
            self.data,
            self.generation,
            self.episode,
            self.grpo,
            self.optim,
            self.checkpoint,
            self.run,
        ):
            chosen |= {key: getattr(section, key) for key in type(section).model_fields if key in known}
        chosen |= {key: value for key, (value, _) in FIXED.items()}
        return chosen | self.trl


@functools.cache
def trl_table() -> dict[str, list[str]]:
    """{argument of GRPOConfig: kinds it takes}, written from the pinned TRL by tools/trl_arguments.py."""
    table: dict[str, list[str]] = json.loads(TRL_TABLE.read_text(encoding="ascii"))
    return table


@functools.cache
def training_arguments() -> frozenset[str]:
    """Arguments of GRPOConfig that every training has, transformers' TrainingArguments; written by the same tool."""
    names: list[str] = json.loads(TRAINING_LIST.read_text(encoding="ascii"))
    return frozenset(names)


def trl_homes() -> dict[str, str]:
    """{argument of GRPOConfig: the key that sets it}: every argument has exactly one home."""
    named = {
        argument: f"{section}.{argument}"
        for section in ("model", "data", "generation", "episode", "grpo", "optim", "checkpoint", "run")
        for argument in RunSpec.model_fields[section].annotation.model_fields  # type: ignore[union-attr]
        if argument in trl_table()
    }
    return {
        argument: SET_ELSEWHERE.get(argument) or named.get(argument) or f"trl.{argument}" for argument in trl_table()
    }

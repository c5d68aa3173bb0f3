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

from pydantic import BaseModel, ConfigDict, Field

Scalar = bool | int | float | str
TRL_TABLE = Path(__file__).with_name("trl_arguments.json")

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
    "hub_token": "HF_TOKEN in the environment",
}
# Arguments with one right value here, each with the reason. [trl] refuses any other value.
FIXED: dict[str, tuple[Scalar, str]] = {
    "logging_strategy": ("steps", "the event log holds one step event for every optimizer step"),
    "logging_steps": (1, "the event log holds one step event for every optimizer step"),
    "logging_first_step": (True, "the event log holds one step event for every optimizer step"),
    "logging_nan_inf_filter": (
        False,
        "a loss that is not a number must be seen, not averaged away",
    ),
    "disable_tqdm": (True, "the log is a file; progress comes from the events"),
    "save_strategy": (
        "steps",
        "a checkpoint must lie between two rollout phases: checkpoint.save_steps",
    ),
    "save_only_model": (
        False,
        "a checkpoint without optimizer and random state can not be resumed",
    ),
    "enable_jit_checkpoint": (False, "it saves inside a step: resuming gives other weights"),
    "sync_ref_model": (False, "the moved reference is in no checkpoint: a resumed run would differ"),
    "load_best_model_at_end": (False, "the best checkpoint is named, the last weights are kept"),
    "auto_find_batch_size": (False, "GRPO needs whole groups: TRL refuses it"),
    "push_to_hub": (False, "checkpoints are staged locally; publishing is a step of its own"),
    "remove_unused_columns": (False, "reward functions read the columns of the data"),
}


class Section(BaseModel):
    """Base of all sections: frozen, unknown keys refused, no silent conversion ("1e-5" is not a number)."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        protected_namespaces=(),
        hide_input_in_errors=False,
    )


class WarmStart(Section):
    """Supervised training before GRPO. Only for a model that starts from random weights."""

    path: str
    """JSONL with the columns `prompt` and `answer`; rows must not appear in the evaluation data."""
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
    """Hub id, local folder, or `builtin/tiny-qwen3` (made on this machine at first use)."""
    revision: str | None = None
    """Commit of the Hub repository; None takes its newest."""
    engine: Literal["auto", "transformers", "unsloth"] = "auto"
    """`auto` takes Unsloth where it and an NVIDIA GPU are, else plain transformers with PEFT."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes the GPU if there is one."""
    cpu_threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Threads torch computes with on the CPU; None takes every core."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Compute precision; `auto` is bfloat16 on a GPU that has it, else float32. Trained whole weights stay float32."""
    load_in_4bit: bool = False
    """NF4 weights through bitsandbytes (QLoRA): about 0.55 bytes a weight instead of 2."""
    double_quant: bool = True
    """Quantise the NF4 scales as well: 0.37 bits a weight less."""
    attn_implementation: Literal["eager", "sdpa", "flash_attention_2"] | None = None
    """None lets transformers choose."""
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
    """Bound on prompt and completion together, in tokens; a longer plan is refused. None is no bound."""
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


class Instruction(Section):
    """A text by the type of a row: it becomes the row's column `instruction`, for the prompt template."""

    by: str
    """Column that names the type."""
    texts: Annotated[dict[str, str], Field(min_length=1)]
    """Text of each type; a row of another type is refused."""


class FewShot(Section):
    """Worked examples put before a question, drawn for each row with the run's seed and never the row itself.

    They become the row's column `few_shot`, for the prompt template.
    """

    path: str | None = None
    """File of the examples; None draws them from the training rows."""
    count: Annotated[int, Field(ge=1, le=64)] = 2
    """Examples a row gets."""
    by: str | None = None
    """Column that names the type: examples are of the row's own type. None draws from all."""
    template: str = "{prompt}\n{answer}"
    """Text of one example; `{column}` is replaced."""
    separator: str = "\n\n"
    """What stands between two examples."""


class Data(Section):
    """Rows with a prompt and whatever columns the rewards read."""

    path: str | None = None
    """Local file: .jsonl, .json, .csv or .parquet. Either `path` or `name`."""
    name: str | None = None
    """Dataset id on the Hub."""
    config: str | None = None
    """Configuration of the Hub dataset (`main` for GSM8K)."""
    split: str = "train"
    """Split of the Hub dataset."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Rename columns: ours = theirs, e.g. prompt = "question"."""
    prompt_template: str = "{prompt}"
    """Text of the user's message; `{column}` is replaced."""
    instruction: Instruction | None = None
    """A text by the type of a row, `{instruction}` in the prompt template."""
    few_shot: FewShot | None = None
    """Worked examples before the question, `{few_shot}` in the prompt template."""
    system_prompt: str | None = None
    """System message put before every prompt."""
    chat: bool = True
    """Send prompts through the model's chat template; false sends plain text."""
    max_rows: Annotated[int, Field(ge=1)] | None = None
    """Take only the first rows; None takes all."""
    eval_path: str | None = None
    """Held-out file, as `path`. Either `eval_path`, `eval_split` or `eval_fraction`."""
    eval_split: str | None = None
    """Held-out split of the Hub dataset."""
    eval_fraction: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share of the rows held out, the same rows for the same seed."""
    max_prompt_length: Annotated[int, Field(ge=1)] = 512
    """Tokens a rendered prompt may have."""
    overlong: Literal["drop", "cut", "error"] = "drop"
    """Longer prompts: left out, cut at the start of the user's text, or refused. Counted in every case."""
    leaks: Literal["error", "warn", "drop"] = "error"
    """Held-out rows whose prompt is also trained on: refused, said, or left out of the training rows."""
    shuffle_dataset: bool = True
    """Another order in every epoch, the same for the same seed."""


class Component(Section):
    """One reward function with its weight, or a sum of such components.

    What it does with a function's values, in this order: scale, clip, clip_percentiles, normalise, weight.
    """

    function: str
    """Name in the reward library; with `file` the name of a function in that file; `sum` adds up `components`."""
    file: str | None = None
    """Your own Python file. Contract as in TRL: fn(prompts, completions, **columns) -> one number a completion."""
    components: list[Component] = Field(default_factory=list)
    """What a `sum` adds up: each scaled, clipped and weighted as here."""
    name: str | None = None
    """Name in metrics and rollouts; None takes the function's."""
    weight: Annotated[float, Field(ge=-1000, le=1000)] = 1.0
    """The component's value is multiplied by it."""
    clip: Annotated[tuple[float, float], Field(strict=False)] | None = None
    """Lowest and highest value."""
    clip_percentiles: Annotated[tuple[float, float], Field(strict=False)] | None = None
    """Values beyond these percentiles (0 to 100) of the batch are pulled in to them; only while training."""
    normalise: bool = False
    """Subtract the batch's mean, divide by its standard deviation; only while training."""
    scale: float = 1.0
    """Factor on the raw value."""
    per_step: bool = False
    """Call the function for every step of a completion instead of the whole; reward.supervision = "process"."""
    params: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the function."""

    @property
    def title(self) -> str:
        """What it is called in metrics and rollouts."""
        return self.name or self.function

    def leaves(self) -> list[Component]:
        """The reward functions in it, in order: itself, or those of a sum."""
        return [leaf for part in self.components for leaf in part.leaves()] if self.components else [self]


class Reward(Section):
    """What a completion is paid: the weighted sum of its components."""

    components: Annotated[list[Component], Field(min_length=1)]
    """Each value is scaled, clipped, weighted and summed."""
    divide_by: Annotated[float, Field(gt=0)] = 1.0
    """The sum is divided by it."""
    correct: str | None = None
    """The component that tells right from wrong; None takes the first."""
    correct_at: float = 1.0
    """A completion is right when that component reaches this value (before the weight)."""
    gold_template: str = "{answer}"
    """What a perfect completion to a row looks like; for the checks before training and the playground."""
    on_error: Literal["fail", "none", "zero"] = "none"
    """A row whose reward function failed or hung: the run fails, the row has no reward, or it is paid 0."""
    deadline_s: Annotated[float, Field(gt=0)] = 30.0
    """Seconds a batch of rewards may take. After half of them rows are tried one by one, to find the one that hangs."""
    workers: Annotated[int, Field(ge=1, le=64)] | None = None
    """Processes rewards run in; None is one a core, at most four."""
    supervision: Literal["outcome", "process"] = "outcome"
    """One reward a completion, or one for each of its steps (DeepSeekMath, section 4.1.3)."""
    step_split: str = "line"
    """Where a step ends: `line`, `step` (before "Step 2:") or a regular expression that matches a step's end."""

    def leaves(self) -> list[Component]:
        """Every reward function in order, those inside sums too."""
        return [leaf for component in self.components for leaf in component.leaves()]


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
    """None is off; otherwise the importance ratios are biased."""
    repetition_penalty: Annotated[float, Field(gt=0, le=10)] = 1.0
    """1 is off."""
    steps_per_generation: Annotated[int, Field(ge=1)] | None = None
    """Micro-batches generated at once; None takes gradient_accumulation_steps (fully on-policy)."""
    generation_batch_size: Annotated[int, Field(ge=1)] | None = None
    """Completions generated at once, in place of steps_per_generation."""


class Grpo(Section):
    """The objective."""

    beta: Annotated[float, Field(ge=0, le=100)] = 0.0
    """Weight of the KL term to the reference model; 0 needs no reference."""
    num_iterations: Annotated[int, Field(ge=1)] = 1
    """Passes over each generation batch (mu in the paper)."""
    epsilon: Annotated[float, Field(ge=0)] = 0.2
    """Lower clip of the ratio of policy to sampling policy."""
    epsilon_high: Annotated[float, Field(ge=0)] | None = None
    """Upper clip; None takes epsilon."""
    delta: Annotated[float, Field(gt=0)] | None = None
    """Cap on the ratio for negative advantages; None is off."""
    loss_type: Literal["grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "luspo", "vespo"] = "dapo"
    """How token losses are averaged."""
    importance_sampling_level: Literal["token", "sequence"] = "token"
    """`sequence` is GSPO."""
    scale_rewards: Literal["group", "batch", "none"] = "group"
    """What the advantage is divided by."""
    mask_truncated_completions: bool = False
    """Leave cut completions out of the loss."""


class Optim(Section):
    """Batches, steps and the optimizer. The batch counts completions, not prompts."""

    per_device_train_batch_size: Annotated[int, Field(ge=1)] = 8
    """Completions in one forward and backward pass (micro-batch)."""
    gradient_accumulation_steps: Annotated[int, Field(ge=1)] = 1
    """Micro-batches per optimizer step."""
    max_steps: Annotated[int, Field(ge=1)] | None = None
    """Optimizer steps; None trains num_train_epochs."""
    num_train_epochs: Annotated[float, Field(gt=0)] = 1.0
    """Passes over the data when max_steps is None."""
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
    """Newest checkpoints that are kept."""


class Eval(Section):
    """Greedy answers on held-out rows, paid by the same rewards."""

    at_start: bool = True
    """Evaluate the untrained model."""
    at_end: bool = True
    """Evaluate the trained model."""
    eval_steps: Annotated[int, Field(ge=1)] | None = None
    """Optimizer steps between evaluations; None is only before and after."""
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
    """Answers sampled a row for pass@k; None takes the larger of the largest k and num_generations."""


class Log(Section):
    """What is recorded beside the metrics."""

    rollouts: bool = True
    """Write every prompt, completion, reward and advantage."""
    mirrors: list[Literal["wandb"]] = Field(default_factory=list)
    """Services that get a copy of the metrics. The event log is complete without them."""
    exact_spans: bool = False
    """Wait for the GPU at every span's edge: exact seconds per phase, slower steps."""
    heartbeat_s: Annotated[float, Field(gt=0)] = 5.0
    """Seconds between signs of life with memory and GPU readings."""


class Run(Section):
    """The run itself."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42
    """Seed of sampling, data order and adapters."""
    memory_probe: bool = True
    """Before step 1, run the longest prompt at full completion length once and report the peak memory."""


class RunSpec(Section):
    """A validated run. Frozen: what was started is what is written to spec.json."""

    title: str = ""
    """One line for lists: what this preset teaches."""
    model: Model
    lora: Lora = Lora()
    data: Data
    reward: Reward
    generation: Generation = Generation()
    grpo: Grpo = Grpo()
    optim: Optim = Optim()
    checkpoint: Checkpoint = Checkpoint()
    eval: Eval = Eval()
    log: Log = Log()
    run: Run = Run()
    trl: dict[str, Any] = Field(default_factory=dict)
    """Any other argument of TRL's GRPOConfig, by its own name."""

    def trl_arguments(self) -> dict[str, Any]:
        """Arguments of GRPOConfig this spec chooses by name: {argument: value}, without derived ones."""
        known = trl_table()
        chosen: dict[str, Any] = {}
        for section in (
            self.model,
            self.data,
            self.generation,
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


def trl_homes() -> dict[str, str]:
    """{argument of GRPOConfig: the key that sets it}: every argument has exactly one home."""
    named = {
        argument: f"{section}.{argument}"
        for section in ("model", "data", "generation", "grpo", "optim", "checkpoint", "run")
        for argument in RunSpec.model_fields[section].annotation.model_fields  # type: ignore[union-attr]
        if argument in trl_table()
    }
    return {
        argument: SET_ELSEWHERE.get(argument) or named.get(argument) or f"trl.{argument}" for argument in trl_table()
    }

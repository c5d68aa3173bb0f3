"""CustomGRPOTrainer, made from TRL's GRPOTrainer or any subclass (Unsloth's generated one).

    CustomGRPOTrainer = make_trainer_class(GRPOTrainer)

The overrides take *args, **kwargs, call super() and copy no upstream body: they time (`spans`), watch (`observer`),
order the prompts (EpochSampler) and publish checkpoints. Hooked in TRL 1.14.2 (trl/trainer/grpo_trainer.py):
`_prepare_inputs`, `_generate_and_score_completions`, `_calculate_rewards`, `_get_per_token_logps_and_entropies`,
`compute_loss`, `_get_train_sampler`, `log`; in transformers 5.17 (trainer.py): `training_step`, `create_optimizer`,
`_save_checkpoint`, `_load_from_checkpoint`; in accelerate 1.15: `Accelerator.backward`; with vLLM also what
vllm_rollouts.py says. `_compute_loss` is not hooked: Unsloth's trainer never calls it.

Shapes: N completions of a generation batch on this process (prompts x num_generations, group after group), B of a
micro-batch, P tokens of the longest prompt (left-padded), T of the longest completion (right-padded).

With process supervision (supervision.py) the advantages of a generation batch become one for every token. What
TRL logs stays as it is, of whole completions: `reward_std`, `frac_reward_zero_std`, the advantages of its table.
With `advantage` rloo or maxrl (advantages.py) those of a generation batch are replaced in the same place.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate.utils import gather_object
from transformers.trainer_callback import TrainerCallback

from trainer.engine import weights
from trainer.engine.unsloth_engine import PATCHED
from trainer.errors import CheckpointError, Problem
from trainer.fast import saying
from trainer.fast.decoding import Decoding
from trainer.fast.rows import without_spread
from trainer.fast.update import FastUpdate
from trainer.grpo import advantages, supervision, vllm_rollouts
from trainer.grpo.generation_guard import guard_generate
from trainer.grpo.spans import Span, Spans
from trainer.rewards import steps
from trainer.rewards.contract import text_of
from trainer.rewards.wrapper import ComponentRewardWrapper, Objective
from trainer.run import checkpoints
from trainer.run.rollouts import Batch, Step, finite_or_none
from trainer.sampling.order import EpochSampler
from trainer.text import Message


class Observer(Protocol):
    """What the trainer tells; trainer.worker.observer.RunObserver writes it to the event log."""

    def rollouts(self, step: int, batch: Batch) -> None:
        """A generation batch was scored; `step` is the optimizer step it is generated in (1 is the first)."""

    def step(self, step: int, logs: dict[str, Any], spans: list[Span]) -> None:
        """An optimizer step is done: TRL's metrics as logged and the spans of the step."""

    def checkpoint(self, step: int, staged: Path) -> None:
        """A checkpoint is complete in the staging folder and is to be published."""


class _StepSpan(TrainerCallback):
    """Opens and closes the outermost span of a step; a failed step is closed by Training.watched."""

    def __init__(self, spans: Spans) -> None:
        self.spans = spans

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        self.spans.open("step")

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self.spans.close("step")


def make_trainer_class(base: type) -> type:
    """Subclass `base` (TRL's GRPOTrainer or one of its subclasses) as CustomGRPOTrainer.

    The new class takes six arguments more than its base: `spans`, `observer`, `pieces` (in how many parts a
    generation batch is written), `advantage` (as the setting of that name), `fast` and `tell` (trainer.fast.update).
    Its reward functions must be one ComponentRewardWrapper or its `objectives()`, so that every component can be
    recorded.
    """
    return type("CustomGRPOTrainer", (Hooks, base), {})


class Hooks(FastUpdate):
    """What CustomGRPOTrainer does beside its base: time, watch, order the prompts, publish checkpoints."""

    def __init__(
        self,
        *args: Any,
        spans: Spans,
        observer: Observer,
        pieces: int = 1,
        advantage: advantages.Kind = "group_mean",
        **kwargs: Any,
    ) -> None:
        self.spans = spans
        self.observer = observer
        self.advantage = advantage
        self._scored: dict[str, Any] = {}
        # Unsloth's loss moves every row to the left: what has a column a token must be moved with it (compute_loss).
        self._packs_left = any(cls.__name__ == PATCHED for cls in type(self).__mro__)
        with nullcontext() if self._packs_left else vllm_rollouts.in_place_of_trls(kwargs["args"]):
            super().__init__(*args, **kwargs)
        first = self.reward_funcs[0]
        self.reward_wrapper: ComponentRewardWrapper = first.wrapper if isinstance(first, Objective) else first
        self.add_callback(_StepSpan(spans))
        self.writes_fast = self.is_fast and not (self._packs_left or self.use_vllm)
        guard_generate(self.model, spans, pieces, Decoding(self._tell) if self.writes_fast else None)
        if self.use_vllm:  # by the names of TRL's profiler
            engine = self.vllm_generation
            engine.sync_weights = self._timed("sync_weights", engine.sync_weights)
            engine.generate = self._timed("vLLM.generate", engine.generate)
        # transformers' training_step calls it on the accelerator: there is no method of the trainer to override.
        self.accelerator.backward = self._timed("backward", self.accelerator.backward)

    def fast_parts(self) -> list[Message]:
        """What of the fast path applies, for people."""
        return saying.parts(self.fast, self.writes_fast)

    def _timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.spans(name):
                return function(*args, **kwargs)

        return timed

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        """One micro-batch forward and backward: gradient_accumulation_steps of them make an optimizer step."""
        with self.spans("training_step"):
            return super().training_step(*args, **kwargs)

    def _prepare_inputs(self, *args: Any, **kwargs: Any) -> Any:
        """The next micro-batch; each steps_per_generation x num_iterations calls it generates a new batch first."""
        with self.spans("_prepare_inputs"):
            return super()._prepare_inputs(*args, **kwargs)

    def _calculate_rewards(
        self,
        inputs: Any,
        prompts: Any,
        completions: Any,
        completion_ids_list: Any,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        with self.spans("_calculate_rewards"):
            rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list, *args, **kwargs)
        # (all processes x N, K): TRL gathers, because a group may be on several. K is 1, or one a component.
        first = self.accelerator.process_index * len(prompts)
        totals = (rewards * self.reward_weights.to(rewards.device)).nansum(dim=1)
        totals[rewards.isnan().all(dim=1)] = torch.nan
        self._scored = {
            "inputs": inputs,
            "prompts": prompts,
            "completions": completions,
            "completion_ids": completion_ids_list,
            "rewards": totals[first : first + len(prompts)].tolist(),
            "all_rewards": totals,
        }
        return rewards

    def _generate_and_score_completions(self, *args: Any, **kwargs: Any) -> Any:
        """Tensors of N rows. Recorded here, because `_prepare_inputs` shuffles the rows and no group is whole then."""
        with self.spans("_generate_and_score_completions"):
            output = super()._generate_and_score_completions(*args, **kwargs)
        for function in self.reward_funcs:
            if isinstance(function, Objective):  # the wrapper has logged the component, under its own name
                for kind in ("mean", "std"):
                    self._metrics["train"].pop(f"rewards/{function.__name__}/{kind}", None)
        with self.spans("record_rollouts"):
            scored, self._scored = self._scored, {}
            self._replace_advantages(output, scored["all_rewards"])
            judged = self._judge_steps(output, scored) if self.reward_wrapper.supervision == "process" else []
            self.observer.rollouts(self.state.global_step + 1, self._batch(output, scored, judged))
        return output

    def _replace_advantages(self, output: dict[str, Any], rewards: torch.Tensor) -> None:
        """Those of rloo or maxrl in place of TRL's; of TRL's, 0 where its mean of equal rewards was off by a rounding.

        rewards: of all processes, as a group may be on several.
        """
        there = output["advantages"]
        mine = slice(self.accelerator.process_index * len(there), (self.accelerator.process_index + 1) * len(there))
        if self.advantage != "group_mean":
            values = advantages.of_groups(rewards, self.num_generations, self.advantage)
            output["advantages"] = values[mine].to(there)
        elif self.is_fast and self.multi_objective_aggregation == "sum_then_normalize":
            output["advantages"] = there.masked_fill(without_spread(rewards, self.num_generations)[mine], 0.0)

    def _judge_steps(self, output: dict[str, Any], scored: dict[str, Any]) -> list[list[Step]]:
        """Process supervision: put the (B, T) advantages into the generation batch, return the steps they come from."""
        wrapper, ids = self.reward_wrapper, scored["completion_ids"]
        # A group may be on several processes: its mean and standard deviation need all of its steps.
        rewards = steps.normalised(gather_object(wrapper.last_step_rewards), self.num_generations, self.scale_rewards)
        first = self.accelerator.process_index * len(ids)
        values = steps.advantages_of_steps(rewards[first : first + len(ids)])
        judged = supervision.recorded(wrapper.last_steps, wrapper.last_step_rewards, values, ids, self._tokenizer)
        # (N, T) in place of TRL's (N,): it is shuffled and cut into micro-batches by rows like every other tensor.
        output["advantages"] = supervision.advantages(judged, output["completion_mask"])
        return judged

    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
        """log p of each completion token, (B, T) in nats, at the sampling temperature: of old, reference and policy."""
        with self.spans("_get_per_token_logps_and_entropies"):
            return super()._get_per_token_logps_and_entropies(*args, **kwargs)

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Loss of a micro-batch, a scalar. Advantages (B,) or (B, T): TRL's `_compute_loss` broadcasts the former."""
        with self.spans("compute_loss"):
            if self._packs_left and inputs["advantages"].dim() == 2:
                # A copy: TRL keeps `inputs` for the next pass over the batch.
                aligned = supervision.left_packed(inputs, self.processing_class.pad_token_id)
                inputs = inputs | {"advantages": aligned}
            return super().compute_loss(model, inputs, *args, **kwargs)

    def create_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        optimizer = super().create_optimizer(*args, **kwargs)
        # On torch's own optimizer: accelerate wraps it later, and its step calls this one's.
        optimizer.register_step_pre_hook(lambda *_: self.spans.open("optimizer"))
        optimizer.register_step_post_hook(lambda *_: self.spans.close("optimizer"))
        return optimizer

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> EpochSampler:
        """TRL's sampler with its own arguments, and an order that a resumed run can repeat."""
        sampler = super()._get_train_sampler(*args, **kwargs)
        return EpochSampler(
            data_source=sampler.data_source,
            mini_repeat_count=sampler.mini_repeat_count,
            batch_size=sampler.batch_size,
            repeat_count=sampler.repeat_count,
            shuffle=sampler.shuffle,
            seed=sampler.seed,
        )

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        super().log(logs, *args, **kwargs)  # TRL adds its metrics to `logs` in place
        if "loss" in logs:  # a step; the line transformers logs when training ends has none
            self.observer.step(self.state.global_step, dict(logs), self.spans.drain())

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        step = self.state.global_step
        folder, name = Path(self.args.output_dir), checkpoints.checkpoint_name(step)
        with checkpoints.saving(folder, name):
            super()._save_checkpoint(*args, **kwargs)
        self.observer.checkpoint(step, folder / name)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, *args: Any, **kwargs: Any) -> None:
        # PEFT loads adapters as float32, TRL trains those of a quantised model in bfloat16: without this a
        # resumed QLoRA run goes on in another precision (transformers 5.17, trainer.py `_load_from_checkpoint`).
        dtypes = {name: parameter.dtype for name, parameter in self.model.named_parameters()}
        super()._load_from_checkpoint(resume_from_checkpoint, *args, **kwargs)
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.to(dtypes[name])
        wrong = weights.unfinite(each for each in self.model.named_parameters() if each[1].requires_grad)
        if wrong:
            name = Path(resume_from_checkpoint).name
            raise CheckpointError(Problem("grpo.not_finite", name, names=wrong[:3], count=len(wrong)))

    def _batch(self, output: dict[str, Any], scored: dict[str, Any], judged: list[list[Step]]) -> Batch:
        """Join what `_calculate_rewards` saw of the generation batch with its advantages."""
        ids, advantages = scored["completion_ids"], output["advantages"]
        lengths = [len(row) for row in ids]
        if advantages.dim() == 2:  # (N, T) -> (N,): the mean over a completion's tokens; padding is 0
            advantages = advantages.sum(dim=1).cpu() / torch.tensor(lengths)
        # As TRL counts completions/clipped_ratio: the last token neither ends a turn nor pads.
        ends = {*self.eos_token_ids, self._tokenizer.pad_token_id}
        weighed = zip(self.reward_wrapper.last_objectives, self.reward_weights, strict=False)  # none: [] and one weight
        return Batch(
            prompts=scored["prompts"],
            seen=self._seen(output),
            completions=[text_of(completion) for completion in scored["completions"]],
            prompt_tokens=output["prompt_mask"].sum(dim=1).tolist(),
            completion_tokens=lengths,
            truncated=[row[-1] not in ends for row in ids],
            components=self.reward_wrapper.last_components,
            rewards=finite_or_none(scored["rewards"]),
            advantages=advantages.tolist(),
            correct=self.reward_wrapper.last_correct,
            columns=[{k: v for k, v in row.items() if k != "prompt"} for row in scored["inputs"]],
            failures=self.reward_wrapper.last_reasons,
            unpaid=self.reward_wrapper.last_unpaid,
            objectives=[column for column, weight in weighed if weight],
            steps=judged,
        )

    def _seen(self, output: dict[str, Any]) -> list[str]:
        """The prompt of each group as the model had it: its tokens as text, special ones too, without padding."""
        every = slice(None, None, self.num_generations)
        rows = zip(output["prompt_ids"][every], output["prompt_mask"][every], strict=True)
        ids = [row[mask.bool()].tolist() for row, mask in rows]
        return [self._tokenizer.decode(row, clean_up_tokenization_spaces=False) for row in ids]

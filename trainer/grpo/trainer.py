"""CustomGRPOTrainer, made from TRL's GRPOTrainer or any subclass (Unsloth's generated one).

    CustomGRPOTrainer = make_trainer_class(GRPOTrainer)

The overrides take *args, **kwargs, call super() and copy no upstream body: they time (`spans`), watch (`observer`),
choose the prompts (EpochSampler, or `rounds`) and publish checkpoints.

Hooked in TRL 1.14.2 (trl/trainer/grpo_trainer.py): `_prepare_inputs`, `_generate_and_score_completions`, `_generate`,
`_generate_single_turn`, `_tokenize_prompts`, `_calculate_rewards`, `_get_per_token_logps_and_entropies`,
`compute_loss`, `_get_train_sampler`; beside what watched.py says, and with vLLM what vllm_rollouts.py says.
`_compute_loss` is not hooked: Unsloth's trainer never calls it.

Shapes: N completions of a generation batch on this process (prompts x num_generations, group after group), B of a
micro-batch, P tokens of the longest prompt (left-padded), T of the longest completion (right-padded).

With process supervision (supervision.py) the advantages of a generation batch become one for every token. What
TRL logs stays as it is, of whole completions: `reward_std`, `frac_reward_zero_std`, the advantages of its table.
With episodes (dialogues.py, turns.py) TRL calls tools between turns; advantages of turns become those of tokens.
With plans (plans.py, levels.py) completions share their beginnings, and those of tokens come from two levels.
With `advantage` rloo or maxrl (advantages.py) those of a generation batch are replaced in the same place.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate.utils import gather_object

from trainer.engine.unsloth_engine import PATCHED
from trainer.episodes.table import Table
from trainer.fast import saying
from trainer.fast.decoding import Decoding
from trainer.fast.rows import without_spread
from trainer.fast.update import FastUpdate
from trainer.grpo import advantages, dialogues, reference, supervision, vllm_rollouts
from trainer.grpo.generation_guard import guard_generate
from trainer.grpo.learner import RewardLearner
from trainer.grpo.plans import Plans
from trainer.grpo.rounds import Rounds
from trainer.grpo.spans import Spans
from trainer.grpo.watched import Watched, Watcher
from trainer.grpo.written import COMPLETION_IDS, COMPLETIONS, PROMPT_IDS, Written
from trainer.rewards import steps
from trainer.rewards.wrapper import ComponentRewardWrapper, Objective
from trainer.run.rollouts import Batch, Plan, Step, Turn, finite_or_none
from trainer.sampling.order import EpochSampler
from trainer.sampling.sampler import Sampler
from trainer.text import Message


class Observer(Watcher, Protocol):
    """What this trainer tells beside that."""

    def rollouts(self, step: int, batch: Batch) -> None:
        """A generation batch was scored; `step` is the optimizer step it is generated in (1 is the first)."""


def make_trainer_class(base: type) -> type:
    """Subclass `base` (TRL's GRPOTrainer or one of its subclasses) as CustomGRPOTrainer.

    The new class takes eleven arguments more than its base: `spans`, `observer`, `pieces` (in how many parts a
    generation batch is written), `advantage` (as the setting of that name), `sampler` (which prompts come next; None
    for all in their turn), `ref_update_steps` (whole rollout phases), `learner` (of a reward model, None where none
    learns), `episodes` (None for one turn), `plans` (None for completions of one level), `fast` and `tell`
    (trainer.fast.update).
    Its reward functions must be one ComponentRewardWrapper or its `objectives()`, so that every component can be
    recorded.
    """
    return type("CustomGRPOTrainer", (Hooks, base), {})


class Hooks(Watched, FastUpdate):
    """What CustomGRPOTrainer does beside its base: time, watch, order the prompts, publish checkpoints."""

    observer: Observer

    def __init__(
        self,
        *args: Any,
        spans: Spans,
        pieces: int = 1,
        advantage: advantages.Kind = "group_mean",
        sampler: Sampler | None = None,
        ref_update_steps: int | None = None,
        learner: RewardLearner | None = None,
        episodes: Table | None = None,
        plans: Plans | None = None,
        **kwargs: Any,
    ) -> None:
        self.advantage, self.episodes, self.plans = advantage, episodes, plans
        self._newest_phase = (-1, 0)  # optimizer step, and which of its generation batches
        self.is_conversing = False  # a held-out dialogue is written
        if episodes is not None:
            kwargs["environment_factory"] = episodes.environment
        self.rounds = Rounds(self, sampler, self._totals) if sampler is not None else None
        self.is_uneven = False  # some of the groups that are being written have another size than num_generations
        self._written: Written | None = None
        # Unsloth's loss moves every row to the left: what has a column a token must be moved with it (compute_loss).
        self._packs_left = any(cls.__name__ == PATCHED for cls in type(self).__mro__)
        with nullcontext() if self._packs_left else vllm_rollouts.in_place_of_trls(kwargs["args"]):
            super().__init__(*args, spans=spans, **kwargs)
        first = self.reward_funcs[0]
        self.reward_wrapper: ComponentRewardWrapper = first.wrapper if isinstance(first, Objective) else first
        self.moving = reference.Moving(self, ref_update_steps) if ref_update_steps is not None else None
        if self.moving is not None:
            self.add_callback(self.moving)
        self.learner = learner
        if learner is not None:
            learner.attach(self)
        self.writes_fast = self.is_fast and not (self._packs_left or self.use_vllm)
        decoding = Decoding(self._tell) if self.writes_fast else None
        guard_generate(self.model, spans, pieces, decoding, plans.forks if plans is not None else None)
        if self.use_vllm:  # by the names of TRL's profiler
            engine = self.vllm_generation
            engine.sync_weights = self._timed("sync_weights", engine.sync_weights)
            engine.generate = self._timed("vLLM.generate", engine.generate)

    def fast_parts(self) -> list[Message]:
        """What of the fast path applies, for people."""
        return saying.parts(self.fast, self.writes_fast)

    def _prepare_inputs(self, *args: Any, **kwargs: Any) -> Any:
        """The next micro-batch; each steps_per_generation x num_iterations calls it generates a new batch first."""
        with self.spans("_prepare_inputs"):
            return super()._prepare_inputs(*args, **kwargs)

    def _generate(self, prompts: Any, *args: Any, **kwargs: Any) -> Any:
        """(prompt_ids, completion_ids, ..., completions, ...) of N prompts: written, or those of `rounds`."""
        if self.rounds is not None and self.rounds.settled is not None:
            return self.rounds.settled.generated
        self._generated = super()._generate(prompts, *args, **kwargs)
        if self._packs_left and self.episodes is not None:
            dialogues.refuse_cut(self, self._generated)
        if self.is_conversing:
            raise dialogues.Conversed(self._generated)
        return self._generated

    def _tokenize_prompts(self, prompts: Any, *args: Any, **kwargs: Any) -> Any:
        if self.episodes is not None:  # TRL knows it of a batch it has begun, and not before step 1
            self._batch_environments = [None] * len(prompts)
        return super()._tokenize_prompts(prompts, *args, **kwargs)

    def _generate_single_turn(
        self, prompt_ids: Any, images: Any, fields: Any, num_generations: int, *args: Any, **kwargs: Any
    ) -> Any:
        if self.episodes is not None:
            self.episodes.writing()
        # vLLM is asked once for each group of this size; for groups of others, once for each completion.
        group = 1 if self.is_uneven else num_generations
        # The check of the policy before training asks for one completion of each prompt.
        with self.plans.forks.writing() if self.plans is not None and num_generations > 1 else nullcontext():
            return super()._generate_single_turn(prompt_ids, images, fields, group, *args, **kwargs)

    def _calculate_rewards(
        self,
        inputs: Any,
        prompts: Any,
        completions: Any,
        completion_ids_list: Any,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """(all processes x N, K): TRL gathers, because a group may be on several. K is 1, or one a component."""
        if self.rounds is not None and self.rounds.settled is not None:
            return self.rounds.settled.rewards
        with self.spans("_calculate_rewards"):
            rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list, *args, **kwargs)
        if self.rounds is None:
            sizes = [self.num_generations] * (len(inputs) // self.num_generations)
            self._written = Written(inputs, self._generated, rewards, self.reward_wrapper.notes(), sizes)
        return rewards

    def _totals(self, rewards: torch.Tensor) -> torch.Tensor:
        """(N, K) -> (N,), NaN where no component could say."""
        totals: torch.Tensor = (rewards * self.reward_weights.to(rewards.device)).nansum(dim=1)
        totals[rewards.isnan().all(dim=1)] = torch.nan
        return totals

    def _generate_and_score_completions(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Tensors of N rows. Recorded here, because `_prepare_inputs` shuffles the rows and no group is whole then."""
        if self.is_conversing:
            return super()._generate_and_score_completions(inputs, *args, **kwargs)
        if self.episodes is not None:
            self.episodes.begin(self._phase_name(), self.num_generations)
        with self.spans("_generate_and_score_completions"):
            if self.rounds is None:
                output = super()._generate_and_score_completions(inputs, *args, **kwargs)
            else:
                with self.rounds.phase() as chosen:
                    output = super()._generate_and_score_completions(chosen, *args, **kwargs)
                self.rounds.scored(output)
        for function in self.reward_funcs:
            if isinstance(function, Objective):  # the wrapper has logged the component, under its own name
                for kind in ("mean", "std"):
                    self._metrics["train"].pop(f"rewards/{function.__name__}/{kind}", None)
        with self.spans("record_rollouts"):
            written, self._written = self._written, None
            assert written is not None
            if self.learner is not None:
                self.learner.saw(written, self._ends())
            self._replace_advantages(output, written)
            judged = self._judge_steps(output, written) if self.reward_wrapper.supervision == "process" else []
            turns = dialogues.credit(self, output, written) if self.episodes is not None else []
            plans = self.plans.credit(self, output, written) if self.plans is not None else []
            self.observer.rollouts(self.state.global_step + 1, self._batch(output, written, judged, turns, plans))
        return output

    def _phase_name(self) -> str:
        """What tells a generation batch from all others, the same after a resume: these begin with a step."""
        step, number = self.state.global_step, 0
        if self._newest_phase[0] == step:
            number = self._newest_phase[1] + 1
        self._newest_phase = (step, number)
        return f"step {step}.{number}"

    def _replace_advantages(self, output: dict[str, Any], written: Written) -> None:
        """Those of rloo, of maxrl and of groups of several sizes in place of TRL's; of TRL's, 0 where its mean of equal
        rewards was off by a rounding."""
        there = output["advantages"]
        kept = written if self.rounds is None else self.rounds.kept
        rewards = self._totals(kept.rewards)  # of all processes, as a group may be on several
        mine = slice(self.accelerator.process_index * len(there), (self.accelerator.process_index + 1) * len(there))
        sizes = kept.sizes * self.accelerator.num_processes
        several = self.rounds is not None and self.rounds.has_several_sizes
        if self.advantage == "online_rft":
            output["advantages"] = advantages.of_right_ones(kept.notes.correct).to(there)
        elif self.advantage != "group_mean" or several:
            values = advantages.of_groups(rewards, sizes, self.advantage, self.scale_rewards)
            if self.rounds is not None and several and self.rounds.sampler.settings.weigh == "prompts":
                values = values * advantages.weights(sizes, self.num_generations).to(values)
            output["advantages"] = values[mine].to(there)
        elif self.is_fast and self.multi_objective_aggregation == "sum_then_normalize":
            output["advantages"] = there.masked_fill(without_spread(rewards, sizes)[mine], 0.0)

    def _judge_steps(self, output: dict[str, Any], written: Written) -> list[list[Step]]:
        """Process supervision: put the (B, T) advantages into the generation batch, return the steps they come from."""
        notes, ids = written.notes, written.generated[COMPLETION_IDS]
        # A group may be on several processes: its mean and standard deviation need all of its steps.
        rewards = steps.normalised(gather_object(notes.step_rewards), self.num_generations, self.scale_rewards)
        first = self.accelerator.process_index * len(ids)
        values = steps.advantages_of_steps(rewards[first : first + len(ids)])
        judged = supervision.recorded(notes.steps, notes.step_rewards, values, ids, self._tokenizer)
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

    def _save_beside(self, folder: Path) -> None:
        if self.rounds is not None:
            self.rounds.save(folder)
        for each in (self.moving, self.learner):
            if each is not None:
                each.save(folder)

    def _load_beside(self, folder: Path) -> None:
        for each in (self.moving, self.learner):
            if each is not None:
                each.load(folder)

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        if self.moving is not None and "loss" in logs:
            self._metrics["train"]["reference_step"].append(float(self.moving.step(self.state.global_step)))
        super().log(logs, *args, **kwargs)

    def _batch(
        self,
        output: dict[str, Any],
        written: Written,
        judged: list[list[Step]],
        turns: list[list[Turn]],
        plans: list[Plan],
    ) -> Batch:
        """Join what was written, row by row, with the advantages of what of it is trained on."""
        notes, ids, prompt_ids = written.notes, written.generated[COMPLETION_IDS], written.generated[PROMPT_IDS]
        lengths = dialogues.lengths(written.generated)
        values = output["advantages"]
        if values.dim() == 2:  # (N, T) -> (N,): the mean over a completion's tokens; padding is 0
            values = values.sum(dim=1).cpu() / torch.tensor(lengths)
        rows = range(len(ids)) if self.rounds is None else self.rounds.kept_rows
        of_row = dict(zip(rows, values[: len(rows)].tolist(), strict=True))
        totals = self._totals(written.rewards)
        first = self.accelerator.process_index * len(ids)
        ends = self._ends()
        weighed = zip(notes.objectives.values(), self.reward_weights, strict=False)  # none: {} and one weight
        return Batch(
            prompts=[row["prompt"] for row in written.inputs],
            seen=[self._seen(prompt_ids[group[0]]) for group in written.rows_of_groups()],
            completions=dialogues.texts(self, written.generated[COMPLETIONS]),
            prompt_tokens=[len(row) for row in prompt_ids],
            completion_tokens=lengths,
            truncated=[
                row[-1] not in ends or over
                for row, over in zip(ids, dialogues.cut(self, written.generated[COMPLETIONS]), strict=True)
            ],
            components=notes.components,
            rewards=finite_or_none(totals[first : first + len(ids)].tolist()),
            advantages=[of_row.get(row, 0.0) for row in range(len(ids))],
            correct=notes.correct,
            columns=[{k: v for k, v in row.items() if k != "prompt"} for row in written.inputs],
            failures=notes.reasons,
            unpaid=notes.unpaid,
            objectives=[column for column, weight in weighed if weight],
            steps=judged,
            turns=turns,
            plans=plans,
            sizes=written.sizes,
            without_baseline=self.advantage == "online_rft",
            again=values[len(rows) :].tolist(),
            trained=[row in of_row for row in range(len(ids))] if len(of_row) < len(ids) else (),
        )

    def _ends(self) -> set[int]:
        """As TRL counts completions/clipped_ratio: the last token of what was cut neither ends a turn nor pads."""
        return {*self.eos_token_ids, self._tokenizer.pad_token_id}

    def _seen(self, ids: list[int]) -> str:
        """A prompt as the model had it: its tokens as text, special ones too, without padding."""
        return str(self._tokenizer.decode(ids, clean_up_tokenization_spaces=False))

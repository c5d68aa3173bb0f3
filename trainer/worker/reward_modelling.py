"""A training of a reward model: the starting policy writes, the rewards judge, and a head on its inner model learns to.

Held-out rows are answered and judged before the first step as well; what is measured on them is whether the scores
order their completions as the rewards do (trainer.stages.ordering).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from trainer.engine.interface import Choice, Loaded
from trainer.run import checkpoints
from trainer.stages import examples, judges
from trainer.stages.ordering import HeldOutPairs
from trainer.stages.samples import Sampled
from trainer.worker.supervised import SupervisedTraining


class RewardModelTraining(SupervisedTraining):
    held_out_class = HeldOutPairs
    _answered: list[Sampled] | None = None

    def _make_trainer(self, choice: Choice, loaded: Loaded) -> Any:
        trainer = super()._make_trainer(choice, loaded)
        kwargs, data = self.spec.trl.get("chat_template_kwargs"), self.spec.data
        longest = data.max_prompt_length + self.spec.generation.max_completion_length
        trainer.reads = {"chat_template_kwargs": kwargs, "ends": sorted(self.ends), "max_length": longest}
        assert isinstance(self.held_out, HeldOutPairs)
        self.held_out.write = self._held_out_samples
        return trainer

    def _trained(self, loaded: Loaded) -> Loaded:
        revision = getattr(loaded.model.config, "_commit_hash", None) or self.spec.model.revision
        adapter = judges.adapter_of(loaded.peft_config, revision)
        return replace(loaded, model=judges.judge_of(loaded.model, self.spec), peft_config=adapter)

    def _like(self, prompt: list[int], one: list[int]) -> Any:
        pairwise = self.spec.reward_model.objective == "pairwise"
        return examples.Comparison(prompt + one, prompt + one) if pairwise else examples.Judged(prompt + one, 0.0)

    def _choose(self, sampled: Sequence[Sampled]) -> Sequence[Any]:
        return examples.judgements(sampled, self.spec)

    def _make_ready(self, resumed: checkpoints.Checkpoint | None) -> None:
        evaluation = self.spec.eval
        if self.data.held_out and (evaluation.at_start or evaluation.at_end or evaluation.eval_steps):
            self._held_out_samples()  # now: the weights that write them are about to change
        super()._make_ready(resumed)
        self.writer = None  # its own head is not needed any more

    def _held_out_samples(self) -> list[Sampled]:
        if self._answered is None:
            path, fingerprint = self.session.rundir.held_out_samples, self.data.report.held_out_fingerprint
            with self.session.phase("held_out_samples", f"{self.spec.generation.num_generations} of each held-out row"):
                self._answered = self._sampled(path, self.data.held_out, fingerprint)
        return self._answered

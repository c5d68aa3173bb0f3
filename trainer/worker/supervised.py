"""A training on examples that are there before its first step: supervised fine-tuning, rejection sampling, DPO, and
(reward_modelling.py) reward models.

Everything around it is as with GRPO: rewards are tried, held-out rows evaluated by them, checkpoints published.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset

from trainer import launch
from trainer.data.dataset import prompt_ids
from trainer.engine.interface import Choice, Loaded
from trainer.evaluate.answering import ends_of
from trainer.fast.decoding import Decoding
from trainer.grpo import config
from trainer.grpo.generation_guard import guard_generate
from trainer.run import checkpoints
from trainer.run.records import AlertEvent
from trainer.stages import config as stage_config
from trainer.stages import examples
from trainer.stages.samples import Sampled, SampleFile, rows_at_once, sample
from trainer.stages.trainers import make_trainer_class
from trainer.worker.training import Training

SAID = {
    "sft": "examples_sft",
    "rft": "examples_rft",
    "dpo": "examples_dpo",
    "pairwise": "examples_pairwise",
    "pointwise": "examples_pointwise",
}
"""Alerts that say how many examples there are."""


class SupervisedTraining(Training):
    """What the model writes first (rft, dpo) is written in `_make_ready`, with the weights it starts from."""

    def _make_trainer(self, choice: Choice, loaded: Loaded) -> Any:
        spec = self.spec
        self.writer: Any = loaded.model
        self.ends = ends_of(loaded.model, loaded.tokenizer)
        trained = self._trained(loaded)
        self.writes_fast = spec.run.fast == "auto" and choice.engine != "unsloth"
        config_class = stage_config.config_class(spec)
        of_grpo = self._chosen(choice) | {"max_steps": self.plan.optimizer_steps or 1}
        chosen = stage_config.choose(spec, of_grpo, config.defaults_of(config_class))
        trainer = self._put_together(
            make_trainer_class(spec), config_class, chosen, trained, train_dataset=self._first_examples()
        )
        if trained is loaded:  # TRL may have put an adapter around it
            self.writer = trainer.model
        guard_generate(self.writer, self.spans, self.pieces, Decoding(self._tell_fast) if self.writes_fast else None)
        return trainer

    def _trained(self, loaded: Loaded) -> Loaded:
        """What is trained, where it is not what writes."""
        return loaded

    def _add_callbacks(self) -> None:
        """None: a memory probe would measure a step of GRPO."""

    def check_policy(self) -> None:
        """Nothing is written while it trains."""

    def _first_examples(self) -> Dataset:
        """The examples; of a method that writes its own one in their place, which TRL looks at and never trains."""
        if self.spec.samples_first:
            row = self.data.train[0]
            prompt = prompt_ids(row["prompt"], self.tokenizer, self.spec.trl.get("chat_template_kwargs"))
            return Dataset.from_list([self._like(prompt, [min(self.ends)]).row()])
        found = examples.golds(self.data.train, self.tokenizer, self.spec, self.ends)
        self._say_examples(len(found), len(self.data.train))
        return Dataset.from_list([each.row() for each in found])

    def _like(self, prompt: list[int], one: list[int]) -> Any:
        """An example of the method's form."""
        dpo = self.spec.run.method == "dpo"
        return examples.Pair(prompt, one, one) if dpo else examples.Example(prompt, one)

    def _choose(self, sampled: Sequence[Sampled]) -> Sequence[Any]:
        """Examples, of what the model has written."""
        choose = examples.pairs if self.spec.run.method == "dpo" else examples.right_ones
        return choose(sampled, self.spec)

    def _make_ready(self, resumed: checkpoints.Checkpoint | None) -> None:
        if not self.spec.samples_first:
            return
        with self.session.phase("samples", f"{self.spec.generation.num_generations} completions of each row"):
            sampled = self._sampled(self.session.rundir.samples, self.data.train, self.data.report.fingerprint)
        found = self._choose(sampled)
        self._say_examples(len(found), sum(len(row.completions) for row in sampled))
        self.trainer.train_dataset = Dataset.from_list([each.row() for each in found])
        self.plan = launch.plan_here(self.spec, self.data.report.rows, len(found))
        assert self.plan.optimizer_steps is not None
        self.observer.steps = self.trainer.args.max_steps = self.plan.optimizer_steps
        self.announce()

    def _sampled(self, path: Path, rows: Any, fingerprint: str | None) -> list[Sampled]:
        """Of these rows, in that file. fingerprint: of the rows."""
        spec = self.session.rundir.read_spec()  # as it was chosen: smaller pieces must not write other samples
        facts = {
            "data": fingerprint,
            "model": self.manifest["model"],
            "generation": spec.generation.model_dump(mode="json"),
            "generate": [spec.trl.get(name) for name in ("generation_kwargs", "chat_template_kwargs")],
            "reward": _without_files(spec.reward.model_dump(mode="json", exclude={"workers", "learning"})),
            "reward_files": sorted(self.manifest["reward_files"].values()),
            "seed": spec.run.seed,
        }
        file = SampleFile(path, facts, rows_at_once(spec))
        with self.trainer.accelerator.autocast():
            found = sample(file, self.writer, self.tokenizer, rows, self.wrapper, spec, self.ends, self._stop)
        self.spans.drain()
        return found

    def _say_examples(self, count: int, of: int) -> None:
        self.session.events.emit(AlertEvent.of("info", SAID[self.spec.learns], count=count, of=of))


def _without_files(table: Any) -> Any:
    """Where a file lies does not matter, only what is in it."""
    if isinstance(table, dict):
        return {key: _without_files(value) for key, value in table.items() if key != "file"}
    return [_without_files(each) for each in table] if isinstance(table, list) else table

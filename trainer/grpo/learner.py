"""A reward model that goes on learning while the policy trains: iterative GRPO.

DeepSeekMath (arXiv 2402.03300), section 4.1.4 and Algorithm 1: the reward model is trained on what the policy has
written since, with a tenth of older data. Here, after each `every` optimizer steps:

    loss = - mean over comparisons of log sigmoid(r(better) - r(worse))        (Bradley-Terry; arXiv 2203.02155, eq. 1)

r is the logit that the reward is made of. The classifier is the one that judges, so the next phase and the next
evaluation are judged by what it has learnt. Dropout stays off and all chance is its own: the policy's random numbers
are those of a run without it.

Shapes: B comparisons of an update, 2 B texts in one forward pass, the better ones first.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid
from transformers.trainer_callback import TrainerCallback

from trainer.errors import Problem, RewardError
from trainer.grpo.comparisons import Comparison, Reservoir, of_phase, packed, unpacked
from trainer.grpo.written import Written
from trainer.machine.json_files import write_json
from trainer.rewards.library import side_model
from trainer.rewards.library.reward_model import READS, Classifier
from trainer.rewards.wrapper import ComponentRewardWrapper
from trainer.run.checkpoints import JUDGE, JUDGE_STATE
from trainer.spec.learning import Learning

T = TypeVar("T")
KIND = "AutoModelForSequenceClassification"


@dataclass(frozen=True)
class Round:
    """What a round was trained on and what came of it. before, after: (loss, share told apart right) of the new
    comparisons; None where there were none, and nothing was trained."""

    number: int
    step: int
    new: int
    replayed: int
    before: tuple[float, float] | None = None
    after: tuple[float, float] | None = None

    def metrics(self) -> dict[str, float]:
        found: dict[str, float] = {"pairs_new": self.new, "pairs_replayed": self.replayed}
        if self.before is not None and self.after is not None:
            found |= {"loss": self.after[0], "loss_before": self.before[0]}
            found |= {"accuracy": self.after[1], "accuracy_before": self.before[1]}
        return found


class RewardLearner(TrainerCallback):
    """every: optimizer steps between two rounds, whole rollout phases. tell: is told of every round."""

    def __init__(
        self,
        wrapper: ComponentRewardWrapper,
        settings: Learning,
        every: int,
        seed: int,
        tell: Callable[[Round], None] = lambda found: None,
    ) -> None:
        self.settings, self.every, self.tell = settings, every, tell
        self.classifier: Classifier = wrapper.here[settings.component].classifier
        self.classifier.learns = True
        self.chance = random.Random(f"reward.learning {seed}")
        self.reservoir = Reservoir(settings.reservoir, self.chance)
        self.waiting: deque[Comparison] = deque(maxlen=settings.max_pairs)
        self.rounds = 0
        self.trainer: Any = None
        self._optimizer: torch.optim.Optimizer | None = None

    def attach(self, trainer: Any) -> None:
        """trainer: a CustomGRPOTrainer, whose steps it follows."""
        self.trainer = trainer
        trainer.add_callback(self)

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """Of the loaded classifier."""
        if self._optimizer is None:
            self._optimizer = self._made()
        return self._optimizer

    def _made(self) -> torch.optim.Optimizer:
        """Raises RewardError for a classifier whose weights are no plain numbers."""
        self.classifier.load()
        model = self.classifier.model
        if getattr(model, "is_quantized", False) or not all(p.is_floating_point() for p in model.parameters()):
            raise RewardError(Problem("rewards.learns_quantised", name=self.classifier.name))
        return torch.optim.AdamW(model.parameters(), self.settings.learning_rate, weight_decay=0.0)

    def saw(self, written: Written, ends: set[int]) -> None:
        """What was written in a phase. ends: tokens that end a completion."""
        wanted = self.settings
        self._optimizer = self.optimizer  # what cannot be trained is said in the first phase, not after a round's
        self.waiting.extend(of_phase(written, wanted.rule, ends, wanted.pairs_per_prompt, self.classifier))

    def on_step_end(self, args: Any, state: Any, *others: Any, **kwargs: Any) -> None:
        if state.global_step % self.every == 0:
            with self.trainer.spans("reward_learning"):
                found = self.round(state.global_step)
            for name, value in found.metrics().items():
                self.trainer._metrics["train"][f"reward_model/{name}"].append(float(value))
            self.tell(found)

    def round(self, step: int) -> Round:
        """Train on what has come since the last one, and on some of what came before it."""
        new = list(self.waiting)
        self.waiting.clear()
        self.rounds += 1
        if not new:
            return Round(self.rounds, step, 0, 0)
        again = self.reservoir.drawn(len(new), self.settings.replay)
        optimizer = self.optimizer
        before = self._measured(new)
        self._train([*new, *again], optimizer)
        for each in new:
            self.reservoir.add(each)
        return Round(self.rounds, step, len(new), len(again), before, self._measured(new))

    def _train(self, found: Sequence[Comparison], optimizer: torch.optim.Optimizer) -> None:
        model = self.classifier.model
        model.requires_grad_(True)
        try:
            for _ in range(self.settings.epochs):
                order = self.chance.sample(range(len(found)), len(found))
                for rows in _parts(order, self.settings.batch_size):
                    optimizer.zero_grad(set_to_none=True)
                    with torch.enable_grad():
                        self.loss([found[row] for row in rows]).backward()  # type: ignore[no-untyped-call]
                    optimizer.step()
        finally:
            optimizer.zero_grad(set_to_none=True)
            model.requires_grad_(False)

    def loss(self, found: Sequence[Comparison]) -> Tensor:
        """A scalar: the mean over comparisons."""
        return -logsigmoid(self._margins(found)).mean()

    def _margins(self, found: Sequence[Comparison]) -> Tensor:
        """(B,): r(better) - r(worse)."""
        texts = [each.better for each in found] + [each.worse for each in found]
        groups = [texts] if self.classifier.reads_several else [[text] for text in texts]
        logits = torch.cat([self.classifier.logits(group)[:, self.classifier.column] for group in groups])
        return logits[: len(found)] - logits[len(found) :]

    def _measured(self, found: Sequence[Comparison]) -> tuple[float, float]:
        """(mean loss, share of those in which the better one has more)."""
        with torch.no_grad():
            margins = torch.cat([self._margins(part) for part in _parts(found, self.settings.batch_size)])
        return -logsigmoid(margins).mean().item(), (margins > 0).float().mean().item()

    def save(self, folder: Path) -> None:
        """The model as transformers saves one, with its tokenizer; beside it all that the next round follows from."""
        optimizer = self.optimizer
        self.classifier.model.save_pretrained(folder / JUDGE)
        self.classifier.tokenizer.save_pretrained(folder / JUDGE)
        if self.classifier.reads is not None:
            write_json(folder / JUDGE / READS, self.classifier.reads)
        state = {
            "optimizer": optimizer.state_dict(),
            "waiting": packed(self.waiting),
            "reservoir": packed(self.reservoir.items),
            "added": self.reservoir.added,
            "chance": self.chance.getstate(),
            "rounds": self.rounds,
        }
        torch.save(state, folder / JUDGE_STATE)

    def load(self, folder: Path) -> None:
        """Of a checkpoint; one without it was written before a reward model learnt, and --force goes on with it. Raises
        RewardError where the model in it cannot be loaded."""
        if not (folder / JUDGE_STATE).exists():
            return
        state = torch.load(folder / JUDGE_STATE, weights_only=True, map_location="cpu")
        self.classifier.load()
        self.classifier.model = self._optimizer = None  # one at a time: both may not fit
        device, trusted = self.classifier.device, self.classifier.trust_remote_code
        self.classifier.model, _ = side_model.load(KIND, str(folder / JUDGE), None, device, torch.float32, trusted)
        self.optimizer.load_state_dict(state["optimizer"])
        self.waiting = deque(unpacked(state["waiting"]), self.settings.max_pairs)
        self.reservoir.items, self.reservoir.added = unpacked(state["reservoir"]), state["added"]
        version, numbers, gauss = state["chance"]
        self.chance.setstate((version, tuple(numbers), gauss))
        self.rounds = state["rounds"]


def _parts(found: Sequence[T], size: int) -> list[Sequence[T]]:
    return [found[first : first + size] for first in range(0, len(found), size)]

"""Rewards from a trained reward model: any sequence classifier of transformers.

Several reward models, say of helpfulness and of harmlessness, are several components with their weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trainer.errors import Problem, RewardError, Unfit
from trainer.machine.json_files import read_json
from trainer.rewards.contract import Completion, RewardFunction, text_of
from trainer.rewards.library import side_model

READS = "reward_model.json"
"""Beside the weights of one that was trained here (docs/methods.md): how a text becomes its tokens.

    chat_template_kwargs   with which the prompt was put into the chat template
    ends                   tokens after which a completion is over
    max_length             tokens of the longest text it can have been trained on
"""
LONGEST = 1024
ACTIVATIONS = ("none", "sigmoid", "softmax")


def reward_model(
    model: str,
    revision: str | None = None,
    device: str = "auto",
    batch_size: int = 8,
    max_length: int | None = None,
    trust_remote_code: bool = False,
    label: int | str | None = None,
    activation: str = "none",
) -> RewardFunction:
    """(B,): what the classifier says of prompt and completion together: a logit without bound, or its activation.

    model: Hub id or local folder of an `AutoModelForSequenceClassification` checkpoint, at a `revision`. It is held in
    the process of the training, in bfloat16 on a GPU that has it and else in float32.
    Chat prompts go through the model's own chat template; where it has none, and for plain text, prompt and completion
    follow each other (messages on lines of their own). One that was trained with `run.method = "reward_model"` is given
    the tokens it would have been trained on: those that were sampled, where its tokenizer says the same text of them.
    max_length: tokens that are read, or fewer where the model has fewer positions; of a longer text the beginning is
    cut off, which is the prompt's. None: as many as it was trained on, where it was trained here, else 1,024.
    label: index or name of the label whose score is the reward; required where the model has several.
    activation: the score itself, its `sigmoid`, or `softmax` over the labels, for a classifier whose labels exclude
    each other.
    trust_remote_code: run Python code that comes with the model. Only for a repository you have read.
    """
    classifier = Classifier(model, revision, device, batch_size, max_length, trust_remote_code, label, activation)

    def judge(
        prompts: Sequence[Any],
        completions: Sequence[Completion],
        completion_ids: Sequence[Sequence[int]] | None = None,
        **columns: Any,
    ) -> list[float]:
        return classifier.scores(list(zip(prompts, completions, strict=True)), completion_ids)

    return RewardFunction(judge, runs_in="trainer", from_trainer=("completion_ids",), classifier=classifier)


def process_reward_model(
    model: str,
    revision: str | None = None,
    device: str = "auto",
    batch_size: int = 8,
    max_length: int | None = None,
    trust_remote_code: bool = False,
    label: int | str | None = None,
    activation: str = "none",
) -> RewardFunction:
    """(B, S), S steps of each: what the classifier says of the prompt and the completion up to that step's end.

    For reward.supervision = "process", which gives it the texts of the steps (together they are the completion). Every
    step is a reading of its own from the beginning, so this works with any sequence classifier and takes as many
    readings as there are steps. Models with a head on every token are not for it. Arguments as of reward_model.
    """
    classifier = Classifier(model, revision, device, batch_size, max_length, trust_remote_code, label, activation)

    def judge(
        prompts: Sequence[Any], completions: Sequence[Completion], steps: Sequence[Sequence[str]], **columns: Any
    ) -> list[list[float]]:
        begun = [
            (prompt, "".join(parts[:end]))
            for prompt, parts in zip(prompts, steps, strict=True)
            for end in range(1, len(parts) + 1)
        ]
        scores = iter(classifier.scores(begun))
        return [[next(scores) for _ in parts] for parts in steps]

    return RewardFunction(judge, runs_in="trainer", from_trainer=("steps",))


class Classifier:
    """A sequence classifier and one of its labels; it is loaded at the first call. Raises ValueError.

    learns: its weights are trained (trainer.grpo.learner), so they are float32, under autocast on a GPU that has
    bfloat16: of bfloat16 weights a small step would be rounded away.
    """

    def __init__(
        self,
        name: str,
        revision: str | None,
        device: str,
        batch_size: int,
        max_length: int | None,
        trust_remote_code: bool,
        label: int | str | None,
        activation: str,
    ) -> None:
        if activation not in ACTIVATIONS:
            raise Unfit("rewards.unfit.activation", seen=repr(activation), known=list(ACTIVATIONS))
        if batch_size < 1 or (max_length is not None and max_length < 1):
            raise Unfit("rewards.unfit.classifier_sizes", batch=batch_size, length=max_length)
        self.name, self.revision, self.device, self.trust_remote_code = name, revision, device, trust_remote_code
        self.batch_size = batch_size
        self.max_length = max_length or LONGEST
        self._longest_typed = max_length
        self.label, self.activation = label, activation
        self.learns = False
        self.model: Any = None
        self.tokenizer: Any = None
        self.column = 0
        self.reads: dict[str, Any] | None = None

    def scores(
        self, asked: Sequence[tuple[Any, Completion]], sampled: Sequence[Sequence[int]] | None = None
    ) -> list[float]:
        """(n,): the label's score of each of n (prompt, completion). sampled: tokens of the completions, of whichever
        tokenizer. Raises RewardError where it cannot be loaded."""
        self.load()
        written = sampled if sampled is not None else [None] * len(asked)
        ids = [self.ids(prompt, text, own) for (prompt, text), own in zip(asked, written, strict=True)]
        size = self.batch_size if self.reads_several else 1
        values = [0.0] * len(ids)
        for rows in side_model.by_length(ids, size):
            for row, value in zip(rows, self._forward([ids[row] for row in rows]), strict=True):
                values[row] = value
        return values

    def ids(self, prompt: Any, completion: Completion, sampled: Sequence[int] | None = None) -> list[int]:
        """Tokens of prompt and completion as the model reads them, at most max_length. sampled: as for scores."""
        said = text_of(completion)
        if self.reads is not None:
            return self._as_trained(self.reads, prompt, said, sampled)[-self.max_length :]
        if isinstance(prompt, str):
            text, complete = prompt + said, False
        else:
            messages = [*prompt, {"role": "assistant", "content": said}]
            complete = bool(self.tokenizer.chat_template)  # the template writes the special tokens as well
            text = (
                self.tokenizer.apply_chat_template(messages, tokenize=False)
                if complete
                else "\n".join(str(message["content"]) for message in messages)
            )
        ids: list[int] = self.tokenizer(
            text, add_special_tokens=not complete, truncation=True, max_length=self.max_length
        )["input_ids"]
        return ids

    def _as_trained(
        self, reads: dict[str, Any], prompt: Any, completion: str, sampled: Sequence[int] | None
    ) -> list[int]:
        """The prompt as it is asked, then the sampled tokens; of a text alone, those it is written with, to its end."""
        tokenizer, kwargs = self.tokenizer, reads.get("chat_template_kwargs") or {}
        ends = set(reads.get("ends") or [tokenizer.eos_token_id])

        def of(messages: Any, **more: Any) -> list[int]:
            made = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=True, **{**more, **kwargs})
            return list(made["input_ids"])

        chat = not isinstance(prompt, str)
        asked = of(prompt, add_generation_prompt=True) if chat else list(tokenizer(text=prompt)["input_ids"])
        if sampled is not None and tokenizer.decode(sampled, skip_special_tokens=True) == completion:
            return [*asked, *sampled]
        if chat:
            whole = of([*prompt, {"role": "assistant", "content": completion}])
            said = whole[len(asked) :]
            last = next((place for place, token in enumerate(said, 1) if token in ends), None)
            if whole[: len(asked)] == asked and last is not None:
                return whole[: len(asked) + last]
        return [*asked, *tokenizer(text=completion, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]

    @property
    def reads_several(self) -> bool:
        """A decoder's head reads the last token that is no padding: without a padding token it reads one text at a
        time."""
        return self._filler() is not None

    def _filler(self) -> int | None:
        pad = self.model.config.get_text_config().pad_token_id
        return None if pad is None or pad < 0 else pad  # -1 in configs of the first Llama models

    def logits(self, ids: Sequence[Sequence[int]]) -> Any:
        """(B, labels), float32, with their gradient where it is asked for."""
        import torch

        batch = side_model.padded(ids, self._filler() or 0, self.device)
        # Not under the autocast of the training: the judge's dtype is its own.
        mixed = self.learns and self._native
        with torch.autocast(self.device.partition(":")[0], torch.bfloat16, enabled=mixed):
            return self.model(**batch).logits.float().reshape(len(ids), -1)

    def _forward(self, ids: Sequence[Sequence[int]]) -> list[float]:
        import torch

        with torch.no_grad():
            logits = self.logits(ids)
        if self.activation == "softmax":
            logits = logits.softmax(dim=-1)
        chosen = logits[:, self.column]
        values: list[float] = (chosen.sigmoid() if self.activation == "sigmoid" else chosen).tolist()
        return values

    def load(self) -> None:
        """Nothing where it is loaded. Raises RewardError."""
        import torch

        if self.model is not None:
            return
        device = side_model.pick_device(self.device)
        self._native = device != "cpu" and torch.cuda.is_bf16_supported(including_emulation=False)
        dtype = torch.bfloat16 if self._native and not self.learns else torch.float32
        kind = "AutoModelForSequenceClassification"
        model, tokenizer = side_model.load(kind, self.name, self.revision, device, dtype, self.trust_remote_code)
        self.column = self._column(model.config)
        tokenizer.truncation_side = "left"  # of a text that is too long the completion is at the end, and it is judged
        self.reads = read_json(side_model.local(self.name) / READS)
        longest = self._longest_typed or (self.reads or {}).get("max_length") or LONGEST
        self.max_length = min(longest, side_model.longest_input(model) or longest)
        self.model, self.tokenizer, self.device = model, tokenizer, device

    def _column(self, config: Any) -> int:
        names = [str(config.id2label[index]) for index in range(config.num_labels)]
        if self.label is None and len(names) == 1:
            return 0
        if isinstance(self.label, int) and 0 <= self.label < len(names):
            return self.label
        if self.label in names:
            return names.index(str(self.label))
        known = ", ".join(f"{index} = {name}" for index, name in enumerate(names))
        found: dict[str, Any] = {"name": self.name, "known": known, "last": names[-1]}
        if self.label is None:
            raise RewardError(Problem("rewards.label_missing", **found))
        raise RewardError(Problem("rewards.label_unknown", label=repr(self.label), **found))

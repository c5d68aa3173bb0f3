"""Talk to a checkpoint of a run, and to the model as it was before training.

`opened` finds the checkpoint, keeps the GPU from runs meanwhile, and gives a Chat; a Dialogue on it remembers what was
said. No terminal and no page in here. torch, transformers and PEFT are imported when a model is loaded.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from trainer import launch
from trainer.errors import Problem, RunError
from trainer.export import source as sources
from trainer.export.kinds import Say
from trainer.export.source import Source
from trainer.machine import gpu, spawn
from trainer.run.rundir import RunDir
from trainer.text import Message
from trainer.tryit.request import refuse_judge

Turn = dict[str, str]
OnText = Callable[[str], None]
OnToken = Callable[[], None]
START = "start"  # what the adapter that the run has started from is called in PEFT


@dataclass(frozen=True)
class ChatSettings:
    """temperature: 0 is greedy. max_new_tokens: after which an answer is cut. Raises RunError when they cannot be."""

    temperature: float = 0.7
    max_new_tokens: int = 512

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= 10:
            raise RunError(Problem("tryit.temperature", "--temperature", seen=self.temperature, most=10))
        if self.max_new_tokens < 1:
            raise RunError(Problem("tryit.no_tokens", "--max-new-tokens", seen=self.max_new_tokens))


@dataclass(frozen=True)
class Answer:
    """cut: it was not at its end after max_new_tokens."""

    text: str
    tokens: int
    cut: bool


class Chat:
    """The models of one checkpoint, loaded when first asked: a person who only wants one waits for one.

    With LoRA both are the same weights with the adapter on or off, or with the one that the run has started from; a run
    that trained all weights has two models.
    """

    def __init__(self, source: Source, device: str = "cpu") -> None:
        self.source = source
        self.spec = source.spec
        self.device = device
        self._tokenizer: Any = None
        self._models: dict[str, Any] = {}

    def answer(
        self,
        prompt: list[Turn] | str,
        settings: ChatSettings,
        *,
        base: bool = False,
        seed: int = 0,
        on_text: OnText,
        on_token: OnToken = lambda: None,
    ) -> Answer:
        """Answer messages, or continue a text; on_text is told every piece at once, on_token called at every token.

        base: by the weights before training. seed: of the sampling, which is the run's own (top_p, top_k) but for the
        temperature: base and tuned differ by their weights only. Raises ExportError when weights are not to be had;
        what the two callbacks raise ends the answer.
        """
        import torch

        ids = self.prompt_ids(prompt)
        inputs = torch.tensor([ids], device=self.device)
        with self.speaking(base, seed) as model:
            output = model.generate(
                input_ids=inputs,
                attention_mask=torch.ones_like(inputs),
                streamer=Streamer(self.tokenizer, on_text, on_token),
                use_cache=True,
                pad_token_id=self.tokenizer.pad_token_id,
                **self.decoding(settings),
            )
        new = output[0, len(ids) :].tolist()
        return Answer(self.tokenizer.decode(new, skip_special_tokens=True), len(new), self.cut(new, base))

    def load(self, base: bool = False) -> None:
        """Load what answers, if that was not done. Raises ExportError when weights are not to be had."""
        self._model(base)

    def prompt_ids(self, prompt: list[Turn] | str) -> list[int]:
        """Its tokens, as in training. Raises RunError when the model's chat template refuses it."""
        from trainer.data.dataset import prompt_ids

        with _template_errors():
            return prompt_ids(prompt, self.tokenizer, self.spec.trl.get("chat_template_kwargs"))

    @contextmanager
    def speaking(self, base: bool, seed: int) -> Iterator[Any]:
        """The model that answers, ready to generate. seed: of the sampling."""
        import torch
        from transformers import set_seed

        from trainer.grpo.generation_guard import generation_mode

        model = self._model(base)
        set_seed(seed)
        with torch.no_grad(), self._untrained(base), self._autocast(), generation_mode(model):
            yield model

    def decoding(self, settings: ChatSettings) -> dict[str, Any]:
        """Arguments of generate."""
        length = {"max_new_tokens": settings.max_new_tokens}
        if settings.temperature == 0:
            return length | {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        generation = self.spec.generation
        return length | {
            "do_sample": True,
            "temperature": settings.temperature,
            "top_p": generation.top_p,
            "top_k": generation.top_k,
        }

    def cut(self, written: list[int], base: bool) -> bool:
        """Do these tokens not come to an end?"""
        return not written or written[-1] not in _ends(self._model(base), self.tokenizer)

    @property
    def context_tokens(self) -> int | None:
        """Most tokens the model can read and write together; None when its configuration does not say."""
        found = getattr(self._model(False).config.get_text_config(), "max_position_embeddings", None)
        return found if isinstance(found, int) else None

    @property
    def tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        if self._tokenizer is None:
            self._tokenizer = AutoTokenizer.from_pretrained(self.source.path)
        return self._tokenizer

    def _model(self, base: bool) -> Any:
        from trainer.export import merged
        from trainer.fast.decoding import Decoding
        from trainer.grpo.generation_guard import guard_generate
        from trainer.grpo.spans import Spans

        kind = "adapted" if self.source.lora else "base" if base else "whole"
        if kind not in self._models:
            with merged.quiet():
                if kind == "adapted":
                    self._models[kind] = merged.load_adapted(self.source, self.device)
                    if self.source.start is not None:
                        self._models[kind].load_adapter(self.source.start, START, torch_device=self.device)
                elif kind == "whole":
                    self._models[kind] = merged.load_whole(self.source).to(self.device)
                else:
                    self._models[kind] = self._load_base()
            if self.spec.run.fast == "auto":  # several answers to a prompt read it once
                guard_generate(self._models[kind], Spans(), decoding=Decoding())
        return self._models[kind]

    def _load_base(self) -> Any:
        """The model that a run of all weights began with, loaded as the run did."""
        from trainer.engine import transformers_engine
        from trainer.engine.interface import Choice

        base = self.source.base()
        model = self.spec.model.model_copy(update={"revision": base.revision})
        spec = self.spec.model_copy(update={"model": model})
        choice = Choice("transformers", self.device, self.source.compute_dtype())
        return transformers_engine.load(spec, choice, base.name).model

    def _untrained(self, base: bool) -> AbstractContextManager[Any]:
        switched: AbstractContextManager[Any] = nullcontext()
        if base and self.source.lora:
            model = self._model(base)
            switched = _as_it_started(model) if self.source.start is not None else model.disable_adapter()
        return switched

    def _autocast(self) -> AbstractContextManager[Any]:
        """As in training and its evaluations: adapters and whole weights are float32 there, computed in bfloat16."""
        import torch

        bfloat16 = self.device == "cuda" and self.source.compute_dtype() == "bfloat16"
        computed: AbstractContextManager[Any] = torch.autocast(self.device, torch.bfloat16, enabled=bfloat16)
        return computed


@contextmanager
def _as_it_started(model: Any) -> Iterator[None]:
    trained = model.active_adapter
    model.set_adapter(START, inference_mode=True)
    try:
        yield
    finally:
        model.set_adapter(trained, inference_mode=True)


@dataclass
class Dialogue:
    """What was said to one of the two models. system: put before everything; None takes the run's own.

    Raises RunError for a system message to a run whose prompts are plain text: there each prompt stands alone.
    """

    chat: Chat
    settings: ChatSettings
    base: bool = False
    system: str | None = None
    turns: list[Turn] = field(default_factory=list)
    answered: int = 0

    def __post_init__(self) -> None:
        data = self.chat.spec.data
        if self.system is not None and not data.chat:
            raise RunError(Problem("tryit.system", "--system", run=self.chat.source.rundir.name))
        self.system = self.system if self.system is not None else data.system_prompt

    def say(self, text: str, on_text: OnText, on_token: OnToken = lambda: None) -> Answer:
        """The answer; one that was interrupted is not remembered. Other answers each time, the same ones in each run
        of the program."""
        answer = self.chat.answer(
            self.prompt(text), self.settings, base=self.base, seed=self.answered, on_text=on_text, on_token=on_token
        )
        said = [{"role": "user", "content": text}, {"role": "assistant", "content": answer.text}]
        self.turns = [*self.turns, *said]
        self.answered += 1
        return answer

    def prompt(self, text: str) -> list[Turn] | str:
        """What the model is given when that is said."""
        if not self.chat.spec.data.chat:
            return text
        system = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, *self.turns, {"role": "user", "content": text}]

    def reset(self) -> None:
        self.turns = []


@contextmanager
def opened(rundir: RunDir, checkpoint: str | None = None, device: str | None = None, *, say: Say) -> Iterator[Chat]:
    """A Chat on that checkpoint, as resolve_checkpoint takes it. On a GPU no run can start until the end.

    device: cpu or cuda; None takes the run's, or the CPU where there is no GPU. Raises RunError when a run trains on
    the GPU.
    """
    found = sources.find(rundir, checkpoint, say)
    refuse_judge(found.spec, rundir.name)
    say(Message("tryit.checkpoint_taken", name=found.path.name))
    device = device or found.spec.model.device
    if device != "cpu":
        os.environ.update(spawn.one_gpu())  # before torch looks
        device = _with_gpu(device)
    if device == "cpu":
        yield Chat(found)
        return
    card = gpu.chosen()
    with launch.hold_gpu_lock(card.uuid if card else "unnamed", rundir.name, use="chat with"):
        yield Chat(found, device)


def _with_gpu(device: str) -> str:
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if device == "cuda":
        raise RunError(Problem("tryit.no_gpu", "--device"))
    return "cpu"


@contextmanager
def _template_errors() -> Iterator[None]:
    """Some models' templates refuse a system message, in an exception of jinja2."""
    from jinja2 import TemplateError

    try:
        yield
    except TemplateError as error:
        raise RunError(Problem("tryit.template", "prompt", said=str(error))) from error


class Streamer:
    """What generate takes as `streamer`: tells every piece at once. transformers' own waits for the end of a word."""

    def __init__(self, tokenizer: Any, on_text: OnText, on_token: OnToken) -> None:
        self.tokenizer, self.on_text, self.on_token = tokenizer, on_text, on_token
        self.ids: list[int] | None = None  # generate puts the prompt first
        self.told = 0

    def put(self, value: Any) -> None:
        if self.ids is None:
            self.ids = []
            return
        self.ids += value.flatten().tolist()
        self.on_token()
        text = self._text()
        if not text.endswith("\ufffd"):  # else half a character: the next token has the rest of its bytes
            self._tell(text)

    def end(self) -> None:
        self._tell(self._text())

    def _text(self) -> str:
        return str(self.tokenizer.decode(self.ids or [], skip_special_tokens=True))

    def _tell(self, text: str) -> None:
        if len(text) > self.told:
            self.on_text(text[self.told :])
            self.told = len(text)


def _ends(model: Any, tokenizer: Any) -> set[int]:
    """Tokens that end an answer."""
    configured = model.generation_config.eos_token_id
    named = configured if isinstance(configured, list) else [configured]
    return {token for token in (*named, tokenizer.eos_token_id) if token is not None}

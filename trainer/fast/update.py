"""The update of a GRPOTrainer, faster and with the same gradient: FastUpdate goes between ours and TRL's class.

shared      each distinct prompt of an accumulation window goes through the model once (prefixes.py, logps.py); where
            that cannot be, once with some of its completions (packed.py)
ordered     rows of a prompt lie together and short ones first, so that little of a micro-batch is padding (rows.py)
skipped     rows that change no weight get no forward and no backward; TRL's denominators see all rows

Hooked in TRL 1.14.2 (grpo_trainer.py): `_prepare_inputs`, `compute_loss`, `_get_per_token_logps_and_entropies`,
`training_step`. No upstream body is copied: the loss stays TRL's, given log-probabilities that came another way.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable
from typing import Any, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from trainer.fast import cache, check, packed, reasons, rows, unsloths
from trainer.fast.logps import Asked, Rows, compute
from trainer.fast.prefixes import NotShared, Prefixes
from trainer.fast.saying import OFF
from trainer.fast.unsloths import is_unsloths
from trainer.text import Message

Choice = Literal["auto", "off"]
Way = TypeVar("Way", Prefixes, packed.Packing)
CALL = {"cpu": 64, "cuda": 512}
"""What a call of the model costs beside its tokens, in tokens: layers are launched one by one, and a GPU is idle
meanwhile. Measured on a CPU (docs/fast.md); for a GPU reckoned from 12 ms a call and 0.02 ms a token."""
FEW = 4  # rows that the check before the first use compares

_Upstream: Any = object  # stands for the base the hooks are mixed into


class FastUpdate(_Upstream):  # type: ignore[misc]  # Any: TRL's class or one that Unsloth generates from it
    """fast: as run.fast. tell: hears what a check before the first use has found."""

    _buffered_inputs: Any = None
    model: Any

    def __init__(
        self, *args: Any, fast: Choice = "off", tell: Callable[[Message], None] = lambda _: None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.is_fast = fast == "auto"
        self.fast = reasons.why_not(self) if self.is_fast else OFF
        self._tell = tell
        self._pads = reasons.learns_positions(self.accelerator.unwrap_model(self.model))
        self._live: list[int] | None = None  # of the micro-batch whose loss is being computed
        self._old: Tensor | None = None
        self._checked: set[str] = set()
        self._reached: set[str] = set()  # weights that had a gradient in the last window with one
        self._prefixes = self._new(Prefixes) if self.fast.shared is None else None
        self._packing = self._new(packed.Packing) if self.fast.shares else None
        self._refused: Message | None = None  # why prompts have no pass of their own, found by trying
        self._is_said = False  # and no row with their completions either, as it was too dear

    def _new(self, way: type[Way]) -> Way:
        config = self.accelerator.unwrap_model(self.model).config
        kinds = cache.windows(config)
        assert kinds is not None, "reasons.why_not has looked"
        return way(config, kinds, CALL.get(self.accelerator.device.type, CALL["cuda"]))

    def _prepare_inputs(self, *args: Any, **kwargs: Any) -> Any:
        before = getattr(self, "_buffered_inputs", None)
        inputs = super()._prepare_inputs(*args, **kwargs)
        window = self._window()
        if not self.model.training or self._buffered_inputs is before or self.fast.ordered or window is None:
            return inputs
        self._buffered_inputs = rows.together(self._buffered_inputs, window)
        return self._buffered_inputs[self._step % self.args.steps_per_generation]

    def _window(self) -> int | None:
        """Micro-batches of the buffer that are in one accumulation window wherever it lies; None for none."""
        window, buffered = self.args.gradient_accumulation_steps, self.args.steps_per_generation
        return min(window, buffered) if window % buffered == 0 or buffered % window == 0 else None

    def compute_loss(self, model: Any, inputs: rows.Batch, *args: Any, **kwargs: Any) -> Any:
        if not self.fast.shares and self.fast.skipped:
            return super().compute_loss(model, inputs, *args, **kwargs)
        if is_unsloths(self):
            return self._unsloths_loss(super().compute_loss, model, inputs, *args, **kwargs)
        live = rows.alive(inputs, advantages_decide=self.fast.skipped is None)
        if not live and self._has_to_find_out():
            return super().compute_loss(model, inputs, *args, **kwargs)
        self._live = live
        self._old = inputs.get("old_per_token_logps")
        try:
            loss = super().compute_loss(model, inputs, *args, **kwargs)
        finally:
            self._live, self._old = None, None
        if not live:  # of no token: TRL's mean over none would be an entropy of 0
            mode = "train" if self.model.training else "eval"
            self._metrics[mode]["entropy"].pop()
            if not self._metrics[mode]["entropy"]:
                del self._metrics[mode]["entropy"]
        return loss

    def _unsloths_loss(
        self, theirs: Callable[..., Any], model: Any, inputs: rows.Batch, *args: Any, **kwargs: Any
    ) -> Any:
        if inputs["advantages"].dim() > 1:  # of tokens: they were moved with the padding of all rows
            return theirs(model, inputs, *args, **kwargs)
        live, count = unsloths.live_groups(inputs), len(inputs["advantages"])
        if not live and not self._has_to_find_out():
            return unsloths.nothing(self.model)
        some = inputs if len(live) in (0, count) else unsloths.without(inputs, live, self.loss_type)
        return theirs(model, some, *args, **kwargs)

    def _get_per_token_logps_and_entropies(self, model: Any, *args: Any, **kwargs: Any) -> Any:
        """(B, T) log-probabilities and entropies of policy, old policy and reference."""
        theirs = super()._get_per_token_logps_and_entropies
        gradient = self._live is not None
        others = {name: value for name, value in kwargs.items() if name not in ("batch_size", "compute_entropy")}
        if (
            (not self.fast.shares and (self.fast.skipped or not gradient))
            or gradient != torch.is_grad_enabled()  # not by a loss: nobody would close the prompts
            or any(value is not None and value is not False for value in others.values())  # images, loss of a router
        ):
            return theirs(model, *args, **kwargs)
        return self._of_the_living(theirs, model, *args, **{k: v for k, v in kwargs.items() if k not in others})

    def _of_the_living(
        self,
        theirs: Callable[..., Any],
        model: Any,
        input_ids: Tensor,
        attention_mask: Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
    ) -> Any:
        padded = input_ids.shape[1] - logits_to_keep if self._pads else 0
        stock = _Theirs(theirs, model, {"batch_size": batch_size, "compute_entropy": compute_entropy}, padded)
        gradient = self._live is not None
        some = Rows.of(input_ids, attention_mask, logits_to_keep)
        live = self._live if gradient else [row for row, length in enumerate(some.lengths) if length]
        assert live is not None
        if not live:
            found: tuple[Tensor, Tensor | None] | None = None
        elif self._shares(stock, some, live, gradient):
            asked = Asked(self.temperature, compute_entropy, self._entropy_bonus_enabled)
            prefixes = self._prefixes if gradient or self._prefixes is None else self._new(Prefixes)
            found = self._computed(model, prefixes, some, live, asked, None if gradient else batch_size)
        elif len(live) == len(some.lengths):
            return stock.whole(input_ids, attention_mask, logits_to_keep)
        else:
            found = stock.of(some, live)
        return self._of_all_rows(found, live, some, compute_entropy, gradient)

    def _of_all_rows(
        self, found: tuple[Tensor, Tensor | None] | None, live: list[int], some: Rows, entropy: bool, gradient: bool
    ) -> tuple[Tensor, Tensor | None, None]:
        """What TRL's loss is given: rows without a forward have a ratio of 1, and the mean entropy of the others."""
        count, like = len(some.lengths), some.completions
        if found is None:
            found = (like.new_zeros((0, like.shape[1]), dtype=torch.float32),) * 2
        logps = rows.filled(found[0], live, count, self._old if gradient else None)
        if gradient and not logps.requires_grad:
            logps.requires_grad_()  # a loss of 0 that backward accepts
        if not entropy or found[1] is None:
            return logps, None, None
        tokens = sum(some.lengths[row] for row in live)
        mean = found[1].detach().sum() / max(tokens, 1)
        return logps, rows.filled(found[1], live, count, mean.expand(like.shape)), None

    def _shares(self, theirs: _Theirs, some: Rows, live: list[int], gradient: bool) -> bool:
        """Are the prompts worth sharing? Before the first time, with and without gradient, it is checked; where prompts
        cannot have a pass of their own, they may stand in one row with their completions."""
        kind = "gradient" if gradient else "forward"
        while self._prefixes is not None or self._packing is not None:
            if not self._pays(some, live, gradient):
                self._say_refused()
                return False
            if kind in self._checked:
                return True
            self._checked.add(kind)
            self._check(theirs, some, _few(some, live), gradient)
        return False

    def _pays(self, some: Rows, live: list[int], gradient: bool) -> bool:
        if any(len(some.prompts[row].ids) < 2 for row in live):
            return False
        if self._prefixes is None:
            assert self._packing is not None
            return self._packing.saves(some, live)
        kept = Rows([some.prompts[row] for row in live], some.completions, [some.lengths[row] for row in live])
        paid = self._prefixes.keys() | self._needed(self._step + 1) if gradient else set()
        stock, here = kept.tokens(paid)
        calls = 1 if all(prompt.key in paid for prompt in kept.prompts) else 2  # no pass over prompts of its own
        return stock - here >= calls * self._prefixes.cost

    def _computed(self, model: Any, prefixes: Prefixes | None, *args: Any) -> tuple[Tensor, Tensor | None]:
        """prefixes: of prompts with a pass of their own, None for rows of a prompt with its completions."""
        if prefixes is not None:
            return compute(model, prefixes, *args)
        assert self._packing is not None
        return self._packing.compute(model, *args)

    def _check(self, theirs: _Theirs, some: Rows, few: list[int], gradient: bool) -> None:
        """Give this way up for the run when it differs from TRL's, and say so."""
        prefixes = None if self._prefixes is None else self._new(Prefixes)

        def ours() -> Tensor:
            return self._computed(theirs.model, prefixes, some, few, Asked(self.temperature))[0]

        def stock() -> Tensor:
            return theirs.of(some, few)[0]

        dtype = _autocast(self.accelerator) or check.computed_in(theirs.model)
        try:
            with torch.random.fork_rng([each] if (each := self.accelerator.device).type == "cuda" else []):
                if gradient:  # a resumed run tries it too, and its random numbers are to be those of the first
                    model = self.accelerator.unwrap_model(theirs.model)
                    found = check.gradient(model, stock, ours, prefixes, dtype, reasons.is_reentrant(self.args))
                else:
                    found = check.forward(stock, ours, dtype)
        except NotShared as reason:
            self._give_up(Message(f"fast.why.{reason.key}"))
            return
        except check.SHORTCOMINGS as error:
            check.raise_if_out_of_memory(error)
            self._give_up(Message("fast.why.fails", said=f"{type(error).__name__}: {error}"[:200]))
            return
        if not found.small:
            distance = max(found.logps, found.gradient or 0.0)
            self._give_up(Message("fast.why.differs", distance=distance, limit=found.limit))
        elif self._refused is not None:
            self._tell(Message("fast.packed", why=self._refused))
            self._refused = None

    def _say_refused(self) -> None:
        """Prompts were refused a pass of their own, and these rows cost more in one row; later ones may cost less."""
        if self._refused is not None and not self._is_said:
            self._is_said = True
            self._tell(Message("fast.not_shared", why=self._refused))

    def _give_up(self, why: Message) -> None:
        self._checked.clear()
        if self._prefixes is not None:
            self._prefixes, self._refused = None, why
        else:
            self._packing = None
            if not self._is_said:
                self._tell(Message("fast.not_shared", why=self._refused or why))

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        """One micro-batch. At its end: the gradient of prompts that no later one needs; at a window's end: zeros."""
        try:
            loss = super().training_step(*args, **kwargs)
            self.close_prompts(self._needed(self._step))
        except BaseException:
            self.forget_prompts()
            raise
        if (self.fast.shares or not self.fast.skipped) and self.accelerator.sync_gradients:
            self._zeros_for_none()
        return loss

    def close_prompts(self, needed: Collection[Hashable] = ()) -> None:
        """After the backward of a micro-batch: carry the gradient of the prompts that are not needed any more into the
        weights. Whoever calls `compute_loss` and backward has to call this, or `forget_prompts`."""
        if self._prefixes is not None:
            self._prefixes.close(needed)

    def forget_prompts(self) -> None:
        """Without a gradient."""
        if self._prefixes is not None:
            self._prefixes.forget()

    def _needed(self, first: int) -> set[Hashable]:
        """Prompts of the micro-batches from `first` on in this accumulation window, soonest first: no more tokens than
        one micro-batch of TRL's has, because their graph is held in memory."""
        if self._prefixes is None or self.accelerator.sync_gradients or self._buffered_inputs is None:
            return set()
        window, buffered = self.args.gradient_accumulation_steps, self.args.steps_per_generation
        scattered = self.fast.ordered or self._window() is None
        found: dict[Hashable, int] = {}
        for step in range(first, first - first % window + window):
            if step % (buffered * self.num_iterations) == 0:
                break  # other completions, of prompts of their own
            batch = self._buffered_inputs[step % buffered]
            most = batch["prompt_ids"].numel() + batch["completion_ids"].numel()
            ids, mask = batch["prompt_ids"], batch["prompt_mask"]
            some = Rows.of(torch.cat([ids, ids[:, :1]], 1), torch.cat([mask, mask[:, :1]], 1), 1)
            for row in rows.alive(batch, advantages_decide=self.fast.skipped is None):
                prompt = some.prompts[row]
                if sum(found.values()) + len(prompt.ids) <= most:
                    found.setdefault(prompt.key, len(prompt.ids))
            if not scattered or sum(found.values()) > most // 2:
                break  # where those of a prompt lie together, none comes back later
        return set(found)

    def _has_to_find_out(self) -> bool:
        """Which weights a loss reaches: at the end of a first window without live rows, whose gradient is 0 anyhow."""
        return (
            self.model.training
            and self.accelerator.sync_gradients
            and not self._reached
            and all(weight.grad is None for weight in self.model.parameters())
        )

    def _zeros_for_none(self) -> None:
        """A gradient of 0 where a window without live rows has left none: AdamW still moves a weight whose gradient is
        0, by its momentum, and shrinks it; it leaves one alone that has no gradient, as TRL does with those that no
        loss reaches."""
        trained = {name: weight for name, weight in self.model.named_parameters() if weight.requires_grad}
        reached = {name for name, weight in trained.items() if weight.grad is not None}
        if reached:
            self._reached = reached
        for name in () if reached else self._reached:
            trained[name].grad = torch.zeros_like(trained[name])


class _Theirs(NamedTuple):
    """TRL's own way. padded: tokens that prompts have at least, padding counted."""

    function: Callable[..., Any]
    model: Any
    options: dict[str, Any]
    padded: int

    def whole(self, ids: Tensor, mask: Tensor, keep: int) -> Any:
        return self.function(self.model, ids, mask, keep, **self.options)

    def of(self, some: Rows, live: list[int]) -> tuple[Tensor, Tensor | None]:
        """(len(live), T), of these rows alone and cut to their longest."""
        width = max(some.lengths[row] for row in live)
        prompts = [some.prompts[row].ids for row in live]
        longest = max(self.padded, *map(len, prompts))
        written = some.completions[live, :width]
        places = torch.arange(width, device=written.device)
        lengths = torch.tensor([some.lengths[row] for row in live], device=written.device)
        ids = torch.cat([torch.stack([nn.functional.pad(p, (longest - len(p), 0)) for p in prompts]), written], 1)
        before = [nn.functional.pad(torch.ones_like(p), (longest - len(p), 0)) for p in prompts]
        mask = torch.cat([torch.stack(before), (places < lengths[:, None]).long()], 1)
        logps, entropies, _ = self.whole(ids, mask, width)
        missing = (0, some.completions.shape[1] - width)
        return nn.functional.pad(logps, missing), None if entropies is None else nn.functional.pad(entropies, missing)


def _few(some: Rows, live: list[int]) -> list[int]:
    """Two rows of each of the first two prompts, of different length where there are such: all that can go wrong."""
    by_prompt: dict[Hashable, list[int]] = {}
    for row in live:
        by_prompt.setdefault(some.prompts[row].key, []).append(row)
    chosen: list[int] = []
    for found in sorted(by_prompt.values(), key=len, reverse=True)[:2]:
        shortest, longest = min(found, key=some.lengths.__getitem__), max(found, key=some.lengths.__getitem__)
        chosen += dict.fromkeys([shortest, longest, *found[:2]])
    return chosen[:FEW]


def _autocast(accelerator: Any) -> torch.dtype | None:
    return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(accelerator.mixed_precision)

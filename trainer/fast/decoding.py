"""What `generate` does, with each prompt read once and finished rows gone: given to it as its decoding method.

    model.generate(..., custom_generate=Decoding())

transformers 5.17 prepares everything as for its own way (generation/utils.py `generate`): lengths, end tokens, the
processors of scores, the criteria to stop by. Then, instead of `_sample`:

once        rows with the same prompt share its pass; its cache is copied for each of them
compaction  a row that has ended leaves the batch, its cache with it
refill      with `slots` fewer than rows, waiting prompts take the places that become free
forks       with plans one row writes a plan, then its cache is copied for all ways on from it (forks.py); until then
            it counts as many places as it will have rows

Tokens are drawn as `_sample` draws them, for the rows that are there: the same distribution, another stream of random
numbers than for the undivided batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers.generation import GenerationMode
from transformers.generation import logits_process as scores

from trainer.fast import check
from trainer.fast.batch import Batch
from trainer.fast.cache import turns_with_length
from trainer.fast.forks import Forks
from trainer.fast.growing import growing, joins
from trainer.text import Message

BY_ROW = tuple(
    getattr(scores, name)
    for name in (
        "TemperatureLogitsWarper", "TopKLogitsWarper", "TopPLogitsWarper", "MinPLogitsWarper", "TypicalLogitsWarper",
        "EpsilonLogitsWarper", "EtaLogitsWarper", "RepetitionPenaltyLogitsProcessor", "NoRepeatNGramLogitsProcessor",
        "MinLengthLogitsProcessor", "MinNewTokensLengthLogitsProcessor", "NoBadWordsLogitsProcessor",
        "SequenceBiasLogitsProcessor", "SuppressTokensLogitsProcessor", "SuppressTokensAtBeginLogitsProcessor",
        "ForcedEOSTokenLogitsProcessor", "InfNanRemoveLogitsProcessor", "LogitNormalization",
        "ExponentialDecayLengthPenalty",
    )
)  # fmt: skip
"""Processors that look at each row by itself, so that rows may leave. Others (guidance, watermarks) remember rows."""
MODEL_ARGUMENTS = {"attention_mask", "position_ids", "past_key_values", "use_cache", "logits_to_keep"}

Draw = Callable[[Tensor, Tensor], Tensor]
"""(rows, V) probabilities and the rows' numbers in the whole batch -> (rows,) tokens."""


MANY_WORDS = 1024


def draw(probabilities: Tensor, rows: Tensor) -> Tensor:
    """torch.multinomial draws a number for every word; of a large vocabulary that is a sixth of a decoding step on a
    CPU. There it is one number a row, and the word at which the sum of probabilities goes beyond it."""
    if not probabilities.is_cpu or probabilities.shape[1] < MANY_WORDS:
        return torch.multinomial(probabilities, 1)[:, 0]
    sums = probabilities.double().cumsum(1)  # in float32 rare words would be lost in the rounding
    total = sums[:, -1:]
    if not bool((total.isfinite() & (total > 0)).all()):
        raise RuntimeError("probabilities that are no numbers, or none above 0")
    point = torch.rand_like(total) * total
    # Beyond the point and not at it: a word without probability is never drawn, the last one's sum included.
    return torch.searchsorted(sums, point.minimum(total.nextafter(torch.zeros_like(total))), right=True)[:, 0]


class NotPlain(Exception):
    """What is asked for needs transformers' own way. Nothing was written, and no random number drawn."""


class Decoding:
    """tell: hears that this model is written for in transformers' own way, and why. draw: how tokens are drawn.

    slots: rows that are written at the same time at most, None for all. forks: where rows are plans and ways on from
    them. batches: how many came this way.
    """

    def __init__(self, tell: Callable[[Message], None] = lambda _: None, draw: Draw = draw) -> None:
        self.tell, self.draw = tell, draw
        self.slots: int | None = None
        self.forks: Forks | None = None
        self.batches = 0
        self._fits: bool | None = None

    def with_slots(self, slots: int, forks: Forks | None = None) -> Decoding:
        self.slots, self.forks = slots, forks
        return self

    def __call__(
        self,
        model: Any,
        input_ids: Tensor,
        logits_processor: Any,
        stopping_criteria: Any,
        generation_config: Any,
        synced_gpus: bool = False,
        **arguments: Any,
    ) -> Tensor:
        """(rows, P + T) tokens, as `_sample` gives them. Raises NotPlain."""
        if synced_gpus or not _plain(generation_config, logits_processor, arguments):
            raise NotPlain
        mask = arguments.get("attention_mask")
        if mask is not None and not bool(mask.any(1).all()):  # a prompt of nothing: no pass could read it alone
            raise NotPlain
        writing = _Writing(
            self,
            Batch(model, arguments["past_key_values"]),
            input_ids,
            torch.ones_like(input_ids) if mask is None else mask,
            generation_config,
            {"logits_processor": logits_processor, "stopping_criteria": stopping_criteria},
        )
        if self._fits is None:
            self._fits = self._check(model, arguments["past_key_values"], writing.first_prompts())
        if not self._fits:
            raise NotPlain
        self.batches += 1
        return writing.run()

    def _check(self, model: Any, empty: Any, prompts: list[Tensor]) -> bool:
        if turns_with_length(model.config):  # which rows are there decides what each of them is given
            self.tell(Message("fast.not_writes", why=Message("fast.why.positions")))
            return False
        try:
            found = check.decoding(model, empty, prompts)
        except check.SHORTCOMINGS as error:
            check.raise_if_out_of_memory(error)
            why = Message("fast.why.fails", said=f"{type(error).__name__}: {error}"[:200])
            self.tell(Message("fast.not_writes", why=why))
            return False
        if not found.small:
            why = Message("fast.why.differs", distance=found.logps, limit=found.limit)
            self.tell(Message("fast.not_writes", why=why))
        return found.small


def _plain(config: Any, processors: Any, arguments: dict[str, Any]) -> bool:
    """One sequence a row, token by token, from a cache that grows, for a model that is given tokens alone."""
    given = {name for name, value in arguments.items() if value is not None}
    return (
        config.get_generation_mode() in (GenerationMode.GREEDY_SEARCH, GenerationMode.SAMPLE)
        and config.use_cache
        and not config.return_dict_in_generate
        and not getattr(config, "prefill_chunk_size", None)
        and all(type(each) in BY_ROW for each in processors)
        and given <= MODEL_ARGUMENTS
        and (arguments.get("position_ids") is None or arguments["position_ids"].dim() == 2)
        and growing(arguments.get("past_key_values")) is not None
    )


class _Writing:
    """One call: which rows wait, which are being written, what is written."""

    def __init__(
        self, by: Decoding, batch: Batch, ids: Tensor, mask: Tensor, config: Any, options: dict[str, Any]
    ) -> None:
        self.by, self.batch, self.config, self.options = by, batch, config, options
        self.width = ids.shape[1]  # of the prompts, padding counted
        pad = 0 if config._pad_token_tensor is None else int(config._pad_token_tensor)
        self.out = torch.cat([ids, ids.new_full((ids.shape[0], config.max_length - self.width), pad)], 1)
        self.mask = mask
        self.waiting = _by_prompt(ids, mask)
        self.forks, self.places = by.forks, 1  # that a row takes when it begins
        self.planning: set[int] = set()
        if self.forks is not None:
            self.forks.begin(ids.shape[0])
            self.places = self.forks.ways
            self.waiting = [[row for row in group if row % self.places == 0] for group in self.waiting]
        self.slots = max(by.slots or ids.shape[0], self.places)
        self.longest = 0

    def run(self) -> Tensor:
        logits = self._begin()
        while logits is not None:
            tokens, ended = self._write(logits)
            stay = [place for place, over in enumerate(ended) if not over]
            if len(stay) < len(ended):
                self.batch.leave(stay)
                tokens = tokens[stay]
            logits = self.batch.step(tokens) if stay else None
            if logits is not None and self.planning:
                logits = self._fork(logits)
            begun = self._begin() if self._has_room() else None
            if begun is not None:
                logits = begun if logits is None else torch.cat([logits, begun])
        return self.out[:, : self.width + self.longest]

    def _room(self) -> int:
        """How many waiting rows could begin."""
        planning = sum(row in self.planning for row in self.batch.rows)
        return (self.slots - len(self.batch.rows) - planning * (self.places - 1)) // self.places

    def _has_room(self) -> bool:
        """For a quarter of the places or a whole group: a pass over prompts is dearer than a token."""
        if not self.waiting or (self.batch.rows and not joins(self.batch.cache)):
            return False
        quarter = max(1, self.slots // (4 * self.places))
        return not self.batch.rows or self._room() >= min(len(self.waiting[0]), quarter)

    def _begin(self) -> Tensor | None:
        """As many waiting rows as there is room for; the scores of their first tokens."""
        groups: list[list[int]] = []
        room = self._room()
        while self.waiting and room > 0:
            group = self.waiting.pop(0)
            groups.append(group[:room])
            if len(group) > room:  # the others read the prompt once more, later
                self.waiting.insert(0, group[room:])
            room -= len(groups[-1])
        if not groups:
            return None
        if self.forks is not None:
            self.planning.update(row for group in groups for row in group)
        return self.batch.join(groups, [self._prompt(group[0]) for group in groups])

    def _prompt(self, row: int) -> Tensor:
        return self.out[row, : self.width][self.mask[row].bool()]

    def first_prompts(self) -> list[Tensor]:
        return [self._prompt(group[0]) for group in self.waiting[:2]]

    def _write(self, logits: Tensor) -> tuple[Tensor, list[bool]]:
        """One token more for each row, and whether it is the row's last."""
        tokens = torch.empty(len(self.batch.rows), dtype=torch.long, device=logits.device)
        ended = torch.empty_like(tokens, dtype=torch.bool)
        for age, places in self.batch.by_age():
            rows = torch.tensor([self.batch.rows[place] for place in places], device=logits.device)
            end = self.width + age
            scores = self.options["logits_processor"](self.out[rows, :end], logits[places])
            chosen = self.by.draw(torch.softmax(scores, -1), rows) if self.config.do_sample else scores.argmax(-1)
            self.out[rows, end] = chosen
            tokens[places] = chosen
            ended[places] = self.options["stopping_criteria"](self.out[rows, : end + 1], None)
            self.longest = max(self.longest, age + 1)
        over = ended.tolist()
        if self.planning:
            self._end_with_plans(over)
        return tokens, over

    def _end_with_plans(self, over: list[bool]) -> None:
        """A plan with which its completion has ended: all ways on from it are empty."""
        assert self.forks is not None
        for row, age, has_ended in zip(self.batch.rows, self.batch.ages, over, strict=True):
            if has_ended and row in self.planning:
                rows = self.forks.ended(row, age + 1)
                self.out[rows[1] : rows[-1] + 1] = self.out[row]
                self.planning.remove(row)

    def _fork(self, logits: Tensor) -> Tensor:
        """Rows whose plan is over become as many as there are ways on from it; (rows, V) scores of them all."""
        assert self.forks is not None
        become = {row: range(row, row + 1) for row in self.batch.rows}
        for age, places in self.batch.by_age():
            rows = [self.batch.rows[place] for place in places if self.batch.rows[place] in self.planning]
            end = self.width + age
            written = self.out[rows, max(self.width, end - self.forks.window) : end].tolist() if rows else []
            for row, (is_over, cut) in zip(rows, self.forks.over(written, age), strict=True):
                if is_over:
                    become[row] = self.forks.ended(row, age, cut)
                    self.out[row + 1 : become[row].stop, self.width : end] = self.out[row, self.width : end]
                    self.planning.remove(row)
        if all(len(rows) == 1 for rows in become.values()):
            return logits
        copies = [place for place, row in enumerate(self.batch.rows) for _ in become[row]]
        self.batch.spread(copies, [each for row in self.batch.rows for each in become[row]])
        return logits[copies]


def _by_prompt(ids: Tensor, mask: Tensor) -> list[list[int]]:
    """Rows of the same prompt, in the order of the first of each."""
    on_host = torch.cat([ids * mask, mask], 1).cpu().numpy()
    groups: dict[bytes, list[int]] = {}
    for row, tokens in enumerate(on_host):
        groups.setdefault(tokens.tobytes(), []).append(row)
    return list(groups.values())

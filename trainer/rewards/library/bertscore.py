"""BERTScore: how well the tokens of two texts match in the vectors of an encoder.

Source: Zhang et al. 2020, "BERTScore: Evaluating Text Generation with BERT", section 3, without idf weights; numbers as
of the package bert-score 0.3.13 with idf=False.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from trainer.errors import Problem, RewardError, Unfit
from trainer.rewards.contract import Completion, RewardFunction, Value, text_of
from trainer.rewards.gold import Gold
from trainer.rewards.library import side_model, tiny_bert
from trainer.rewards.library.extract import finder
from trainer.rewards.library.gold_answers import gold_finder, texts_of
from trainer.rewards.library.row_by_row import each_row

LAYERS = {
    "bert-base-uncased": 9,
    "bert-large-uncased": 18,
    "bert-base-multilingual-cased": 9,
    "distilbert-base-uncased": 5,
    "distilbert-base-multilingual-cased": 5,
    "roberta-base": 10,
    "roberta-large": 17,
    "xlm-roberta-base": 9,
    "xlm-roberta-large": 17,
    "microsoft/deberta-v3-base": 9,
    "microsoft/deberta-v3-large": 12,
    "microsoft/mdeberta-v3-base": 10,
    "microsoft/deberta-xlarge-mnli": 40,
}
"""{Hub id: layer}, from the table of bert-score 0.3.13, which was tuned on WMT16 judgements."""
OWNERS = ("google-bert/", "distilbert/", "FacebookAI/")
"""Where the Hub keeps the encoders that had no owner when that table was made."""
CACHED_TOKENS = 65_536
"""Tokens of references that are remembered, in host memory: 200 MB for vectors of 768 numbers."""
Embedded = tuple[Any, Any]
"""Tensors of one text: vectors [tokens, width], weights [tokens]."""


def bertscore(
    encoder: str,
    answer_column: str = "answer",
    extract: str | None = None,
    gold_extract: str | None = None,
    normalise: bool = False,
    num_layers: int | None = None,
    revision: str | None = None,
    batch_size: int = 32,
    device: str = "auto",
    max_length: int | None = None,
) -> RewardFunction:
    """F1 of the greedy match between completion and gold answer, at most 1; 0 where one of the two is empty.

    encoder: Hub id or local folder of any `AutoModel`, at a `revision`; or `builtin/tiny-bert`, which is untrained.
    extract, gold_extract: regular expressions with one group that find the part to compare; a text in which nothing is
    found is compared whole. normalise: both are compared, and the patterns see them, as normalise_answer returns them.
    num_layers: the layer whose vectors are compared, 0 being the embeddings. None takes bert-score's choice for the
    encoders in LAYERS and the last layer for any other.
    max_length: tokens of a text that are read, None being what the encoder can read; the rest is cut off.
    A row without a gold answer has no value, one with several (a list) the best of them; a gold answer that is no text
    and means the same as the completion gives 1. Values are rounded to 6 decimals: float32 knows no more of them, and a
    text that equals its gold answer gets exactly 1.
    Differs from bert-score in one case: where every token's best similarity is negative it depends on the batch there.
    """
    if batch_size < 1 or (num_layers is not None and num_layers < 0) or (max_length is not None and max_length < 3):
        raise Unfit("rewards.unfit.bertscore_sizes")
    prepare, golds = _preparing(extract, normalise), gold_finder(_preparing(gold_extract, normalise))
    scorer = Scorer(encoder, num_layers, revision, batch_size, device, max_length)

    def pairs_of(completion: Completion, value: Any) -> Any:
        answer = prepare(text_of(completion))
        return [(answer, gold) for gold in golds(value)]

    def value_of(pair: tuple[str, Gold], score: float) -> float:
        answer, gold = pair
        return 1.0 if gold.value is not None and gold.equals(answer) else score

    def judge(completions: Sequence[Completion], **columns: Any) -> list[Value]:
        found: list[Any] = each_row(pairs_of, completions, columns[answer_column])
        pairs = [pair for row in found if isinstance(row, list) for pair in row]
        scores = iter(scorer.f1([(answer, gold.text) for answer, gold in pairs]))
        return [max(map(value_of, row, scores), default=None) if isinstance(row, list) else row for row in found]

    return RewardFunction(judge, columns=(answer_column,), runs_in="trainer", gold=texts_of)


def _preparing(pattern: str | None, normalise: bool) -> Callable[[str], str]:
    find, clean = finder(pattern, normalise), finder(None, normalise)

    def prepare(text: str) -> str:
        found = find(text)
        return (clean(text) or "") if found is None else found

    return prepare


class Scorer:
    """BERTScore by one encoder, which is loaded at the first call."""

    def __init__(
        self,
        encoder: str,
        layer: int | None,
        revision: str | None,
        batch_size: int,
        device: str,
        max_length: int | None,
    ) -> None:
        self.encoder, self.layer, self.revision = encoder, layer, revision
        self.batch_size, self.device, self.max_length = batch_size, device, max_length
        self.model: Any = None
        self.tokenizer: Any = None
        self.prefix = ""
        self.references: OrderedDict[str, Embedded] = OrderedDict()
        """{text: its vectors and weights}, the one used last at the end."""

    def f1(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """(n,): the value of each of n (candidate, reference), at most 1."""
        import torch

        texts = [(candidate.strip(), reference.strip()) for candidate, reference in pairs]
        full = [row for row, both in enumerate(texts) if all(both)]
        values = [0.0] * len(pairs)
        if not full:
            return values
        if self.model is None:
            self._load()
        references = self._of_references({texts[row][1] for row in full})
        for batch, embedded in self._embedded([texts[row][0] for row in full]):
            rows = [full[at] for at in batch]
            found = [greedy_f1(one, references[texts[row][1]]) for row, one in zip(rows, embedded, strict=True)]
            for row, value in zip(rows, torch.stack(found).tolist(), strict=True):
                values[row] = round(value, 6)
        return values

    def _of_references(self, texts: set[str]) -> dict[str, Embedded]:
        """The completions of a group share one reference, and in the next epoch it comes again."""
        # Sorted: the batches, and with them the last digits, must not depend on the hash seed of the process.
        fresh = sorted(texts - self.references.keys())
        for rows, embedded in self._embedded(fresh):
            for row, (vectors, weights) in zip(rows, embedded, strict=True):
                self.references[fresh[row]] = (vectors.cpu(), weights.cpu())
        found = {}
        for text in texts:
            self.references.move_to_end(text)
            vectors, weights = self.references[text]
            found[text] = (vectors.to(self.device), weights.to(self.device))
        tokens = sum(len(weights) for _, weights in self.references.values())
        while tokens > CACHED_TOKENS:
            tokens -= len(self.references.popitem(last=False)[1][1])
        return found

    def _embedded(self, texts: Sequence[str]) -> Iterator[tuple[list[int], list[Embedded]]]:
        """Batches of (rows, each row's vectors and weights)."""
        import torch

        if not texts:
            return
        limits = {"truncation": True, "max_length": self.max_length} if self.max_length else {}
        ids = self.tokenizer([self.prefix + text for text in texts], **limits)["input_ids"]
        ends = [end for end in (self.tokenizer.cls_token_id, self.tokenizer.sep_token_id) if end is not None]
        for rows in side_model.by_length(ids, self.batch_size):
            batch = side_model.padded([ids[row] for row in rows], self.tokenizer.pad_token_id or 0, self.device)
            # The training may run under autocast in bfloat16: scores would then depend on the policy's dtype.
            with torch.no_grad(), torch.autocast(self.device.partition(":")[0], enabled=False):
                # hidden_states: embeddings and then every layer, each (B, T, width); padding is at the end of T.
                hidden = self.model(**batch, output_hidden_states=True).hidden_states[self.layer]
            # [CLS] and [SEP] weigh nothing: they are in every text and match each other (bert-score, no idf).
            weights = ~torch.isin(batch["input_ids"], torch.tensor(ends, device=self.device))
            yield rows, [(hidden[at, : len(ids[row])], weights[at, : len(ids[row])]) for at, row in enumerate(rows)]

    def _load(self) -> None:
        import torch

        device = side_model.pick_device(self.device)
        if self.encoder == tiny_bert.NAME:
            model, self.tokenizer = tiny_bert.make()
            model.to(device)
        else:
            model, self.tokenizer = side_model.load("AutoModel", self.encoder, self.revision, device, torch.float32)
        model = model.get_encoder() if model.config.is_encoder_decoder else model
        layers = model.config.get_text_config().num_hidden_layers
        chosen = _usual_layer(self.encoder, layers) if self.layer is None else self.layer
        if chosen > layers:
            raise RewardError(Problem("rewards.layers", encoder=self.encoder, seen=chosen, most=layers))
        stack: Any = getattr(model, "encoder", None)
        if hasattr(stack, "layer"):  # BERT and its kin: what lies above the chosen layer is neither kept nor run
            stack.layer = stack.layer[:chosen]
        bounds = [self.max_length, self.tokenizer.model_max_length, side_model.longest_input(model)]
        shortest = min(bound for bound in bounds if bound is not None)
        # Tokenizers without a bound say 1e30, which theirs cannot count to.
        self.max_length = shortest if shortest < sys.maxsize else None
        # These two tell the first word of a text from the others unless a space comes before it.
        self.prefix = " " if type(self.tokenizer).__name__.startswith(("GPT2", "Roberta")) else ""
        self.model, self.layer, self.device = model, chosen, device


def _usual_layer(encoder: str, layers: int) -> int:
    """bert-score's choice, for the very encoders it was made for; another owner's namesake is another model."""
    for owner in OWNERS:
        encoder = encoder.removeprefix(owner)
    return LAYERS.get(encoder, layers)


def greedy_f1(candidate: Embedded, reference: Embedded) -> Any:
    """F1 as a tensor without dimensions; 0 where a text has no token of weight.

    Equations (section 3): R = sum over tokens x of the reference, weighted, of max over y of cos(x, y); P the same with
    the texts exchanged; F1 = 2 P R / (P + R). A token of weight 0 may be the best match of another one, as in
    bert-score. In float64, where no setting of the training makes products of matrices coarser (TF32).
    """
    import torch

    # (T1, width) @ (width, T2) of vectors of length 1: every cosine at once, (T1, T2).
    one, other = (torch.nn.functional.normalize(vectors.double(), dim=-1) for vectors, _ in (candidate, reference))
    similar = one @ other.T
    # Precision: each token of the candidate takes its best match in the reference; recall the other way round.
    precision = (similar.amax(dim=1) * candidate[1]).sum() / candidate[1].sum()
    recall = (similar.amax(dim=0) * reference[1]).sum() / reference[1].sum()
    # 0 / 0 where a text has no token of weight, or where precision and recall cancel out.
    return torch.nan_to_num(2 * precision * recall / (precision + recall), nan=0.0, posinf=0.0, neginf=0.0)

"""The contest's figures once more, in plain loops that share no line with trainer/. For test_contest.py, and by hand:

    python tests/evaluate/independent_scores.py FOLDER LABELS.jsonl ENCODER

The answers may have the label `답변:` and curly quotation marks, as the tests write them, and nothing stranger.
"""

from __future__ import annotations

import collections
import json
import pathlib
import re
import sys
import unicodedata
from operator import mul
from typing import Any

import torch
from transformers import AutoModel, AutoTokenizer


def clean(text: str) -> str:
    text = " ".join(unicodedata.normalize("NFC", text).replace("“", '"').replace("”", '"').split())
    return text.removeprefix("답변:").strip()


def sentence_and_reason(text: str) -> tuple[str | None, str]:
    """The quoted sentence that opens an answer, and what follows `가 옳다.`; (None, all) of an answer without."""
    parts = clean(text).split('"', 2)
    if len(parts) == 3 and parts[0] == "" and parts[1] and parts[2][:5] in ("가 옳다.", "이 옳다."):
        return parts[1].strip(), parts[2][5:].strip()
    return None, clean(text)


def words(text: str) -> list[str]:
    """Runs of Latin letters and digits, and runs of other letters."""
    found: list[str] = []
    before = ""
    for character in unicodedata.normalize("NFC", text.lower()):
        kind = ""
        if unicodedata.category(character)[0] == "N" or unicodedata.name(character, "").startswith("LATIN "):
            kind = "latin"
        elif unicodedata.category(character)[0] == "L":
            kind = "other"
        if kind and kind == before:
            found[-1] += character
        elif kind:
            found.append(character)
        before = kind
    return found


def rouge1(said: str, gold: str) -> float:
    one, other = collections.Counter(words(said)), collections.Counter(words(gold))
    shared = sum(min(count, other[word]) for word, count in one.items())
    if shared == 0:
        return 0.0
    precision, recall = shared / sum(one.values()), shared / sum(other.values())
    return 2 * precision * recall / (precision + recall)


def vectors(text: str, model: Any, tokenizer: Any) -> tuple[list[list[float]], list[bool]]:
    """Unit vectors of the last layer, and which of the tokens count: not the first and the last, [CLS] and [SEP]."""
    with torch.no_grad():
        hidden = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].double().tolist()
    unit = []
    for vector in hidden:
        length = sum(map(mul, vector, vector)) ** 0.5
        unit.append([number / length for number in vector])
    return unit, [0 < place < len(unit) - 1 for place in range(len(unit))]


def bertscore(said: str, gold: str, model: Any, tokenizer: Any) -> float:
    """Greedy matching without idf: Zhang et al. 2020, section 3."""
    if not said or not gold:
        return 0.0
    (one, counts), (other, gold_counts) = vectors(said, model, tokenizer), vectors(gold, model, tokenizer)

    def mean_of_best(rows: list[list[float]], columns: list[list[float]], count: list[bool]) -> float:
        best = [max(sum(map(mul, row, column)) for column in columns) for row in rows]
        return sum(value for value, counted in zip(best, count, strict=True) if counted) / sum(count)

    precision, recall = mean_of_best(one, other, counts), mean_of_best(other, one, gold_counts)
    return 2 * precision * recall / (precision + recall)


def scores(folder: pathlib.Path, labels: pathlib.Path, encoder: str) -> dict[str, dict[str, float]]:
    """{epoch: the figures} of every inference file in the folder."""
    rows = [json.loads(line) for line in labels.read_text(encoding="utf-8").splitlines() if line.strip()]
    model, tokenizer = AutoModel.from_pretrained(encoder).eval(), AutoTokenizer.from_pretrained(encoder)
    found = {}
    for path in sorted(folder.glob("inference_epoch*.json")):
        answers = {entry["id"]: entry["answer"] for entry in json.loads(path.read_text(encoding="utf-8"))}
        totals = {"rouge1": 0.0, "bertscore": 0.0, "em": 0.0, "format": 0.0}
        for number, row in enumerate(rows):
            sentence, reason = sentence_and_reason(answers[number])
            gold = sentence_and_reason(row["answer"])[1]
            totals["em"] += sentence in [accepted.strip() for accepted in row["accepted"].split("#")]
            totals["rouge1"] += rouge1(reason, gold)
            totals["bertscore"] += bertscore(reason, gold, model, tokenizer)
            totals["format"] += sentence is not None
        means = {name: total / len(rows) for name, total in totals.items()}
        means["mean"] = (means["rouge1"] + means["bertscore"] + means["em"]) / 3
        formula = means["bertscore"] + means["em"] + (means["format"] + 3 * means["rouge1"]) / 2
        means["reward"] = formula / 3
        epoch = re.findall(r"inference_epoch(.*)\.json", path.name)[0]
        found[epoch] = means
    return found


if __name__ == "__main__":
    print(json.dumps(scores(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]), indent=1))

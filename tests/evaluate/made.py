"""The contest's formula, answers of a model that gets better, and the command that scores them."""

from __future__ import annotations

from typing import Any

from trainer import __main__ as command
from trainer.machine.project import PROJECT
from trainer.rewards.library import tiny_bert
from trainer.spec import Component, Reward

MALPYEONG = PROJECT / "presets" / "data" / "malpyeong_eval.jsonl"


OPENING = r'\A\s*"([^"\n]+)"(?:가|이) 옳다\.'


REASON = r'\A(?:\s*"[^"\n]+"(?:가|이) 옳다\.)?\s*(.*)\Z'


PARTS = {"extract": REASON, "gold_extract": REASON, "normalise": True}


EXACT = {"answer_column": "accepted", "extract": OPENING, "normalise": True}


# (BERTScore + EM + (format + 3 x ROUGE-1) / 2) / 3
FORMULA = Reward(
    divide_by=3,
    correct="exact_match",
    components=[
        Component(function="bertscore", params={"encoder": tiny_bert.NAME, **PARTS}),
        Component(function="exact_match", params=EXACT),
        Component(
            function="sum",
            name="form",
            scale=0.5,
            components=[
                Component(
                    function="format_regex",
                    params={"pattern": r'\s*"[^"\n]+"(?:가|이) 옳다\..*', "normalise": True},
                ),
                Component(function="rouge1", weight=3, params=PARTS),
            ],
        ),
    ],
)


Row = dict[str, Any]


def told(labels: list[Row], quality: int) -> list[str]:
    """Answers of a model that gets better with `quality`, 0 to 3, in the forms that models write."""
    made = []
    for number, row in enumerate(labels):
        sentence, reason = row["accepted"].split("#")[-1], row["answer"].split("옳다.", 1)[1].strip()
        good = f'"{sentence}"가 옳다. {reason}'
        half = f"“{sentence}”이 옳다.  {reason[: len(reason) // 2]}"
        wrong = f'"{sentence}!"가 옳다. GPU2가 있는 반대말이다.'
        made.append([["", "모르겠다 A1", wrong, half], [wrong, f"답변: {half}", half, good]][quality > 1][number % 4])
    return made if quality % 2 else ["", *made[1:]]


def evaluate(*arguments: object) -> int:
    return command.main(["evaluate", *map(str, arguments)])

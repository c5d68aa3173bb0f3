"""Write the rows of the embedded preset with plans: a word, and by how many letters it is to be turned.

    python tools/plan_rows.py

`script` is what the warm start teaches: the form of a plan and of an answer, a plan at random, and an answer that
carries it out with a wrong letter now and then. Which plan fits is told by the sign before the word, and in no script.
No held-out word is a training word.
"""

import json
import random
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "presets" / "data"
LETTERS, LENGTH = "abcdefgh", 4
TRAINING, HELD_OUT = 1024, 128
WRONG = 0.1
"""Share of the letters of a script's answer that are drawn at random."""
SIGNS = {"+": 1, "-": 2, "*": 3}
"""{sign in the prompt: by how many letters the word is to be turned}: methods that are equally hard to carry out."""


def main() -> None:
    draw = random.Random(0)
    words = ["".join(draw.choices(LETTERS, k=LENGTH)) for _ in range(4 * (TRAINING + HELD_OUT))]
    words = list(dict.fromkeys(words))[: TRAINING + HELD_OUT]
    _write("planned_train.jsonl", [_row(word, draw) | {"script": _script(word, draw)} for word in words[:TRAINING]])
    _write("planned_eval.jsonl", [_row(word, draw) for word in words[TRAINING:]])


def _row(word: str, draw: random.Random) -> dict[str, str]:
    sign = draw.choice(list(SIGNS))
    return {"prompt": f"{sign} {word}", "answer": _turned(word, SIGNS[sign])}


def _script(word: str, draw: random.Random) -> str:
    by = draw.choice(list(SIGNS.values()))
    answer = "".join(draw.choice(LETTERS) if draw.random() < WRONG else letter for letter in _turned(word, by))
    return f"turn {by}:<answer>{answer}</answer>"


def _turned(word: str, by: int) -> str:
    return word[by:] + word[:by]


def _write(name: str, rows: list[dict[str, str]]) -> None:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (FOLDER / name).write_text(text, encoding="ascii")


if __name__ == "__main__":
    main()

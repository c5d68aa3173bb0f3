"""Write the rows of the embedded presets with episodes: a guessing game, and products for a calculator.

    python tools/episode_rows.py

`script` is what the warm start teaches: the form of a dialogue, and no way to win. No held-out row is a training row.
"""

import json
import random
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "presets" / "data"
HIGH, GUESSES = 3, 2
WITH_TOOL = 0.3
"""Share of the products whose script asks the calculator; the others answer at once."""


def main() -> None:
    draw = random.Random(0)
    games = draw.sample(range(100, 1000), 512 + 128)
    _write("guess_train.jsonl", [_game(n) | {"script": _guesses(draw)} for n in games[:512]])
    _write("guess_eval.jsonl", [_game(n) for n in games[512:]])
    pairs = draw.sample([(a, b) for a in range(11, 100) for b in range(11, 100)], 1024 + 128)
    _write("product_train.jsonl", [_product(a, b) | {"script": _calculated(a, b, draw)} for a, b in pairs[:1024]])
    _write("product_eval.jsonl", [_product(a, b) for a, b in pairs[1024:]])


def _game(number: int) -> dict[str, object]:
    return {"prompt": f"Game {number}: 1 to {HIGH}", "high": HIGH}


def _guesses(draw: random.Random) -> str:
    """Guesses at random, whatever the game says, until the number is found or there have been enough."""
    number, said = draw.randint(1, HIGH), ""
    for _ in range(GUESSES):
        guess = draw.randint(1, HIGH)
        answer = "right" if guess == number else "higher" if guess < number else "lower"
        said += f"<call>guess number={guess}</call><end><tool>{answer}<end><assistant>"
        if answer == "right":
            return said + "won"
    return said + "lost"


def _product(a: int, b: int) -> dict[str, object]:
    return {"prompt": f"{a}*{b}", "answer": str(a * b)}


def _calculated(a: int, b: int, draw: random.Random) -> str:
    answer = f"<answer>{a * b}</answer>"
    if draw.random() >= WITH_TOOL:
        return answer
    return f"<call>calculate expression={a}*{b}</call><end><tool>{a * b}<end><assistant>{answer}"


def _write(name: str, rows: list[dict[str, object]]) -> None:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (FOLDER / name).write_text(text, encoding="ascii")


if __name__ == "__main__":
    main()

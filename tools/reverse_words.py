"""Write the tasks of the embedded presets: reverse a word of five letters, and one of three to eight. And what the
warm start of tiny-reasoning reads: made-up words in the prompt of reasoning-gym's spell_backward.

    python tools/reverse_words.py

Every word is drawn once, so no held-out word is in the training rows.
"""

import json
import random
import string
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "presets" / "data"
LETTERS = "abcdefghijklmnop"
ROWS = {"reverse_train.jsonl": 1024, "reverse_eval.jsonl": 128}
SPELL = "Spell this word backward (example: sun -> nus): "
"""As reasoning-gym 0.1.25 asks."""
SPELT = {"spell_train.jsonl": 512}
"""Rows of each length, four and five."""
OF_A_LENGTH = {"reverse_mixed_train.jsonl": 256, "reverse_mixed_eval.jsonl": 32}


def words(length: int, count: int, draw: random.Random, letters: str = LETTERS) -> list[str]:
    found: dict[str, None] = {}
    while len(found) < count:
        found["".join(draw.choice(letters) for _ in range(length))] = None
    return list(found)


def main() -> None:
    rest = words(5, sum(ROWS.values()), random.Random(0))
    for name, count in ROWS.items():
        chosen, rest = rest[:count], rest[count:]
        _write(name, [{"prompt": f"Reverse: {word}", "answer": word[::-1]} for word in chosen])
    draw = random.Random(1)
    mixed = {length: words(length, sum(OF_A_LENGTH.values()), draw) for length in range(3, 9)}
    for name, count in OF_A_LENGTH.items():
        rows = [
            {"prompt": f"Reverse: {word}", "answer": word[::-1], "letters": length}
            for length in mixed
            for word in mixed[length][:count]
        ]
        draw.shuffle(rows)
        _write(name, rows)
        mixed = {length: left[count:] for length, left in mixed.items()}
    draw = random.Random(2)
    for name, count in SPELT.items():
        made = [word for length in (4, 5) for word in words(length, count, draw, string.ascii_lowercase)]
        _write(name, [{"prompt": f"{SPELL}{word}", "answer": word[::-1]} for word in made])


def _write(name: str, rows: list[dict[str, object]]) -> None:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (FOLDER / name).write_text(text, encoding="ascii")


if __name__ == "__main__":
    main()

"""Write the task of preset `tiny`: reverse a word of five letters.

    python tools/reverse_words.py

Every word is drawn once, so no held-out word is in the training rows.
"""

import json
import random
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "presets" / "data"
LETTERS = "abcdefghijklmnop"
LENGTH = 5
ROWS = {"reverse_train.jsonl": 1024, "reverse_eval.jsonl": 128}


def words(seed: int = 0) -> list[str]:
    draw = random.Random(seed)
    found: dict[str, None] = {}
    while len(found) < sum(ROWS.values()):
        found["".join(draw.choice(LETTERS) for _ in range(LENGTH))] = None
    return list(found)


def main() -> None:
    rest = words()
    for name, count in ROWS.items():
        chosen, rest = rest[:count], rest[count:]
        lines = [json.dumps({"prompt": f"Reverse: {word}", "answer": word[::-1]}) for word in chosen]
        (FOLDER / name).write_text("\n".join(lines) + "\n", encoding="ascii")


if __name__ == "__main__":
    main()

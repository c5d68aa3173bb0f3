"""What text rewards cost: exact_match, format_regex and rouge1 on one step's completions, Korean and English.

    .venv/bin/python benchmarks/rewards.py

Once as a training pays them, through ComponentRewardWrapper and its pool of processes, and once function by function
in this process. The last line printed is one JSON object. Exit code 1 when a batch in the pool takes above one second.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.card import card
from trainer.rewards.library import REWARDS
from trainer.rewards.wrapper import ComponentRewardWrapper
from trainer.spec import Component, Reward

LIMIT_S = 1.0
QUOTED = r'^"([^"]+)"(?:가|이) 옳다\.'
REASON = r"옳다\.\s*(.*)"
COMPONENTS: dict[str, dict[str, Any]] = {
    "exact_match": {"extract": QUOTED, "gold_extract": QUOTED, "normalise": True},
    "format_regex": {"pattern": r'"[^"]+"(?:가|이) 옳다\. .{10,}', "normalise": True},
    "rouge1": {"extract": REASON, "gold_extract": REASON, "normalise": True},
}
SENTENCES = [
    "어간 끝 받침이 모음으로 시작하는 어미 앞에서 바뀌므로 그렇게 적는다.",
    "보조 용언은 띄어 쓰는 것이 원칙이되 붙여 쓰는 것도 허용한다.",
    "이 말은 표준어 규정에서 널리 쓰이는 꼴을 표준어로 삼은 것이다.",
    "The stem changes before an ending that begins with a vowel.",
    "Auxiliary verbs are written apart, though writing them together is allowed.",
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--completions", type=int, default=512)
    parser.add_argument("--characters", type=int, default=600, help="of each completion")
    parser.add_argument("--group", type=int, default=8, help="completions that share a gold answer")
    parser.add_argument("--repeats", type=int, default=5, help="the median of these counts")
    given = parser.parse_args()
    print(card("rewards", **vars(given)))
    draw = random.Random(0)
    prompts = [text(draw, given.characters) for _ in range(-(-given.completions // given.group))]
    golds = [gold for gold in prompts for _ in range(given.group)][: given.completions]
    completions = [gold if draw.random() < 0.5 else text(draw, given.characters) for gold in golds]
    pooled = measure_pool(completions, golds, given.repeats)
    medians = {name: measure(name, completions, golds, given.repeats) for name in COMPONENTS}
    alone = sum(medians.values())
    for name, median in (medians | {"all, one by one": alone, "all, in the pool": pooled}).items():
        print(f"{name:18}{median:>10.4f} s")
    print(json.dumps({"pool_s": pooled, "alone_s": alone, "completions": given.completions, "seconds": medians}))
    return 0 if pooled <= LIMIT_S else 1


def measure_pool(completions: list[str], golds: list[str], repeats: int) -> float:
    """Median seconds of a batch as a training has it: sent to the processes, judged, summed."""
    components = [Component(function=name, params=params) for name, params in COMPONENTS.items()]
    wrapper = ComponentRewardWrapper(Reward(components=components), pooled=True)
    prompts = [[{"role": "user", "content": "?"}]] * len(completions)
    chats = [[{"role": "assistant", "content": completion}] for completion in completions]
    times = []
    try:
        for _ in range(repeats + 1):
            started = time.perf_counter()
            wrapper(prompts=prompts, completions=chats, answer=golds)
            times.append(time.perf_counter() - started)
    finally:
        wrapper.close()
    return statistics.median(times[1:])


def measure(name: str, completions: list[str], golds: list[str], repeats: int) -> float:
    """Median seconds of a call. The first call, which loads what it needs, is not counted."""
    function = REWARDS[name](**COMPONENTS[name])
    times = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        function(completions=completions, answer=golds)
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


def text(draw: random.Random, characters: int) -> str:
    """An answer with its reason, of that many characters."""
    reason = ""
    while len(reason) < characters:
        reason += draw.choice(SENTENCES) + " "
    return f"답변: \u201c문장 {draw.randrange(100)}\u201d가 옳다. {reason}"[:characters]


if __name__ == "__main__":
    sys.exit(main())

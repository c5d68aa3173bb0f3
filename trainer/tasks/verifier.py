"""How right an answer is, as the verifier of the row's generator says. The package is imported at the first call.

Some verifiers hand the answer to Python's `eval`, or to sympy's `parse_expr`, which does the same. An answer is written
by a model: those verifiers only ever see answers of characters and words that can do nothing there.
"""

from __future__ import annotations

import functools
import importlib
import json
import re
from typing import Any

from trainer.errors import RewardError
from trainer.tasks import entries
from trainer.tasks.catalogue import PREFIX, not_installed

_LIST = r"[\d\s,.\[\]'\"-]*"
_SUM = r"(?:[\d\s+/().-]|\*(?!\*))*"
_FORMULA = (
    r"(?:(?<![A-Za-z])(?:[A-Za-z]|a?sin|a?cos|a?tan|sinh|cosh|tanh|exp|log|ln|sqrt|erf|pi|Abs)(?![A-Za-z])"
    r"|\d+(?:\.\d+)?|\*\*|[\s+*/(),-])*"
)
READ_AS_CODE = {
    "binary_matrix": _LIST,
    "spiral_matrix": _LIST,
    "n_queens": r"[\s,\[\]'\"_Q]*",
    "string_insertion": r"[\s,\[\]'\"A-E]*",
    "countdown": _SUM,
    "puzzle24": _SUM,
    "intermediate_integration": _FORMULA,
    "simple_integration": _FORMULA,
    "polynomial_multiplication": _FORMULA,
}
"""{generator whose verifier runs an answer as code: what an answer may consist of}. reasoning-gym 0.1.25; a test looks
for others in its sources."""
LONGEST = 2000
"""Characters of an answer to be run as code."""
_POWERS = re.compile(r"\*\*[\s(-]*(?:[\w.]+|[^()]*\))[\s)]*\*\*|\*\*[\s(-]*\d{3}")
"""Powers of powers and large ones, which take hours to compute."""


def package() -> Any:
    """reasoning-gym; importing it takes seconds. Raises RewardError where it is not installed."""
    try:
        return importlib.import_module(PREFIX)
    except ModuleNotFoundError as error:
        if error.name != PREFIX:
            raise
        raise RewardError(not_installed(PREFIX)) from error


def score(answer: str, entry: str) -> float:
    """0 to 1. entry: the row's column of that name. Raises what the verifier raises of the row's own answer."""
    row = entries.read(entry)
    if not harmless(row["task"], answer):
        return 0.0
    verifier = _verifier(row["task"], json.dumps(row["params"], sort_keys=True))
    try:
        return float(verifier(answer, row))
    except Exception:
        # Of an answer that it cannot read it may raise anything. Where its own answer does the same it is broken.
        verifier(row["answer"], row)
        return 0.0


def harmless(task: str, answer: str) -> bool:
    """Whether a verifier that runs answers as code may see this one; the others may see all."""
    allowed = READ_AS_CODE.get(task)
    if allowed is None:
        return True
    if len(answer) > LONGEST:
        return False
    return re.fullmatch(allowed, answer) is not None and not _POWERS.search(answer)


@functools.lru_cache(maxsize=16)
def _verifier(task: str, params: str) -> Any:
    return package().create_dataset(task, seed=0, size=1, **json.loads(params)).score_answer

"""A reward for answers that are mathematics: 1/2, 0.5 and \\frac{1}{2} are the same."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from trainer.rewards.contract import Completion, RewardFunction, Value, text_of
from trainer.rewards.library.extract import finder, or_none
from trainer.rewards.library.row_by_row import each_row

LIMIT_S = 3
"""For one parse or one comparison."""

_DELIMITED = re.compile(r"\$|\\boxed|\\\(|\\\[")
# Read as a formula, a word would be the product of its letters.
_WORDY = re.compile(r"(?!sqrt)[^\W\d_]{3,}|[^\x00-\x7f]")


def math_answer(
    answer_column: str = "answer", extract: str | None = None, gold_extract: str | None = None
) -> RewardFunction:
    """1 if the last answer in the completion is mathematically equal to the gold one, else 0 (math-verify 0.9.0).

    The completion is read as text: its last \\boxed{}, formula between $ signs or plain number counts. With `extract`,
    a regular expression with one group, what it finds is the answer and is read like the gold; nothing found gets 0.
    The gold is one answer, bare (`1/2`, `\\frac{1}{2}`, `{1, 2}`) or between $ signs; gold_extract finds it in a longer
    text. A row whose gold cannot be read cannot be judged; `hello` and `답은 없다` cannot, `5 dollars` is 5.
    Numbers are equal to six decimals; a formula that is too hard within LIMIT_S counts as wrong. That limit works in
    the main thread of a POSIX process only; elsewhere the deadline of the rewards has to do.
    """
    find, find_gold = finder(extract), finder(gold_extract)

    def read(text: str) -> list[Any]:
        if extract is None:
            return _read(text)
        found = find(text)
        return [] if found is None else _read_bare(found)

    def judge_row(completion: Completion, gold: object) -> Value:
        from math_verify import verify

        found = find_gold(_as_text(gold))
        wanted = _formulas(_read_bare(found)) if found else []
        if not wanted:
            return None
        # Not symmetric: verify(gold, target) reads `x = 3` and intervals in the target more generously.
        return float(verify(wanted, _formulas(read(text_of(completion))), timeout_seconds=_limit()))

    def judge(completions: Sequence[Completion], **columns: Any) -> list[Value]:
        return each_row(judge_row, completions, columns[answer_column])

    return RewardFunction(judge, columns=(answer_column,), answer=or_none(lambda text: _name(read(text))))


def _as_text(gold: object) -> str:
    """1e-05, as Python writes a small number of JSON, would be read as e - 5."""
    if gold is None:
        return ""
    return format(Decimal(repr(gold)), "f") if isinstance(gold, float) else str(gold)


def _limit() -> int | None:
    """math-verify's limit is a SIGALRM, which only a main thread may set; on Windows it starts a process each time."""
    return LIMIT_S if os.name == "posix" and threading.current_thread() is threading.main_thread() else None


def _read(text: str) -> list[Any]:
    """What math-verify finds in a text, best first: sympy objects, and the text of the first as a string."""
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse

    return list(parse(text, [LatexExtractionConfig(), ExprExtractionConfig()], parsing_timeout=_limit()))


def _read_bare(answer: str) -> list[Any]:
    """The same for a text that is nothing but the answer, where a formula may stand without $ signs."""
    if _DELIMITED.search(answer) or ("\\" not in answer and _WORDY.search(answer)):
        return _read(answer)
    found = _read(f"${answer}$")
    return found if _formulas(found) else _read(answer)


def _formulas(found: list[Any]) -> list[Any]:
    """Without the strings: text that could not be read as mathematics equals nothing."""
    return [one for one in found if not isinstance(one, str)]


def _name(found: list[Any]) -> str | None:
    """One text for equal answers, so that votes can be counted."""
    formulas = _formulas(found)
    if not formulas:
        return None
    from math_verify.errors import TimeoutException
    from math_verify.utils import timeout

    try:
        return str(timeout(_limit())(_canonical)(formulas[0]))
    except (Exception, TimeoutException):  # sympy raises anything; its text as it was written is a vote too
        # Never str(formula): sympy's printer evaluates 5^5^5^5, and there is no limit around it.
        return next((one for one in found if isinstance(one, str)), None)


def _canonical(formula: Any) -> str:
    import sympy

    if isinstance(formula, sympy.FiniteSet):
        return "{" + ", ".join(sorted(map(_canonical, formula.args))) + "}"
    if isinstance(formula, sympy.Eq) and isinstance(formula.lhs, sympy.Symbol):  # x = 3 is equal to 3
        return _canonical(formula.rhs)
    if getattr(formula, "is_number", False):
        number = str(sympy.N(formula.doit(), 12))
        return number.rstrip("0").rstrip(".") if re.fullmatch(r"-?\d+\.\d+", number) else number
    return str(sympy.expand(sympy.simplify(formula)))

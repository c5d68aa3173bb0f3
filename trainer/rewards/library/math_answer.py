"""A reward for answers that are mathematics: 1/2, 0.5 and \\frac{1}{2} are the same."""

from __future__ import annotations

import itertools
import os
import re
import threading
import unicodedata
from collections.abc import Iterator, Sequence
from datetime import date, time
from typing import Any

from trainer.errors import Unfit
from trainer.rewards.contract import Completion, RewardFunction, Value, text_of
from trainer.rewards.gold import alternatives, spelled
from trainer.rewards.library.extract import finder, or_none
from trainer.rewards.library.gold_answers import gold_finder
from trainer.rewards.library.row_by_row import each_row

LIMIT_S = 3
"""For one parse or one comparison."""

_DELIMITED = re.compile(r"\$|\\boxed|\\\(|\\\[")
_BOX = re.compile(r"\\boxed\s*\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\}")
_JOINED = re.compile(r"(?:[\s$,;&]|\\[()\[\]]|\\text\{[^{}]*\}|and|or|또는|및|와|과)*")
_TAG = re.compile(r"<(/?)answer>", re.IGNORECASE)
LAST_LINE = 1000
"""Characters at its end that an answer without any mark is looked for in."""
# In the last line, with no number after it.
_CODE = re.compile(r"`([^`]+)`[^`\d]*$")
_SAID = re.compile(r"(?i:\banswer(?: is)?|정답은?|답은?)\s*[:=]?\s*(?!.*(?i:\banswer|답))(\S.*)$")
# Commands and names of LaTeX are none; _plain has put a backslash before the others.
_WORD = re.compile(r"(?<!\\)(?<![^\W\d_])(?<!\\begin\{)(?<!\\end\{)(?!sqrt(?![^\W\d_]))[^\W\d_]{2,}|[:;]$")
_LISTED = re.compile(r"[({\[].*,.*[)}\]]")
_RELATED = re.compile(r"\S\s*[<>=\u2264\u2265]\s*\S")
_FULL_STOP = re.compile(r"(?<=\d)\.(?!\S)")
_MIXED = re.compile(r"(?<![\w./^)])(\d{1,15}) (\d{1,15})/(\d{1,15})(?![\w./])")
_VULGAR = re.compile(" ?([\u00bc-\u00be\u2150-\u215e])")
_SIGNS: dict[int, int | str] = {
    **{wide: wide - 0xFEE0 for wide in range(0xFF01, 0xFF5F)},
    **dict.fromkeys((0xA0, 0x2009, 0x202F), " "),  # where they do not divide thousands
    **{0x2044: "/", 0xF7: "/", 0xD7: "*", 0xB7: "*", 0x22C5: "*", 0x2264: "<=", 0x2265: ">=", 0x2260: "\\neq "},
    **{0x221E: "\\infty ", 0x3C0: "\\pi ", 0x2208: "\\in ", 0x222A: "\\cup ", 0x2205: "\\emptyset "},
}
_THOUSANDS = re.compile("(?<=\\d)[\u00a0\u2009\u202f'\u2019](?=\\d{3}(?!\\d))")
_SIGN = re.compile(r"\\\$|(?<=[A-Z])\$(?=\d)|(?<!\w)~(?=\d)")
"""A dollar that begins no formula, and `about`."""
_BOLD = re.compile(r"(?<![A-Za-z0-9)*])(\*{1,3})(?=\S)([^*\n]+)(?<=\S)\1(?![A-Za-z0-9(*])")
_ROOT = re.compile("(?:\u221a|(?<![\\\\A-Za-z])sqrt)(?:\\(([^()]*)\\)|(\\d+(?:\\.\\d+)?|\\w))")
_POWER = re.compile("(\\d ?)?([A-Za-z\u03b1-\u03c9]?)(?<=[\\w)])([\u2070\u00b9\u00b2\u00b3\u2074-\u2079\u207b]+)")
_SCIENTIFIC = re.compile(
    r"(?<![\w.])(\d+(?:\.\d+)?)(?:[eE]([+-]?\d{1,3})(?![\w.]*\w)| ?x ?10\^\{?(-?\d{1,3})(?!\d)\}?)"
)
_NAMED = re.compile(r"(?<![\\A-Za-z])(log|ln|sin|cos|tan|exp|pi|infty|oo|inf)(?![A-Za-z])")
_CALLED = {"oo": "infty", "inf": "infty"}
_KOREAN = re.compile("(?<=[\\d)}])[\uac00-\ud7a3]+(?!\\w| \\d)")
"""What follows an answer without a blank: a unit, `입니다`."""
# Read as a formula, a word would be the product of its letters.
_WORDY = re.compile(r"(?<!\\)(?<![^\W\d_])(?!sqrt(?![^\W\d_]))[^\W\d_]{3,}|[^\x00-\x7f]")


def math_answer(
    answer_column: str = "answer", extract: str | None = None, gold_extract: str | None = None
) -> RewardFunction:
    """1 if the last answer in the completion is mathematically equal to the gold one, else 0 (math-verify 0.9.0).

    The completion is read as text. The first of these that is there counts, of several the last: what stands between
    <answer> tags; a \\boxed{} or a formula between $ signs; what stands between backticks; what follows `answer:` or
    ends the last line and is a pair, an interval, a set, an equation or inequality (`(1,2)`, `x<3`), holds a sign or
    name of mathematics (`sqrt(2)`, `2pi`, `\\frac{1}{2}`) or is the whole text as a formula; a number. Bold marks,
    full-width digits and Korean right after a number count for nothing; `3 1/2` is 7/2, `1.5e3` is 1500.
    With `extract`, a regular expression with one group, what it finds is the answer and is read like the gold; nothing
    found gets 0.
    The gold is one answer, bare (`1/2`, `\\frac{1}{2}`, `{1, 2}`) or between $ signs, or a list of accepted ones;
    gold_extract finds it in a longer text. A row whose gold cannot be read cannot be judged; `hello` and `답은 없다`
    cannot, `5 dollars` is 5.
    Numbers are equal to six decimals; a formula that is too hard within LIMIT_S counts as wrong. That limit works in
    the main thread of a POSIX process only; elsewhere the deadline of the rewards has to do.
    """
    find, golds = finder(extract), gold_finder(finder(gold_extract))

    def read(text: str) -> list[Any]:
        if extract is None:
            return _read_text(text)
        found = find(spelled(text))
        return [] if found is None else _read_bare(found)

    def judge_row(completion: Completion, gold: object) -> Value:
        from math_verify import verify

        wanted = [formulas for one in golds(gold) if one.text and (formulas := _formulas(_read_bare(one.text)))]
        if not wanted:
            return None
        text = text_of(completion)
        if extract is None and any(spelled(text).strip() == spelled(one.text).strip() for one in golds(gold)):
            return 1.0  # `ab` is a product and looks like a word
        found = _formulas(read(text))
        # Not symmetric: verify(gold, target) reads `x = 3` and intervals in the target more generously.
        return float(any(verify(one, found, timeout_seconds=_limit()) for one in wanted))

    def judge(completions: Sequence[Completion], **columns: Any) -> list[Value]:
        return each_row(judge_row, completions, columns[answer_column])

    vote = or_none(lambda text: _name(read(text)))
    return RewardFunction(judge, columns=(answer_column,), answer=vote, gold=_formulas_written)


def _formulas_written(value: Any) -> list[str]:
    """RewardFunction.gold. Whether a text is a formula only math-verify knows; what is no text it is told from here."""
    found = alternatives(value)
    strange = next((one.value for one in found if isinstance(one.value, bool | date | time)), None)
    if strange is not None:
        raise Unfit("rewards.gold.no_formula", kind=type(strange).__name__)
    return [one.text for one in found]


def _limit() -> int | None:
    """math-verify's limit is a SIGALRM, which only a main thread may set; on Windows it starts a process each time."""
    return LIMIT_S if os.name == "posix" and threading.current_thread() is threading.main_thread() else None


def _read(text: str) -> list[Any]:
    """What math-verify finds in a text, best first: sympy objects, and the text of the first as a string."""
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse

    return list(parse(text, [LatexExtractionConfig(), ExprExtractionConfig()], parsing_timeout=_limit()))


def _read_text(text: str) -> list[Any]:
    """The same for the text of a model, in which the answer may be marked, or stand without $ signs."""
    if (tagged := _tagged(text)) is not None:
        return _read_bare(tagged)
    said = text.rpartition("</think>")[2]
    text = _plain(_last_boxes(said if said.strip() else text))
    if not _DELIMITED.search(text):
        for answer in _unmarked(text):
            if _formulas(found := _read_bare(answer)):
                return found
    return _read(text)


def _last_boxes(text: str) -> str:
    """From the last \\boxed{} on, and those that are joined to it: math-verify takes all of a text as one set."""
    boxes = list(_BOX.finditer(text))
    first = len(boxes) - 1
    while first > 0 and _JOINED.fullmatch(text[boxes[first - 1].end() : boxes[first].start()]):
        first -= 1
    return text[boxes[first].start() :] if first > 0 else text


def _tagged(text: str) -> str | None:
    """What stands between the last <answer> tags."""
    tags = list(_TAG.finditer(text))
    pairs = [(one, other) for one, other in itertools.pairwise(tags) if not one[1] and other[1]]
    return text[pairs[-1][0].end() : pairs[-1][1].start()] if pairs else None


def _unmarked(text: str) -> Iterator[str]:
    """What may be the answer of a text without $ signs, likeliest first, where it is more than a number."""
    last = next((line for line in reversed(text.splitlines()) if line.strip()), "").strip().strip("*")[-LAST_LINE:]
    if code := _CODE.search(last):
        yield code[1]
    last = last.replace("`", "").rstrip(".")
    if (said := _SAID.search(last)) and not _WORD.search(said[1]):
        yield said[1]
    words = last.split()
    ends = [place for place, word in enumerate(words, 1) if _WORD.search(word)]
    formula = " ".join(words[max(ends, default=0) :])
    if _LISTED.fullmatch(formula) or "\\" in formula:
        yield formula
    elif _RELATED.search(formula):
        yield formula.rpartition(", ")[2]
    if formula and text.strip().strip("*`").rstrip(".") == formula:
        yield formula


def _plain(text: str) -> str:
    """In signs that math-verify reads. Of a mixed number it would read 3 * 1 / 2, of `7.` a float."""
    text = _BOLD.sub(r"\2", _THOUSANDS.sub("", _SIGN.sub(" ", spelled(text)))).replace("**", "^")
    text = _VULGAR.sub(lambda found: " " + unicodedata.normalize("NFKC", found[1]), text)
    text = _ROOT.sub(r"\\sqrt{\1\2}", _POWER.sub(_raised, text)).translate(_SIGNS)
    text = _SCIENTIFIC.sub(lambda found: f"{found[1]}*10^{{{found[2] or found[3]}}}", _KOREAN.sub("", text))
    text = _NAMED.sub(lambda found: f"\\{_CALLED.get(found[1], found[1])} ", text)
    return _MIXED.sub(_improper, _FULL_STOP.sub("", text))


def _raised(found: re.Match[str]) -> str:
    """x\u00b2 as x^{2}; the square of a metre stays a unit."""
    if found[1] and found[2] == "m":
        return found[0]
    return f"{found[1] or ''}{found[2]}^{{{unicodedata.normalize('NFKC', found[3]).replace(chr(0x2212), '-')}}}"


def _improper(found: re.Match[str]) -> str:
    whole, above, below = map(int, found.groups())
    return f"{whole * below + above}/{below}" if above < below else found[0]


def _read_bare(answer: str) -> list[Any]:
    """The same for a text that is nothing but the answer, where a formula may stand without $ signs."""
    tagged = _tagged(answer)
    answer = _plain(answer if tagged is None else tagged).strip().strip("`")
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

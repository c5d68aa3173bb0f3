"""Which reward fits the answers of some rows: proposed from what the answers are, to be shown and changed.

    number   the last number or formula in the completion, compared as mathematics
    worked   the same for worked solutions that end with `#### 42`, as GSM8K's do
    yes_no   one of two words
    several  a list of accepted answers in every row
    list     texts that name several things: the share of them
    short    a few words: exactly these
    long     sentences: the words they share with the answer (ROUGE-1)
    code     programs with tests: the share of the tests they pass

Beside it a fifth of the worth is paid for the form in which the rewards find the answer. A model too small to follow
a form is paid for the bare answer, and charged for every word beyond those an answer has: that is what tells its first
attempts apart, long sentences of which none is right. Imports no library.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from trainer.rewards.gold import written

Kind = Literal["number", "worked", "yes_no", "several", "list", "short", "long", "code"]
Form = Literal["tags", "worked", "code", "bare"]
CORRECT, FORMAT, SHORT = "correct", "format", "short"
RIGHT, IN_FORM, LONG = 1.0, 0.2, 0.5
"""Weights. The form alone must not be worth it: it is learnt first, and makes right answers findable."""
MOST = 0.98
"""Share of the answers that have to be of a kind: of the others its reward could say nothing."""
BARE = r"\A\s*([^\n]*?)\.?\s*\Z"
"""The whole completion, without the full stop that ends a sentence."""
SHORT_WORDS, SHORT_CHARACTERS = 5, 40

SLOPE_WORDS = 7
"""More than an answer has: so many cost all of LONG. A sentence that says the answer has about so many."""

_NUMBER = re.compile(
    r"[$\u20ac\u00a3\u20a9]?\s*[+\-\u2212]?\s*(?:\d{1,3}(?:[,\u00a0 ]\d{3})+|\d+)?(?:[.,]\d+)?"
    r"(?:\s*/\s*\d+)?(?:[eE][+-]?\d+)?\s*[%$\u20ac\u00b0\u20a9]?"
)
_LATEX = re.compile(r"\$[^$]+\$|.*\\(?:frac|sqrt|boxed|pi)\b.*", re.DOTALL)
_WORKED = re.compile(r".*####\s*\S.*", re.DOTALL)
_ITEMS = re.compile(r"[,;|\u3001\uff0c\n]")
_EASTERN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")
_SPOKEN = (
    *("yes no", "true false", "y n", "t f", "right wrong", "correct incorrect", "ja nein", "wahr falsch", "oui non"),
    *(
        "si no",
        "s\u00ed no",
        "sim n\u00e3o",
        "vrai faux",
        "예 아니오",
        "예 아니요",
        "네 아니오",
        "네 아니요",
        "참 거짓",
    ),
    *("o x", "맞음 틀림", "\u662f \u5426", "\u5bf9 \u9519", "はい いいえ", "positive negative", "긍정 부정"),
)


@dataclass(frozen=True)
class Proposal:
    """components: of reward.components, as TOML has them. form: how an answer has to be written to be found."""

    kind: Kind
    form: Form
    components: tuple[dict[str, Any], ...]
    gold_template: str


def proposal(answers: Sequence[Any], tests: Sequence[Any] = (), is_small: bool = False) -> Proposal | None:
    """None where there are no answers. tests: of the column `tests`, one value a row. is_small: the model cannot
    be told in which form to answer."""
    told = [value for value in answers if value is not None and str(value).strip()]
    style = _style_of(next((value for value in tests if value), None))
    if style:
        return _code(style)
    if not told:
        return None
    kind = kind_of(told)
    form: Form = "worked" if kind == "worked" else "bare" if is_small else "tags"
    params: dict[str, Any] = {"extract": _extract(kind)} if form == "tags" else {}
    if form == "bare" and not any(str(value).strip().endswith(".") for value in told):
        params = {"extract": BARE}
    if kind in ("number", "worked"):
        function = "math"
        params = {"gold_extract": r"####\s*(.+)"} if kind == "worked" else {}
    elif kind in ("list", "long"):
        function = "rouge1"
        params = (params if form == "tags" else {}) | _tokens(told)
    else:
        function = "exact_match"
        params |= {"normalise": True}
        params |= {"accepted_separator": ""} if any(str(value).strip("#") != str(value) for value in told) else {}
    if form == "bare":
        words = max(len(written(value).split()) for value in _each(told))
        charged = {"start": words, "end": words + SLOPE_WORDS, "unit": "words"}
        short = _component("length_penalty", SHORT, LONG, charged)
        return Proposal(kind, form, (_component(function, CORRECT, RIGHT, params), short), "{answer}")
    pattern = r".*####\s*\S+\s*" if form == "worked" else r".*<answer>.+</answer>\s*"
    gold = "{answer}" if form == "worked" else "<answer>{answer}</answer>"
    return Proposal(kind, form, (_component(function, CORRECT, RIGHT, params), _form(pattern)), gold)


def kind_of(answers: Sequence[Any]) -> Kind:
    """answers: none of them empty."""
    if _most(answers, lambda value: isinstance(value, list | tuple) or hasattr(value, "tolist")):
        return "several"
    texts = [written(value).strip() for value in answers]
    if {text.casefold() for text in texts} in [set(pair.split()) for pair in _SPOKEN]:
        return "yes_no"
    if _most(texts, _is_number):
        return "number"
    if _most(texts, lambda text: bool(_WORKED.fullmatch(text))):
        return "worked"
    items = [[item for item in _ITEMS.split(text) if item.strip()] for text in texts]
    several = [found for found in items if len(found) > 1]
    if 3 * len(several) >= 2 * len(texts) and all(len(item.split()) <= 3 for found in several for item in found):
        return "list"
    long = sum(len(text.split()) > SHORT_WORDS or len(text) > SHORT_CHARACTERS for text in texts)
    typical = statistics.median(len(text) for text in texts)
    return "long" if 4 * long > len(texts) or typical > SHORT_CHARACTERS else "short"


def _each(told: Sequence[Any]) -> list[Any]:
    """The accepted answers of all rows, one by one."""
    plain = [value.tolist() if hasattr(value, "tolist") else value for value in told]
    return [one for value in plain for one in (value if isinstance(value, list | tuple) else [value])]


def _tokens(told: Sequence[Any]) -> dict[str, Any]:
    """Params of rouge1: scripts without spaces, or with endings on their words, are compared by the syllable."""
    eastern = sum(bool(_EASTERN.search(str(value))) for value in told)
    return {"tokens": "syllable"} if 2 * eastern > len(told) else {}


def _is_number(text: str) -> bool:
    return bool(_LATEX.fullmatch(text) or (_NUMBER.fullmatch(text) and re.search(r"\d", text)))


def _most(found: Sequence[Any], holds: Callable[[Any], bool]) -> bool:
    return sum(map(holds, found)) >= MOST * len(found)


def _extract(kind: Kind) -> str:
    """What stands between the tags; of a text the last that is closed, line ends and all."""
    return r"<answer>(.*?)</answer>" if kind in ("list", "long") else r"<answer>([^<]*)</answer>"


def _component(function: str, name: str, weight: float, params: dict[str, Any]) -> dict[str, Any]:
    found = {"function": function, "name": name, "weight": weight}
    return found | ({"params": params} if params else {})


def _form(pattern: str) -> dict[str, Any]:
    return _component("format_regex", FORMAT, IN_FORM, {"pattern": pattern})


def _style_of(tests: Any) -> str:
    """What the reward for programs calls such tests; "" where it could not run them, such as JSON in a cell of text."""
    if isinstance(tests, str):
        return "assert" if "assert" in tests and tests.lstrip()[:1] not in "[{" else ""
    first = tests[0] if isinstance(tests, list) and tests else None
    if isinstance(first, dict):
        return "stdin"
    return "assert" if isinstance(first, str) else ""


def _code(style: str) -> Proposal:
    right = _component("code", CORRECT, RIGHT, {"style": style})
    return Proposal("code", "code", (right, _form(r".*```python\s.*```\s*")), "```python\n{answer}\n```")

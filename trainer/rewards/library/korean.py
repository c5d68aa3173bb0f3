"""What has to be done to a text before Korean answers can be compared: one spelling, and tokens.

Imports regex, for its Unicode properties.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

import regex

from trainer.errors import Unfit

DOUBLE_QUOTES = (
    "\u201c\u201d\u201e\u201f\u301d\u301e\u301f\uff02"  # curly, low, primes of East Asian type, full-width
    "\u300c\u300d\u300e\u300f\uff62\uff63"  # corner brackets: white, black, half-width
    "\u00ab\u00bb"  # guillemets
)
SINGLE_QUOTES = "\u2018\u2019\u201a\u201b\uff07"
_QUOTES = str.maketrans(dict.fromkeys(DOUBLE_QUOTES, '"') | dict.fromkeys(SINGLE_QUOTES, "'"))

_NAME = r"(?:(?:(?:모범|최종) ?)?(?:답변|답안|정답|대답|답)|(?i:(?:final )?answer)|A)(?: ?\d{1,3})?"
# **label:** and **label**: go as a whole; of **label: the answer** the stars stay, for _BOLD.
_LABEL = re.compile(rf"(\*{{1,3}}){_NAME} ?(?:[:\uff1a]\1|\1 ?[:\uff1a]) ?|(\*{{0,3}}){_NAME} ?[:\uff1a] ?")
_BOLD = re.compile(r"(\*{1,3})([^*]+)\1")


def normalise_answer(text: str) -> str:
    """The text as a contest compares it: without the label in front of it, with plain quotation marks, in one line.

    NFC; every quotation mark of DOUBLE_QUOTES to ", of SINGLE_QUOTES to '; every run of white space to one blank;
    labels such as `답변:`, `정답 1:`, `**모범 답안:**`, `Answer:` or `A:` cut off the start, however many; bold type's
    stars around the whole cut off; stripped. Doing it twice changes nothing.
    """
    text = " ".join(unicodedata.normalize("NFC", text).translate(_QUOTES).split())
    while True:
        if bold := _BOLD.fullmatch(text):
            text = bold[2].strip()
        elif label := _LABEL.match(text):
            text = (label[2] or "") + text[label.end() :]
        else:
            return text


_WORDS = regex.compile(r"[\p{Latin}\p{N}\p{M}]+|[[\p{L}\p{M}]--\p{Latin}]+", regex.V1)
# Scripts that put a syllable or more into one character.
_SYLLABLES = regex.compile(
    r"[\p{Latin}\p{N}\p{M}]+"
    r"|[\p{Hangul}\p{Han}\p{Hiragana}\p{Katakana}]\p{M}*"
    r"|[[\p{L}\p{M}]--[\p{Latin}\p{Hangul}\p{Han}\p{Hiragana}\p{Katakana}]]+",
    regex.V1,
)
_TOKENS = {"word": _WORDS, "syllable": _SYLLABLES}


def tokenizer(tokens: str = "word") -> Callable[[str], list[str]]:
    """Text -> tokens, after lower case and NFC.

    word: runs of letters, digits and marks, cut where Latin letters or digits meet another script, so that `GPU가` is
    `gpu` and `가`. Everything else separates. On ASCII text these are the tokens of rouge-score 0.1.2 without its
    stemmer, which drops every other letter and with it all of Korean.
    syllable: the same, but each Hangul syllable and each character of Chinese and Japanese is a token of its own:
    `학교에` and `학교는` then share two of three.
    Neither cuts words into morphemes, as scorers with a Korean dictionary (Mecab) do: their numbers differ.
    Raises ValueError for another name.
    """
    if tokens not in _TOKENS:
        raise Unfit("rewards.unfit.one_of", name="tokens", seen=repr(tokens), known=list(_TOKENS))
    find = _TOKENS[tokens].findall
    return lambda text: find(unicodedata.normalize("NFC", text.lower()))

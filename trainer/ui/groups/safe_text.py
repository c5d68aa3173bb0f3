"""What a model wrote, made safe to look at: markup stays text, and characters nobody sees become visible.

Control characters, marks that turn the direction of writing, blanks of no width and halves of surrogate pairs (which
no answer to a browser could carry) are shown by their number. No third-party package.
"""

from __future__ import annotations

import re

from trainer.show.markup import escape

_UNSEEN = (
    "\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u200b\\u200c"
    "\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u206f\\u3164\\ufeff\\uffa0\\ufff9-\\ufffc\\ufffe\\uffff\\ud800-\\udfff"
    "\\U000e0000-\\U000e0fff"
)
_PICTURE = "\\u2190-\\u2bff\\ufe0f\\U0001f000-\\U0001faff"
# U+200D joins pictures into one, which is what it is for; elsewhere it is as invisible as the others.
_RUN = re.compile(f"([{_UNSEEN}]|(?<![{_PICTURE}])\\u200d|\\u200d(?![{_PICTURE}]))\\1*")


def inert(text: str) -> str:
    """Text as HTML for a box that keeps white space: everything escaped, each run of an unseen character named once."""
    text = text.replace("\r\n", "\n")
    shown, place = [], 0
    for found in _RUN.finditer(text):  # before escaping, which has a sign of its own for half of a pair
        shown += [escape(text[place : found.start()]), _named(found)]
        place = found.end()
    return "".join(shown) + escape(text[place:])


def plain(text: str, most: int) -> str:
    """One line of at most `most` characters for attributes and short cells; not yet escaped."""
    line = " ".join(_RUN.sub(_told, text[: 4 * most]).split())
    return line if len(line) <= most and len(text) <= 4 * most else f"{line[:most]}\u2026"


def _named(found: re.Match[str]) -> str:
    return f'<i class="gg-unseen">{_number(found)}</i>'


def _told(found: re.Match[str]) -> str:
    return " " if found[1] in "\r\x0b\x0c" else f"[{_number(found)}]"


def _number(found: re.Match[str]) -> str:
    times = len(found[0])
    return f"U+{ord(found[1]):04X}" + (f"\u00d7{times}" if times > 1 else "")

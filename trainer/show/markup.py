"""Text as HTML. Everything shown goes through `escape`: what a model wrote stays inert. Standard library only."""

from __future__ import annotations

import html
import re

# Half of a pair of UTF-16: legal in JSON and in a Python string, but no answer could be encoded with it.
_HALF = re.compile("[\ud800-\udfff]")


def escape(text: str) -> str:
    """Text for HTML; braces and dollars too, which gr.HTML's templates would read. Lone surrogates become U+FFFD."""
    safe = html.escape(_HALF.sub("\ufffd", text), quote=True)
    for char in "{}$`":
        safe = safe.replace(char, f"&#{ord(char)};")
    return safe


def element(tag: str, text: str, kind: str = "") -> str:
    opened = f'{tag} class="{kind}"' if kind else tag
    return f"<{opened}>{escape(text)}</{tag}>"

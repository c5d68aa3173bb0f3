"""What a browser shows from the first byte on: the frame of the page in grey, until the page is told its first news.

Gradio 6.31 answers with an empty document and fills it once its scripts have run. It is put into Gradio's own
template (`frontend/index.html`, rendered by jinja2); where that has changed, the page opens as Gradio's does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainer.show.markup import element
from trainer.text import Words, languages, preferred, words

TEMPLATE = "frontend/index.html"
BEFORE = "<gradio-app"
TABS = ("train", "live", "groups", "health", "runs", "try")
_HERE = Path(__file__).with_name("opening")


def put_in(environment: Any) -> None:
    """Into the template of that jinja2 environment, where it is as it is known here."""
    from jinja2 import ChoiceLoader, DictLoader

    source = environment.loader.get_source(environment, TEMPLATE)[0]
    filled = source.replace(BEFORE, "{{ page_opening(request, config) }}" + BEFORE, 1)
    environment.loader = ChoiceLoader([DictLoader({TEMPLATE: filled}), environment.loader])
    environment.globals["page_opening"] = _opening


def _opening(request: Any, config: dict[str, Any]) -> Any:
    """Nothing before the login, which tells no news."""
    from markupsafe import Markup

    if config.get("auth_required"):
        return ""
    return Markup(rendered(words(language(request.query_params, request.headers))))


def language(query: Any, headers: Any) -> str:
    """The language a page is asked for in: by its address, else by the browser."""
    asked = query.get("lang", "")
    return asked if asked in languages() else preferred(headers.get("accept-language", ""))


def rendered(say: Words) -> str:
    tabs = "".join(element("span", say(f"tab.{name}")) for name in TABS)
    cards = '<i class="g-bone g-bone-card"></i>' * 3
    style, script = (_HERE.with_suffix(suffix).read_text(encoding="utf-8") for suffix in (".css", ".js"))
    return (
        f'<style>{style}</style><div id="g-opening" lang="{say.language}" aria-hidden="true">'
        f'<div class="g-open-head">{element("b", say("page.title"))}<i class="g-bone"></i></div>'
        f'<div class="g-open-tabs">{tabs}</div>{element("p", say("train.lead"))}'
        f'<div><i class="g-bone g-bone-button"></i><i class="g-bone g-bone-button"></i></div>'
        f'<div class="g-open-cards">{cards}</div></div><script>{script}</script>'
    )

"""What Try it says without a run being asked."""

from __future__ import annotations

import re

from trainer.errors import Problem
from trainer.text import words
from trainer.ui.tryit import views


def test_what_lacks_for_gguf_is_said_in_two_sentences() -> None:
    missing = Problem("export.tool_missing", "convert_hf_to_gguf.py", variable="LLAMA_CPP", quantizer="llama-quantize")
    for code in ("en", "ko"):
        text = views.no_gguf(missing, words(code))
        assert "llama.cpp" in text and "LLAMA_CPP" in text and len(re.findall(r"\.(?: |$)", text)) == 2
    other = Problem("export.tool_does_not_start", "convert.py", said="no numpy", python="python", file="r.txt")
    assert "no numpy" in views.no_gguf(other, words("en"))

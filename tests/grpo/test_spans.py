"""trainer.grpo.spans: nesting, self time, closing on error. A fake clock ticks one second a reading."""

import itertools

import pytest

from trainer.grpo.spans import Span, Spans


def ticking() -> Spans:
    counter = itertools.count()
    return Spans(clock=lambda: float(next(counter)))


def by_name(spans: list[Span]) -> dict[str, Span]:
    return {span.name: span for span in spans}


def test_self_time_is_total_without_the_children() -> None:
    spans = ticking()
    with spans("step"), spans("generate"), spans("decode"):
        pass
    found = by_name(spans.drain())
    assert [found[name].total_s for name in ("decode", "generate", "step")] == [1, 3, 5]
    assert [found[name].self_s for name in ("decode", "generate", "step")] == [1, 2, 2]
    assert found["decode"].parent == "generate"
    assert found["step"].parent is None


def test_calls_of_one_name_under_one_parent_are_summed() -> None:
    spans = ticking()
    with spans("step"):
        for _ in range(3):
            with spans("micro"):
                pass
    found = by_name(spans.drain())
    assert (found["micro"].calls, found["micro"].total_s) == (3, 3)
    assert found["step"].total_s == 7
    assert found["step"].self_s == 4


def test_the_same_name_under_two_parents_is_two_rows() -> None:
    spans = ticking()
    for parent in ("a", "b"):
        with spans(parent), spans("logps"):
            pass
    assert [(s.name, s.parent) for s in spans.drain() if s.name == "logps"] == [
        ("logps", "a"),
        ("logps", "b"),
    ]


def test_an_error_closes_every_open_span_as_failed() -> None:
    spans = ticking()
    with pytest.raises(ValueError, match="boom"), spans("step"), spans("loss"):
        raise ValueError("boom")
    assert {span.name: span.ok for span in spans.drain()} == {"loss": False, "step": False}
    with spans("next"):
        pass
    assert [(span.name, span.parent, span.ok) for span in spans.drain()] == [("next", None, True)]


def test_a_span_left_open_inside_is_closed_as_failed_with_its_parent_intact() -> None:
    spans = ticking()
    with spans("step"):
        spans.open("optimizer")
    assert {span.name: span.ok for span in spans.drain()} == {"optimizer": False, "step": True}


def test_closing_a_name_that_is_not_open_does_nothing() -> None:
    spans = ticking()
    spans.close("optimizer")
    assert spans.drain() == []


def test_the_device_is_waited_for_at_both_edges() -> None:
    waits: list[int] = []
    spans = Spans(sync=lambda: waits.append(1))
    with spans("generate"):
        pass
    assert len(waits) == 2


def test_the_innermost_span_an_exception_left_is_remembered() -> None:
    spans = ticking()
    spans.open("step")
    with pytest.raises(MemoryError), spans("training_step"), spans("backward"):
        raise MemoryError
    assert spans.failed_in == "backward"
    spans.close("step", ok=False)
    assert spans.failed_in == "backward"


def test_a_span_without_a_with_is_remembered_too() -> None:
    spans = ticking()
    spans.open("step")
    spans.open("optimizer")
    spans.close("step", ok=False)
    assert spans.failed_in == "optimizer"


def test_a_failure_that_was_dealt_with_is_forgotten() -> None:
    spans = ticking()
    with spans("step"), pytest.raises(ValueError), spans("reward"):
        raise ValueError
    assert spans.failed_in is None

"""A calculator for arithmetic."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

MOST_CHARACTERS = 200  # of an expression
LARGEST = 10**15
"""Of a number on the way: powers would fill the memory."""
_BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_UNARY: dict[type, Callable[[Any], Any]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}


class Calculator:
    """Works out what it is given. It pays nothing: what the model answers is for the other rewards to judge."""

    def reset(self) -> None:
        """Nothing is kept between two calls."""

    def calculate(self, expression: str) -> str:
        """Work out an arithmetic expression.

        Args:
            expression: Numbers with + - * / // % ** and parentheses, such as (3 + 4) * 5.
        """
        text = str(expression)
        if len(text) > MOST_CHARACTERS:
            raise ValueError(f"an expression has at most {MOST_CHARACTERS} characters")
        value = _value(ast.parse(text.strip(), mode="eval").body)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return f"{value:.10g}" if isinstance(value, float) else str(value)


def _value(node: ast.AST) -> int | float:
    """Raises ValueError for what is no arithmetic, ZeroDivisionError."""
    value: Any
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        value = node.value
    elif isinstance(node, ast.UnaryOp) and type(node.op) in _UNARY:
        value = _UNARY[type(node.op)](_value(node.operand))
    elif isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        left, right = _value(node.left), _value(node.right)
        if isinstance(node.op, ast.Pow) and (abs(right) > 50 or abs(left) > 10**6):
            raise ValueError("the power is too large")
        value = _BINARY[type(node.op)](left, right)
    else:
        raise ValueError("this is no arithmetic")
    if isinstance(value, complex) or not abs(value) <= LARGEST:
        raise ValueError("the number is too large")
    return value  # type: ignore[no-any-return]

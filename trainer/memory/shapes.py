"""The shape of a language model: what memory arithmetic needs of its `config.json`.

Imports the standard library only. Knows nothing about names, precision, batches or devices.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

Linears = dict[str, tuple[int, int]]
"""{name: (inputs, outputs)} of linear layers; the last part of the module's name."""


@dataclass(frozen=True)
class Layers:
    """Decoder layers of one kind. Everything but `count` is of one of them."""

    count: int
    linears: Linears
    """Without experts."""
    small: int
    """Weights that are in no linear layer and no expert: norms, biases, routers, sinks, convolutions."""
    mlp: int
    """Width of the gated MLP a token passes through, of all its experts together."""
    mixed: int
    """Numbers a token that attention, or what stands in its place, keeps for the backward pass."""
    heads: int = 0
    """Heads that make scores of (T, T); 0 where there is no attention."""
    kv_width: int = 0
    """Numbers of a token's keys, and as many of its values; 0 where none are kept."""
    window: int | None = None
    """Tokens of the sliding window; None: all are kept."""
    state: int = 0
    """Numbers a sequence keeps whatever its length: a recurrent state, the end of a convolution."""

    def linear_params(self) -> int:
        return sum(inputs * outputs for inputs, outputs in self.linears.values())

    def kv_values(self, tokens: int) -> int:
        """Numbers in the keys and values of one sequence of `tokens`."""
        return 2 * self.kv_width * (tokens if self.window is None else min(tokens, self.window))


@dataclass(frozen=True)
class ModelShape:
    """Sizes of a decoder-only language model. Words as in config.json."""

    hidden: int
    vocab: int
    tied: bool
    """Input embedding and lm_head are one matrix."""
    kinds: tuple[Layers, ...]
    outer: Linears = field(default_factory=dict)
    """Linear layers that stand once in the decoder, outside its layers."""
    small: int = 0
    """Weights of norms outside the layers."""
    tables: int = 0
    """Weights of further embeddings, of which a token reads a row (Gemma 4's per-layer embeddings)."""
    experts: int = 0
    """0 is a dense MLP."""
    active_experts: int = 1
    """Experts a token passes through."""
    expert_width: int = 0
    vision: int = 0
    """Weights of the towers for images and sound, and of their projectors."""
    source: str = ""

    @property
    def layers(self) -> int:
        return sum(kind.count for kind in self.kinds)

    def linears(self) -> Iterator[tuple[int, str, int, int]]:
        """(how often, name, inputs, outputs) of the decoder's linear layers, without experts."""
        for kind in self.kinds:
            yield from ((kind.count, name, *sizes) for name, sizes in kind.linears.items())
        yield from ((1, name, *sizes) for name, sizes in self.outer.items())

    def linear_params(self) -> int:
        """Weights of the decoder's matrices, experts included."""
        return sum(count * ins * outs for count, _, ins, outs in self.linears()) + self.expert_params()

    def expert_params(self) -> int:
        """Weights of the experts' gate, up and down matrices; 0 for a dense model."""
        return self.layers * self.experts * 3 * self.hidden * self.expert_width

    def linear_rows(self) -> int:
        """Output rows of the decoder's matrices: one scale each where every row has its own."""
        experts = self.layers * self.experts * (2 * self.expert_width + self.hidden)
        return sum(count * outs for count, _, _, outs in self.linears()) + experts

    def largest_linear(self) -> int:
        """Weights of the decoder's largest matrix; an expert's gate and up projections are one."""
        dense = max(ins * outs for _, _, ins, outs in self.linears())
        return max(dense, 2 * self.hidden * self.expert_width) if self.experts else dense

    def adapter_params(self, rank: int, targets: str | Iterable[str]) -> int:
        """Weights of adapters on these layers, "all-linear" or names: rank x (inputs + outputs) each."""
        chosen = {targets} if isinstance(targets, str) else set(targets)
        taken = (each for each in self.linears() if targets == "all-linear" or each[1] in chosen)
        return rank * sum(count * (ins + outs) for count, _, ins, outs in taken)

    def embedding_params(self) -> int:
        """Input embedding, lm_head where it is a matrix of its own, and further tables."""
        return self.vocab * self.hidden * (1 if self.tied else 2) + self.tables

    def small_params(self) -> int:
        """Norms, biases, routers, sinks, convolutions."""
        return sum(kind.count * kind.small for kind in self.kinds) + self.small

    def params(self) -> int:
        """All weights, the towers included."""
        return self.linear_params() + self.embedding_params() + self.small_params() + self.vision

    def kv_values(self, tokens: int) -> int:
        """Numbers in the keys and values of one sequence of `tokens`, all layers together."""
        return sum(kind.count * kind.kv_values(tokens) for kind in self.kinds)

    def state_values(self) -> int:
        """Numbers in the states of one sequence."""
        return sum(kind.count * kind.state for kind in self.kinds)

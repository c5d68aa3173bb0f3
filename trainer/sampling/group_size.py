"""Completions of each prompt, within a fixed sum and bounds.

spread      n_i in proportion to the expected standard deviation s_i of the prompt's rewards: of all divisions of
            N completions this one makes the variance of the mean over prompts, the sum of s_i^2 / n_i, smallest
            (Neyman, J. R. Stat. Soc. 97, 1934)
threshold   one more than last time after a group whose spread was above a bound, one fewer after another
"""

from __future__ import annotations

from collections.abc import Sequence


def in_proportion(spreads: Sequence[float], total: int, least: int, most: int) -> list[int]:
    """Sizes, `total` together, each in [least, most], in proportion to the spreads as far as that goes.

    Raises ValueError where no such sizes are.
    """
    _refuse_impossible(len(spreads), total, least, most)
    # A prompt whose share is out of bounds gets the bound; the others divide what is left, until nothing moves.
    sizes: list[float] = [0.0] * len(spreads)
    free, left = set(range(len(spreads))), float(total)
    while free:
        weight = sum(spreads[i] for i in free)
        for i in free:
            sizes[i] = left * spreads[i] / weight if weight > 0 else left / len(free)
        below = {i for i in free if sizes[i] < least}
        above = {i for i in free if sizes[i] > most}
        short, over = sum(least - sizes[i] for i in below), sum(sizes[i] - most for i in above)
        out = below if short >= over else above
        if not out:
            break
        for i in out:
            sizes[i] = least if out is below else most
            left -= sizes[i]
        free -= out
    whole = [int(size + 1e-9) for size in sizes]
    return fitted(whole, [size - part for size, part in zip(sizes, whole, strict=True)], total, least, most)


def fitted(sizes: Sequence[int], wants: Sequence[float], total: int, least: int, most: int) -> list[int]:
    """The sizes with one more or one fewer here and there until they are `total` together: first one more for the
    prompts that want it most, and one fewer for those that want it least, each at most once before any twice."""
    _refuse_impossible(len(sizes), total, least, most)
    found = [min(most, max(least, size)) for size in sizes]
    order = sorted(range(len(found)), key=lambda i: (-wants[i], i))
    while (missing := total - sum(found)) != 0:
        step = 1 if missing > 0 else -1
        for i in order if step > 0 else reversed(order):
            if missing and least <= found[i] + step <= most:
                found[i] += step
                missing -= step
    return found


def _refuse_impossible(prompts: int, total: int, least: int, most: int) -> None:
    if not least * prompts <= total <= most * prompts:
        raise ValueError(f"{prompts} prompts of {least} to {most} completions are never {total} together")

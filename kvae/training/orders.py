"""In which order an epoch of `fit` takes the rows of arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from kvae.types import Array


class Order(NamedTuple):
    """The rows of an epoch.

    Attributes:
        length: how many rows an epoch has, the same for every epoch.
        draw: function from a `numpy.random.Generator` to the row numbers, int array `(length,)`.
    """

    length: int
    draw: Callable[[np.random.Generator], Array]


def shuffled(n: int) -> Order:
    """Each of `n` rows once, in random order."""
    return Order(n, lambda rng: rng.permutation(n))


def unchanged(n: int) -> Order:
    """Each of `n` rows once, as they are."""
    return Order(n, lambda rng: np.arange(n))


def mixed(chosen: Array, batch_size: int, share: float) -> Order:
    """Batches of which a fixed share comes from a small part of the rows.

    Args:
        chosen: bool array `(n,)`: whether a row is in that part.
        batch_size: rows per batch.
        share: of a batch that is in that part, from 0 to 1; rounded to whole rows, but at least one of either kind, and
            never less than the part's share of all rows.

    Returns:
        An `Order` in which an epoch has each of the other rows once, and those of the part as often as this takes:
        in rounds, each in a new order.
    """
    few, many = np.flatnonzero(chosen), np.flatnonzero(~chosen)
    share = max(share, len(few) / len(chosen))
    if not len(few) or not len(many) or batch_size < 2:
        return shuffled(len(chosen))
    size = min(max(round(share * batch_size), 1), batch_size - 1)  # of each batch's rows from the part
    others = batch_size - size
    full, rest = divmod(len(many), others)
    last = max(round(size * rest / others), 1) if rest else 0  # a short last batch keeps the share
    needed = full * size + last

    def draw(rng: np.random.Generator) -> Array:
        rounds = [rng.permutation(few) for _ in range(-(-needed // len(few)))]
        few_rows, many_rows = np.concatenate(rounds)[:needed] if rounds else few[:0], rng.permutation(many)
        cut = full * size, full * others
        batches = np.concatenate(
            [few_rows[: cut[0]].reshape(full, size), many_rows[: cut[1]].reshape(full, others)], axis=1
        )
        return np.concatenate([batches.reshape(-1), few_rows[cut[0] :], many_rows[cut[1] :]])

    return Order(needed + len(many), draw)

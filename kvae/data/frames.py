"""Tables into arrays and back: data frames with columns of several kinds, prepared by a ColumnTransformer."""

from __future__ import annotations

from typing import Any

import numpy as np

from kvae import checks
from kvae.distributions import Bernoulli, Categorical, column_transformer
from kvae.distributions.categorical import check_simplex
from kvae.distributions.column_transformer import Block, is_missing
from kvae.distributions.observed import filled
from kvae.types import Array, ArrayLike

MOST_DECIMALS = 4  # of numbers that were rounded; with more, they are taken for real ones
WITHOUT_NAN = "iub"  # kinds of NumPy's dtypes in which no value stands for a missing one


def to_array(table: Any, transformer: Any) -> Array:
    """What a fitted ColumnTransformer makes of a table, with NaN for every missing cell.

    The result is that of `transformer.transform(table)`, except that a missing category is a vector of NaN. What stands
    for missing values of its own, such as the category "nan" of a `OneHotEncoder` or the mean of a `SimpleImputer`,
    does not appear in it: a `kvae.distributions.Observed` leaves out what is missing.

    Args:
        table: the `pandas.DataFrame`, or array `(n, columns)`, with the columns that the transformer was fitted on.
        transformer: fitted `sklearn.compose.ColumnTransformer`, as for `Mixed.from_transformer`.

    Returns:
        Array float32 `(n, size)`, for a `kvae.distributions.Mixed.from_transformer(transformer)`.

    Raises:
        ValueError: if the table has other columns, or a cell holds no finite number where one is expected, such as the
            logarithm of 0, or a category that the transformer has not seen; or for a transformer that is not fitted or
            not supported.

    Example:

    >>> import pandas as pd
    >>> from sklearn.compose import ColumnTransformer
    >>> from sklearn.preprocessing import OneHotEncoder, StandardScaler
    >>> frame = pd.DataFrame({"age": [20.0, 40.0, None], "city": ["Bonn", None, "Kiel"]})
    >>> steps = [("reals", StandardScaler(), ["age"]), ("city", OneHotEncoder(), ["city"])]
    >>> transformer = ColumnTransformer(steps).fit(frame)
    >>> kvae.data.to_array(frame, transformer)
    array([[-1.,  1.,  0.],
           [ 1., nan, nan],
           [nan,  0.,  1.]], dtype=float32)
    """
    blocks = column_transformer.blocks(transformer)
    names = _names(transformer)
    table = _copy(table, names, transformer.n_features_in_)
    gaps = [_prepared(table, block, names) for block in blocks]
    with np.errstate(all="ignore"):  # of the logarithm of 0: what is not finite is found
        try:
            output = transformer.transform(table)
        except ValueError:
            _check_steps(table, blocks, gaps, names)
            raise
        output = np.asarray(output.toarray() if hasattr(output, "toarray") else output).astype("float32")
    pieces = []
    for block, missing in zip(blocks, gaps, strict=True):
        piece = output[:, block.outputs]
        piece = piece if block.kept is None else piece[:, block.kept]
        for column, index, gap, own in zip(block.columns, block.indices, missing, _split(piece, block), strict=True):
            if not block.labels:
                _check_finite(own[:, 0], gap, column, table[:, index] if names is None else table[column], block.name)
            own[gap] = np.nan
        pieces.append(piece)
    return np.concatenate(pieces, axis=1)


def to_frame(x: ArrayLike, transformer: Any, like: Any) -> Any:
    """The table that rows of numbers stand for: categories as their labels, counts whole, reals in their units.

    Of draws, as `generate` and `evaluation.impute(..., num_draws=1)` return them, each is a row of the table. Of means,
    as `reconstruct` returns them, the most probable category is taken.

    Args:
        x: array `(n, size)`, as `to_array` returns it; NaN is missing.
        transformer: the fitted `ColumnTransformer`.
        like: the table that it was fitted on, or some of its rows: the numbers of a column are rounded as they are
            there, to whole ones or up to 4 decimals, and it has its dtype, unless that lacks NaN, which `x` has.

    Returns:
        `pandas.DataFrame` of the columns that the transformer does not drop, with their names, in their order, and rows
        numbered from 0; an array `(n, columns)` if the transformer was fitted on one.

    Raises:
        ValueError: if `x` has another shape, the probabilities of a category are negative or do not sum to 1, or part
            of a category is missing; or for a transformer that is not fitted or not supported.

    Example:

    >>> import pandas as pd
    >>> from sklearn.compose import ColumnTransformer
    >>> from sklearn.preprocessing import OneHotEncoder, StandardScaler
    >>> frame = pd.DataFrame({"city": ["Bonn", "Kiel"], "age": [20, 40]})
    >>> steps = [("reals", StandardScaler(), ["age"]), ("city", OneHotEncoder(), ["city"])]
    >>> transformer = ColumnTransformer(steps).fit(frame)
    >>> kvae.data.to_frame([[0.52, 0.3, 0.7]], transformer, frame)
       city  age
    0  Kiel   35
    """
    blocks = column_transformer.blocks(transformer)
    names = _names(transformer)
    like = _copy(like, names, transformer.n_features_in_)
    x = checks.array(x, (sum(sum(block.widths) for block in blocks),), "x", may_be_missing=True).astype("float64")
    cells: dict[int, Any] = {}
    start = 0
    for block in blocks:
        piece = x[:, start : start + sum(block.widths)]
        columns = _labels(piece, block) if block.labels else _numbers(piece, block)
        cells.update(zip(block.indices, columns, strict=True))
        start += piece.shape[1]
    if names is None:
        rows = np.column_stack([_rounded(cells[i], like[:, i]) for i in sorted(cells)])
        return rows if like.dtype.kind in WITHOUT_NAN and _missing(rows.ravel()).any() else rows.astype(like.dtype)
    frame = type(like)({names[i]: _rounded(cells[i], like[names[i]]) for i in sorted(cells)})
    for name in list(frame):
        dtype = like[name].dtype
        if not (isinstance(dtype, np.dtype) and dtype.kind in WITHOUT_NAN and _missing(frame[name]).any()):
            frame[name] = frame[name].astype(dtype)
    return frame


def _names(transformer):
    """Names of the columns of the frame that the transformer was fitted on; `None` for an array."""
    return list(transformer.feature_names_in_) if hasattr(transformer, "feature_names_in_") else None


def _copy(table, names, width):
    if names is None:
        table = np.array(table)
        if table.ndim != 2 or table.shape[1] != width or not len(table):
            raise ValueError(f"The table must have shape (n, {width}), n at least 1. Received: shape {table.shape}")
        return table
    if not hasattr(table, "columns"):
        raise ValueError(
            "The table must be a pandas.DataFrame, as the transformer was fitted on one. "
            f"Received: {type(table).__name__}"
        )
    absent = [name for name in names if name not in table.columns]
    if absent:
        raise ValueError(f"The table must have the columns {names}. Received: no {', '.join(map(repr, absent))}")
    several = [name for name in names if list(table.columns).count(name) > 1]
    if several:
        raise ValueError(f"The table must have each column once. Received: several {', '.join(map(repr, several))}")
    if not len(table):
        raise ValueError("The table must have at least one row. Received: none")
    return table[names].copy()


def _prepared(table: Any, block: Block, names: Any) -> list[Array]:
    """Which cells of each column are missing; in the table, a category takes the place of those that are one."""
    gaps = []
    for j, (column, index) in enumerate(zip(block.columns, block.indices, strict=True)):
        cells = table[:, index] if names is None else table[column]
        gap = _missing(cells)
        if block.labels:
            known = block.labels[j]
            unseen = ~gap & ~(np.isin(cells, known) if names is None else cells.isin(known).to_numpy())
            if unseen.any():
                row = np.flatnonzero(unseen)[0]
                raise ValueError(
                    f"`table[{column!r}]` must hold categories that the transformer was fitted on: fit it on rows "
                    "with all of them, or name them in its encoder, as categories=[[...]]. "
                    f"Received: {np.asarray(cells)[row]!r} in row {row}, counted from 0"
                )
            if gap.any():
                cells = np.where(gap, known[0], cells) if names is None else cells.where(~gap, known[0])
        else:  # to NumPy's numbers, which can be NaN
            try:
                cells = cells.astype("float64") if names is None else cells.astype("float64").to_numpy()
            except (TypeError, ValueError) as error:
                raise ValueError(
                    f"`table[{column!r}]` must hold numbers: encode categories, convert dates. Received: {error}"
                ) from None
            _check_finite(cells, gap, column, cells)
        if names is None:
            table[:, index] = cells
        else:
            table[column] = cells
        gaps.append(gap)
    return gaps


def _check_steps(table, blocks, gaps, names):
    """Raise a `ValueError` that names a column of which one of the transformers makes infinity or NaN, if one does."""
    for block, missing in zip(blocks, gaps, strict=True):
        cells = table[:, list(block.indices)].astype("float64") if names is None else table[list(block.columns)]
        numbers = cells
        for step in block.steps:
            numbers = step.transform(numbers)
            for column, gap, before, after in zip(
                block.columns, missing, np.asarray(cells).T, np.asarray(numbers).T, strict=True
            ):
                _check_finite(after, gap, column, before, block.name)


def _check_finite(numbers, gap, column, cells, transformer=None):
    """Raise a `ValueError` unless cells of a column, or what a transformer makes of them, are finite but for gaps."""
    wrong = ~np.isfinite(numbers) & ~gap
    if wrong.any():
        row = np.flatnonzero(wrong)[0]
        after = "" if transformer is None else f" after the transformer {transformer!r}"
        became = "" if transformer is None else f", which becomes {numbers[row]}"
        raise ValueError(
            f"`table[{column!r}]` must be finite{after}. "
            f"Received: {np.asarray(cells)[row]} in row {row}, counted from 0{became}"
        )


def _split(piece: Array, block: Block) -> list[Array]:
    """Views of the columns of `piece` that belong to each column of the table."""
    return np.split(piece, np.cumsum(block.widths)[:-1], axis=1)


def _labels(piece, block):
    one_hot = block.kind == "one_hot"
    family = Categorical() if one_hot else Bernoulli()
    for column, labels, p in zip(block.columns, block.labels, _split(piece, block), strict=True):
        name, missing = f"x[{column!r}]", np.isnan(p)
        p = filled(family, p, missing, name)
        if one_hot:
            check_simplex(p, f"`{name}` must hold probabilities of the categories: divide them by their sum")
        else:
            family.check(p, name)
        cells = labels[p.argmax(axis=1) if one_hot else (p[:, 0] > 0.5).astype(int)]
        yield np.where(missing[:, 0], np.nan, cells.astype(object)) if missing.any() else cells


def _numbers(piece, block):
    for step in reversed(block.steps):
        piece = np.asarray(step.inverse_transform(piece), "float64")
    return piece.T


def _rounded(cells, like):
    """Numbers with as many decimals as those of the table have, such as none; True and False if those are."""
    if cells.dtype.kind != "f":
        return cells
    known = like[~_missing(like)]
    if len(known) and all(isinstance(cell, (bool, np.bool_)) for cell in known):
        return np.where(np.isnan(cells), np.nan, (cells > 0.5).astype(object))
    numbers = np.asarray(known, "float64")
    for decimals in range(MOST_DECIMALS + 1):
        if np.array_equal(np.round(numbers, decimals), numbers):
            return np.round(cells, decimals) + 0.0  # no −0
    return cells


def _missing(cells):
    """Which cells of a column, a Series or an array, are missing."""
    return cells.isna().to_numpy() if hasattr(cells, "isna") else np.array([is_missing(cell) for cell in cells], bool)

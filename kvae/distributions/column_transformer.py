"""What a fitted ColumnTransformer of scikit-learn does to each column of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from kvae.types import Array

SCALERS = (
    "StandardScaler",
    "MinMaxScaler",
    "MaxAbsScaler",
    "RobustScaler",
    "PowerTransformer",
    "QuantileTransformer",
)


class Block(NamedTuple):
    """The columns that one of the transformers takes.

    Attributes:
        name: of the transformer.
        kind: "one_hot", "binary", "scaled" or "passthrough".
        columns: their names; x0, x1, … if the transformer was fitted on an array.
        indices: their places in the table.
        steps: the fitted steps that an inverse has to undo, in the order in which they are applied.
        labels: of "one_hot" and "binary", the labels of each column, without those that stand for missing values.
        kept: of "one_hot", which outputs of the encoder are those of `labels`.
        outputs: their place in the output of the ColumnTransformer.
    """

    name: str
    kind: str
    columns: tuple[str, ...]
    indices: tuple[int, ...]
    steps: tuple[Any, ...]
    labels: tuple[Array, ...]
    kept: Array | None
    outputs: slice

    @property
    def widths(self) -> list[int]:
        """How many columns of `x` belong to each column of the table."""
        return [len(labels) for labels in self.labels] if self.kind == "one_hot" else [1] * len(self.columns)


def blocks(transformer: Any) -> list[Block]:
    """The blocks of a fitted ColumnTransformer, in the order of its output.

    Args:
        transformer: fitted `sklearn.compose.ColumnTransformer` of scalers, `OneHotEncoder`s, `OrdinalEncoder`s of two
            categories and columns that are passed through; each may follow a `SimpleImputer` in a `Pipeline`.

    Raises:
        ValueError: if it is not fitted, or one of its transformers is not supported.
    """
    from sklearn.compose import ColumnTransformer

    if not isinstance(transformer, ColumnTransformer):
        raise ValueError(
            f"`transformer` must be a fitted sklearn.compose.ColumnTransformer. Received: {type(transformer).__name__}"
        )
    if not hasattr(transformer, "transformers_"):
        raise ValueError(
            "`transformer` must be fitted: call transformer.fit(frame) first. Received: a ColumnTransformer without fit"
        )
    known = getattr(transformer, "feature_names_in_", [f"x{i}" for i in range(transformer.n_features_in_)])
    names, found = list(known), []
    taken: dict[str, str] = {}
    for name, step, columns in transformer.transformers_:
        indices = _indices(columns, names)
        if (isinstance(step, str) and step == "drop") or not indices:
            continue
        block = _block(name, step, tuple(names[i] for i in indices), indices, transformer.output_indices_[name])
        for column in block.columns:
            if column in taken:
                raise ValueError(
                    f"Each column must be taken by one transformer: drop the others. "
                    f"Received: column {column!r} in {taken[column]!r} and {name!r}"
                )
            taken[column] = name
        found.append(block)
    return found


def _block(name, step, columns, indices, outputs):
    from sklearn import preprocessing
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline

    def refuse(what, fix):
        raise ValueError(
            f"The transformer {name!r} of the columns {', '.join(map(repr, columns))} must be a scaler, a "
            f"OneHotEncoder, an OrdinalEncoder of two categories or 'passthrough': {fix}. Received: {what}"
        )

    scalers = tuple(getattr(preprocessing, each) for each in SCALERS)
    steps = [each for _, each in step.steps] if isinstance(step, Pipeline) else [step]
    steps = [each for each in steps if not (isinstance(each, SimpleImputer) or _is_identity(each))]
    encoders = [each for each in steps if isinstance(each, (preprocessing.OneHotEncoder, preprocessing.OrdinalEncoder))]
    labels: tuple[Array, ...] = ()
    kept = None
    if encoders:
        if len(steps) > 1:
            refuse(" and ".join(type(each).__name__ for each in steps), "the encoder must be the only step")
        (encoder,) = encoders
        seen = [np.array([not is_missing(label) for label in each]) for each in encoder.categories_]
        labels = tuple(each[some] for each, some in zip(encoder.categories_, seen, strict=True))
        one_hot = isinstance(encoder, preprocessing.OneHotEncoder)
        if one_hot and encoder.drop_idx_ is not None:
            refuse("OneHotEncoder(drop=...)", "one-hot vectors need every category, drop=None")
        if encoder.min_frequency is not None or encoder.max_categories is not None:
            refuse(f"{type(encoder).__name__} with infrequent categories", "join rare ones in the table itself")
        for column, own in zip(columns, labels, strict=True):
            if len(own) < 2:
                refuse(f"column {column!r} with {len(own)} category", "drop a column that never changes")
            if not one_hot and len(own) != 2:
                refuse(f"OrdinalEncoder of the column {column!r} with {len(own)} categories", "use a OneHotEncoder")
        kind, kept = ("one_hot", np.concatenate(seen)) if one_hot else ("binary", None)
    else:
        for each in steps:
            function = isinstance(each, preprocessing.FunctionTransformer)
            if function and each.inverse_func is None:
                refuse("FunctionTransformer without inverse_func", "give it an inverse")
            if not (function or isinstance(each, scalers)):
                refuse(each if isinstance(each, str) else type(each).__name__, "replace it, or drop its columns")
        kind = "scaled" if steps else "passthrough"
    width = len(kept) if kept is not None else len(columns)
    if outputs.stop - outputs.start != width:
        refuse(f"{outputs.stop - outputs.start} outputs for {len(columns)} columns", "without add_indicator")
    return Block(name, kind, columns, indices, tuple(steps), labels, kept, outputs)


def is_missing(label: Any) -> bool:
    """Whether a cell, or a category, stands for a missing value: None, NaN, NaT or pandas' NA."""
    return label is None or type(label).__name__ == "NAType" or bool(label != label)


def _is_identity(step):
    from sklearn.preprocessing import FunctionTransformer

    if isinstance(step, str):
        return step == "passthrough"
    return isinstance(step, FunctionTransformer) and step.func is None


def _indices(columns: Any, names: Sequence[str]) -> tuple[int, ...]:
    """The places in the table of columns given as ColumnTransformer takes them: names, integers, a slice or a mask."""
    if isinstance(columns, slice):
        first, last = columns.start, columns.stop
        first = names.index(first) if isinstance(first, str) else first
        last = names.index(last) + 1 if isinstance(last, str) else last
        return tuple(range(len(names))[slice(first, last, columns.step)])
    columns = np.atleast_1d(np.asarray(columns))
    if columns.dtype.kind not in "ib":
        return tuple(names.index(column) for column in columns)
    return tuple(np.arange(len(names))[columns].tolist())

"""The rows of a table whose columns are of several kinds: reals, binary columns, categories and counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from kvae.distributions import column_transformer
from kvae.distributions.base import Distribution
from kvae.distributions.bernoulli import Bernoulli
from kvae.distributions.categorical import Categorical
from kvae.distributions.counts import NegativeBinomial, Poisson
from kvae.distributions.joint import Joint
from kvae.distributions.location_scale import Laplace, LocationScale, StudentT
from kvae.distributions.normal import Normal
from kvae.types import Array

FAMILIES = {
    "gaussian": lambda: Normal(sigma="per_element"),
    "laplace": Laplace,
    "student_t": StudentT,
    "bernoulli": Bernoulli,
    "poisson": Poisson,
    "negative_binomial": NegativeBinomial,
}


@keras.saving.register_keras_serializable(package="kvae")
class Mixed(Joint):
    """The likelihood of a table: a family for each column, whose names are those in every error.

    A row is a vector `(size,)`: one number per column, or the one-hot vector of a category. Reals should be
    standardised; a "gaussian" column has a σ of its own, trained with the model. Each column must be of its kind: 0 or
    1, a one-hot vector, a whole number. Put it into an `Observed` if values are missing, a category's as a whole.
    `generate` returns draws, not means, which have no categories and fractions of counts. `from_transformer` reads the
    columns from a ColumnTransformer of scikit-learn; `kvae.data.to_array` and `to_frame` convert data frames.

    Args:
        columns: dict from the names of the columns, in their order in `x`, to a family: "gaussian", "laplace",
            "student_t", "bernoulli", "poisson", "negative_binomial", a `Distribution` of numbers, or an integer, the
            number of levels of a category. One `Distribution` given for consecutive columns has its weights in common.

    Attributes:
        places: dict from the names to the place of each column on the last axis of `x`: an integer, or a slice.

    Raises:
        ValueError: if there are no columns, or a family is unknown.

    Example:

    >>> from kvae.distributions import Mixed
    >>> likelihood = Mixed({"age": "gaussian", "member": "bernoulli", "city": 3, "visits": "poisson"})
    >>> networks = kvae.networks.mlp((6,), latent_dim=2, likelihood=likelihood)
    >>> model = kvae.VAE(*networks, likelihood=likelihood)
    >>> x = np.array([[0.3, 1, 0, 1, 0, 4], [-1.2, 0, 0, 0, 1, 0.5]])
    >>> model.elbo(x[:1]).shape, likelihood.places["city"]
    ((1,), slice(2, 5, None))
    >>> model.elbo(x)
    Traceback (most recent call last):
        ...
    ValueError: `x['visits']` must hold counts, ... Received: 0.5 of example 1
    """

    def __init__(self, columns: Mapping[str, str | int | Distribution], **kwargs: Any) -> None:
        if not isinstance(columns, Mapping) or not columns or not all(isinstance(name, str) for name in columns):
            raise ValueError(
                f"`columns` must be a dict from the names of at least one column to families. Received: {columns!r}"
            )
        blocks: list[tuple[list[str], Any]] = []  # consecutive columns of one family are computed together
        for name, kind in columns.items():
            kind = _checked(f"columns[{name!r}]", kind)
            if blocks and not isinstance(kind, int) and blocks[-1][1] == kind:
                blocks[-1][0].append(name)
            else:
                blocks.append(([name], kind))
        parts = [_part(kind) for _, kind in blocks]
        super().__init__(parts, [kind if isinstance(kind, int) else len(names) for names, kind in blocks], **kwargs)
        self.names = [names for names, _ in blocks]
        self.kinds = [None if isinstance(kind, Distribution) else kind for _, kind in blocks]  # None: a part's own

    @classmethod
    def from_transformer(cls, transformer: Any, families: Mapping[str, Any] | None = None) -> Mixed:
        """The likelihood of what a fitted ColumnTransformer makes of a table, by `kvae.data.to_array`.

        Columns of a `OneHotEncoder` are categories; of an `OrdinalEncoder` with two categories, binary; scaled ones
        are "gaussian". What columns are that are passed through, only the user knows.

        Args:
            transformer: fitted `sklearn.compose.ColumnTransformer` of scalers, `OneHotEncoder`s, `OrdinalEncoder`s and
                "passthrough".
            families: dict from names of transformers ("remainder" for the remaining columns) to the family of their
                columns, as in `Mixed`.

        Raises:
            ValueError: if the transformer is not fitted or not supported, or a family is missing or unknown.

        Example:

        >>> from sklearn.compose import ColumnTransformer
        >>> from sklearn.preprocessing import OneHotEncoder, StandardScaler
        >>> table = np.array([[1.5, 0, 7], [2.5, 1, 0], [0.5, 2, 3]])
        >>> steps = [("reals", StandardScaler(), [0]), ("kind", OneHotEncoder(), [1]), ("visits", "passthrough", [2])]
        >>> transformer = ColumnTransformer(steps).fit(table)
        >>> likelihood = kvae.distributions.Mixed.from_transformer(transformer, {"visits": "poisson"})
        >>> likelihood.places
        {'x0': 0, 'x1': slice(1, 4, None), 'x2': 4}
        """
        blocks = column_transformer.blocks(transformer)
        families = dict(families or {})
        for block in blocks:
            if block.kind in ("one_hot", "binary") and block.name in families:
                raise ValueError(
                    f"`families` must name transformers of numbers: an encoder's columns are categories, or binary. "
                    f"Received: {block.name!r}"
                )
            if block.kind == "passthrough" and block.name not in families:
                raise ValueError(
                    f"`families` must say what the columns {', '.join(map(repr, block.columns))} are, which are passed "
                    f'through: families={{{block.name!r}: "poisson"}} for counts, "bernoulli" for 0 and 1. '
                    f"Received: {sorted(families)}"
                )
        unknown = sorted(set(families) - {block.name for block in blocks})
        if unknown:
            known = sorted(block.name for block in blocks)
            raise ValueError(f"`families` must name transformers, of {known}. Received: {unknown}")
        columns: dict[str, Any] = {}
        for block in blocks:
            family = families.get(block.name, "bernoulli" if block.kind == "binary" else "gaussian")
            kinds = block.widths if block.kind == "one_hot" else [family] * len(block.columns)
            kinds = [_checked(f"families[{block.name!r}]", kind) for kind in kinds]
            columns.update(zip(block.columns, kinds, strict=True))
        return cls(columns)

    @property
    def places(self) -> dict[str, int | slice]:
        """The place of each column on the last axis: an integer, or the slice of a category."""
        places: dict[str, int | slice] = {}
        start = 0
        for names, part, size in zip(self.names, self.parts, self.sizes, strict=True):
            each = [slice(start, start + size)] if isinstance(part, Categorical) else range(start, start + size)
            places.update(zip(names, each, strict=True))
            start += size
        return places

    def cells(self, x: Array) -> dict[str, Array]:
        """The columns `(n,)` of rows `(n, size)`, by name: of a category the index of its level; NaN is missing."""
        return {
            name: x[:, place] if isinstance(place, int) else _levels(x[:, place]) for name, place in self.places.items()
        }

    def pieces(self, name: str) -> Iterator[tuple[Distribution, Any, str]]:
        places = self.places
        for names, part in zip(self.names, self.parts, strict=True):
            for column in names:
                yield part, places[column], f"{name}[{column!r}]"

    def element_name(self, index: tuple[int, ...]) -> str:
        (column,) = index
        starts = {name: place if isinstance(place, int) else place.start for name, place in self.places.items()}
        return f"column {[name for name, start in starts.items() if start <= column][-1]!r}"

    def check_part(self, part: Distribution, value: Array, name: str) -> None:
        if isinstance(part, (Bernoulli, Categorical)):
            wrong = (value != 0) & (value != 1)
            if wrong.any():
                at = tuple(np.argwhere(wrong)[0])
                what = "one-hot vectors" if isinstance(part, Categorical) else "0 and 1"
                raise ValueError(
                    f"`{name}` must hold {what}, not probabilities. Received: {value[at]:g} in example {at[0]}"
                )
        super().check_part(part, value, name)

    def check_training(self, value: Array, name: str) -> None:
        for part, place, called in self.pieces(name):
            column = value[..., place]
            if np.isnan(column).all():
                raise ValueError(f"`{called}` must be observed in some of the examples: drop it. Received: only NaN")
            narrow = isinstance(part, LocationScale) or (isinstance(part, Normal) and not isinstance(part.sigma, float))
            if len(column) > 1 and (np.nanmin(column, axis=0) == np.nanmax(column, axis=0)).all():
                why = ", or its σ goes to 0 and its density to infinity" if narrow else ", which tells a model nothing"
                is_one_hot = column.ndim > 1
                what = f"level {np.nanmax(column, axis=0).argmax()}" if is_one_hot else f"{np.nanmin(column):g}"
                raise ValueError(
                    f"`{called}` must not be constant{why}: drop it. Received: {what} in all {len(column)} examples"
                )

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        parts = config.pop("parts")
        del config["sizes"]
        kinds = [part if kind is None else kind for part, kind in zip(parts, self.kinds, strict=True)]
        return {**config, "columns": [[list(names), kind] for names, kind in zip(self.names, kinds, strict=True)]}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Mixed:
        columns: dict[str, Any] = {}
        for names, kind in config["columns"]:
            kind = keras.saving.deserialize_keras_object(kind) if isinstance(kind, dict) else kind
            columns |= dict.fromkeys(names, kind)
        return cls(**{**config, "columns": columns})


def _levels(one_hot):
    return np.where(np.isnan(one_hot).any(axis=1), np.nan, one_hot.argmax(axis=1))


def _checked(called, kind):
    if isinstance(kind, Distribution):
        if not (isinstance(kind, (Joint, Categorical)) or kind.allows_missing):
            return kind
    elif isinstance(kind, (int, np.integer)) and not isinstance(kind, bool):
        if kind >= 2:
            return int(kind)
    elif isinstance(kind, str) and kind in FAMILIES:
        return kind
    raise ValueError(
        f"`{called}` must be one of {sorted(FAMILIES)}, a kvae Distribution of numbers, or the number of "
        f"levels of a category, at least 2. Received: {kind!r}"
    )


def _part(kind):
    if isinstance(kind, Distribution):
        return kind
    return Categorical() if isinstance(kind, int) else FAMILIES[kind]()

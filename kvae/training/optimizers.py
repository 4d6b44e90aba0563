"""Several optimizers in one model, each for its own networks, which Keras sees as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras

from kvae.training import keras_internals, strategy

SUFFIX = "_optimizer"  # of the arguments of `compile`


class _Shares:
    """What each member of a `GroupedOptimizer` trains. Neither Keras nor TensorFlow looks into it when saving."""

    def __init__(self, variables: list[keras.Variable], parts: list[list[keras.Variable]]) -> None:
        self.variables = variables
        self.parts = parts
        self.owners = {id(variable): owner for owner, part in enumerate(parts) for variable in part}


def for_model(model: Any, optimizer: Any, arguments: dict[str, Any]) -> Any:
    """The optimizer of a model whose networks may have several.

    Args:
        model: a `BaseModel`; its `optimizer_groups` names its groups of networks.
        optimizer: the argument of `compile`: of all networks that are in no group. Or a `GroupedOptimizer`, as a saved
            model has it.
        arguments: the other arguments of `compile`; those that end in `_optimizer` are taken out.

    Returns:
        `optimizer` for a model without groups, else a `GroupedOptimizer`.

    Raises:
        ValueError: if an optimizer of a group is missing, or one is there without a group.
    """
    given = {name: arguments.pop(name) for name in list(arguments) if name.endswith(SUFFIX)}
    given = {name: each for name, each in given.items() if each is not None}
    if isinstance(optimizer, GroupedOptimizer):
        given = {name + SUFFIX: each for name, each in optimizer.named.items()} | given
        optimizer = optimizer.main
    groups = model.optimizer_groups
    expected = [name + SUFFIX for name in groups]
    if sorted(given) != sorted(expected):
        raise ValueError(
            f"The optimizers of {type(model).__name__} must be {['optimizer', *expected]}: add what is missing to "
            f"`compile`, drop the rest. Received: {['optimizer', *given]}"
        )
    if not groups:
        return optimizer

    def variables_of(name: str) -> list[keras.Variable]:
        networks = (getattr(model, attribute) for attribute in groups[name])
        return [variable for network in networks for variable in network.trainable_variables]

    named = {name: keras.optimizers.get(given[name + SUFFIX]) for name in groups}
    return GroupedOptimizer(keras.optimizers.get(optimizer), named, variables_of)


def build(model: keras.Model) -> None:
    """Create the variables of a compiled model's optimizer, unless it has them.

    Keras leaves this to the first step. If that fails, TensorFlow's compiled step may never create them again. With
    several workers it needs a batch for it that is a single tensor, and images and labels are two.

    Args:
        model: the model, before its first step.
    """
    with strategy.scope_of(model):
        if getattr(model, "optimizer", None) is not None and not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        if strategy.several_workers():
            keras_internals.build_without_data(model)


@keras.saving.register_keras_serializable(package="kvae")
class GroupedOptimizer(keras.optimizers.Optimizer):
    """A main optimizer and named ones, each of which updates the variables of its own networks.

    To Keras it is one optimizer on every backend, so that saving, checkpoints, loss scaling and distribution strategies
    treat it like any other. `iterations` and `learning_rate` are the main optimizer's; gradients are clipped, averaged
    and accumulated by each one for its own variables.

    Args:
        main: `keras.optimizers.Optimizer` of all variables that no other one trains.
        named: dict from names to optimizers.
        variables_of: function from a name in `named` to the list of variables that this optimizer trains, called once,
            in `build`.
        name: str.

    Raises:
        ValueError: if an optimizer scales the loss, which all of them share.

    Example:

    >>> from kvae.training.optimizers import GroupedOptimizer
    >>> discriminator = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(1)])
    >>> optimizer = GroupedOptimizer(
    ...     keras.optimizers.Adam(1e-3),
    ...     {"discriminator": keras.optimizers.SGD(1e-2)},
    ...     variables_of=lambda name: discriminator.trainable_variables,
    ... )
    """

    def __init__(
        self,
        main: keras.optimizers.Optimizer,
        named: dict[str, keras.optimizers.Optimizer],
        variables_of: Callable[[str], Sequence[keras.Variable]] | None = None,
        name: str = "grouped_optimizer",
    ) -> None:
        super().__init__(learning_rate=0.0, name=name)
        for key, each in {"optimizer": main, **named}.items():
            if isinstance(each, keras.optimizers.LossScaleOptimizer) or each.loss_scale_factor is not None:
                raise ValueError(
                    "Optimizers of one model share its loss and cannot scale it separately: pass the inner optimizer; "
                    f"under mixed_float16, all are wrapped together. Received: {key}={type(each).__name__}"
                )
        self.main = main
        self.named = dict(named)
        self.variables_of = variables_of

    def members(self) -> list[keras.optimizers.Optimizer]:
        """All optimizers, the main one first."""
        return [self.main, *self.named.values()]

    @property
    def variables(self) -> list[keras.Variable]:
        """The variables of all members, in the order of `members()`."""
        return [variable for member in self.members() for variable in member.variables]

    @property
    def iterations(self) -> Any:
        """Steps that the main optimizer has taken."""
        return self.main.iterations

    @property
    def learning_rate(self) -> Any:
        """The learning rate of the main optimizer."""
        return self.main.learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate: Any) -> None:
        self.main.learning_rate = learning_rate

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Give each member its share of the variables.

        Args:
            variables: the trainable variables of the model.

        Raises:
            ValueError: if two optimizers would train the same variable, or the main one none.
        """
        if self.variables_of is None:
            raise ValueError("`variables_of` must be given before `build`: compile a model with it. Received: None")
        owner: dict[int, str] = {}
        for name in self.named:
            for variable in self.variables_of(name):
                if owner.setdefault(id(variable), name) != name:
                    raise ValueError(
                        "Each network must have one optimizer: name it in one group only. "
                        f"Received: {variable.path} in {owner[id(variable)]!r} and {name!r}"
                    )
        parts: dict[str | None, list[keras.Variable]] = {name: [] for name in (None, *self.named)}
        for variable in variables:
            parts[owner.get(id(variable))].append(variable)
        if not parts[None]:
            raise ValueError(
                "`optimizer` must have a variable to train: leave a network out of the groups, or trainable. "
                f"Received: all {len(variables)} variables in {sorted(self.named)}"
            )
        super().build(list(variables))
        for member, part in zip(self.members(), parts.values(), strict=True):
            member.build(part)
        self.shares = _Shares(list(variables), list(parts.values()))

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[keras.Variable] | None = None) -> None:
        """Update the variables of each member.

        Args:
            grads: list of gradients, `None` for a variable without one.
            trainable_variables: the variables, in the same order; `None` for those of `build`.

        Raises:
            ValueError: if no loss depends on any of a member's variables, or a variable is new.
        """
        if not self.built:
            self.build(list(trainable_variables or ()))
        variables = self.shares.variables if trainable_variables is None else list(trainable_variables)
        own: list[tuple[list[Any], list[keras.Variable]]] = [([], []) for _ in self.members()]
        for gradient, variable in zip(grads, variables, strict=True):
            if id(variable) not in self.shares.owners:
                raise ValueError(
                    "Variables must be those that the optimizer was built with: compile again after setting "
                    f"`trainable`. Received: {variable.path}"
                )
            gradients, trained = own[self.shares.owners[id(variable)]]
            gradients.append(gradient)
            trained.append(variable)
        names = ("optimizer", *(name + SUFFIX for name in self.named))
        for name, member, (gradients, trained) in zip(names, self.members(), own, strict=True):
            if trained and all(gradient is None for gradient in gradients):
                raise ValueError(
                    f"A loss must depend on the networks that `{name}` trains: add one outside of `held`. Received: "
                    f"no gradient for any of their {len(trained)} variables"
                )
            member.apply(gradients, trained)

    def finalize_variable_values(self, var_list: Sequence[keras.Variable]) -> None:
        """Replace variables by their moving averages, for each member that keeps them."""
        for member, part in zip(self.members(), self.shares.parts, strict=True):
            member.finalize_variable_values(part)

    def save_own_variables(self, store: Any) -> None:
        """Nothing: Keras saves the members, which are attributes."""

    def load_own_variables(self, store: Any) -> None:
        """Nothing: Keras loads the members, which are attributes."""

    def get_config(self) -> dict[str, Any]:
        return {
            "main": keras.saving.serialize_keras_object(self.main),
            "named": {name: keras.saving.serialize_keras_object(each) for name, each in self.named.items()},
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> GroupedOptimizer:
        def made(config: dict[str, Any]) -> keras.optimizers.Optimizer:
            return keras.saving.deserialize_keras_object(config, custom_objects=custom_objects)

        named = {name: made(each) for name, each in config["named"].items()}
        return cls(made(config["main"]), named, name=config["name"])

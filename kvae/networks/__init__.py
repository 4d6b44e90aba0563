"""Factories of encoders, decoders, classifiers and discriminators: plain Functional models, as they are or a pattern.

The contract of a pair: the encoder maps `x` (or `[x, *y]`) to the posterior's parameters, the decoder
maps `z` (or `[z, *y]`) to the likelihood's, both on the last axis. `y` is what a conditional model is given in addition
to `x`: a one-hot label, an attribute vector, an image, or several of these. Codes `z` may have any shape.
"""

from kvae.networks.auxiliary_variable import auxiliary, check_auxiliary
from kvae.networks.contract import (
    apply,
    check_decoder,
    check_judge,
    check_pair,
    condition_shapes,
    joins,
    takes_log_size,
    tile,
)
from kvae.networks.descent import TopDown, check_top_down
from kvae.networks.grids import grid
from kvae.networks.judges import classifier, discriminator
from kvae.networks.ladders import ladder, top_down
from kvae.networks.pairs import conv, mlp

NETWORKS = {"mlp": mlp, "conv": conv}

__all__ = [
    "NETWORKS",
    "TopDown",
    "apply",
    "auxiliary",
    "check_auxiliary",
    "check_decoder",
    "check_judge",
    "check_pair",
    "check_top_down",
    "classifier",
    "condition_shapes",
    "conv",
    "discriminator",
    "grid",
    "joins",
    "ladder",
    "mlp",
    "takes_log_size",
    "tile",
    "top_down",
]

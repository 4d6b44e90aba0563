"""Penalties: terms added to the loss of an autoencoder or a VAE."""

from kvae.penalties.base import Penalty, as_list, total
from kvae.penalties.codes import L1, SLOPES, Contractive, KLSparsity, jacobian_norm_estimate, one_dense_layer
from kvae.penalties.decoders import CodeNorm, DecoderDecay, DecoderGradient
from kvae.penalties.discrepancy import MMD
from kvae.penalties.disentangling import DIP, Capacity, TotalCorrelation
from kvae.penalties.joint_capacity import JointCapacity
from kvae.penalties.saturation import Saturation

__all__ = [
    "DIP",
    "L1",
    "MMD",
    "SLOPES",
    "Capacity",
    "CodeNorm",
    "Contractive",
    "DecoderDecay",
    "DecoderGradient",
    "JointCapacity",
    "KLSparsity",
    "Penalty",
    "Saturation",
    "TotalCorrelation",
    "as_list",
    "jacobian_norm_estimate",
    "one_dense_layer",
    "total",
]

"""Normalising flows: invertible maps with known determinants, as posteriors and as priors."""

from kvae.flows.autoregressive import InverseAutoregressive, MaskedAutoregressive
from kvae.flows.base import Chain, Flow
from kvae.flows.coupling import Coupling, Spline
from kvae.flows.densities import FLOWS, Posterior, Prior
from kvae.flows.elementary import Planar, Radial

__all__ = [
    "FLOWS",
    "Chain",
    "Coupling",
    "Flow",
    "InverseAutoregressive",
    "MaskedAutoregressive",
    "Planar",
    "Posterior",
    "Prior",
    "Radial",
    "Spline",
]

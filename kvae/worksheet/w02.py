"""Worksheet 2, autoencoders: what is right, and what is usually wrong.

The right answers go by kvae's own loss, layers and interpolation, which are tested, or by SciPy.
"""

import keras
import numpy as np
from keras import layers, ops
from scipy.spatial.distance import cdist

from kvae.applications.interpolation import slerp  # noqa: F401
from kvae.layers import TiedDense
from kvae.models.autoencoder import SquaredError
from kvae.worksheet.exercise import Exercise

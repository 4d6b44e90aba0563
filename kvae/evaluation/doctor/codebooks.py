"""What can be wrong with a model that has a codebook: codes that are the same for all examples, or never chosen."""

from __future__ import annotations

from typing import Any

import numpy as np

from kvae.evaluation.doctor import first_look
from kvae.evaluation.doctor.finding import Finding, words
from kvae.types import Array

ENOUGH = 10  # choices per code from which on the shares of the codes are judged
EVEN = 0.5  # share of the codebook's size that its perplexity should reach
ADVICE = (
    'codebook="moving_average", a higher `restart` than {restart:g}, larger batches, a smaller latent_dim, or a '
    "`num_codes` near the perplexity."
)


def perplexities(usage: Array) -> Array:
    """exp of the entropy of the shares `(num_quantizers, num_codes)` of codes: `(num_quantizers,)`."""
    shares = np.asarray(usage, "float64")
    return np.exp(-np.sum(shares * np.log(np.maximum(shares, 1e-300)), axis=-1))


def examine(model: Any, x: Array) -> list[Finding]:
    """What the doctor finds in a model with a codebook.

    Args:
        model: with the capability "codebook".
        x: images `(n, *image_shape)`.
    """
    broken = first_look.weights(model)
    if broken is not None:
        return [broken]
    x = model.check_images(x)
    codes = model.encode(x)
    example = words(model.image_shape).example
    if len(x) > 1 and (codes == codes[:1]).all():
        return [
            Finding(
                "collapse",
                "problem",
                f"All {len(x)} {example}s have the same codes, so codes carry no information about their {example}.",
                "a higher learning rate, a smaller `commitment`, or `restart` above 0.",
                1.0,
            )
        ]
    usage = model.code_usage(x)
    perplexity, dead = perplexities(usage), int(np.sum(usage == 0))
    shown = ", ".join(f"{each:.3g}" for each in perplexity)
    said = f"their perplexity is {shown} of {model.num_codes}, and {dead} of {usage.size} codes are never chosen"
    judged = codes.size / usage.size >= ENOUGH
    if judged and perplexity.min() < EVEN * model.num_codes:
        return [
            Finding(
                "dead_codes",
                "warning",
                f"The codebook is hardly used: in the codes of {len(x)} {example}s, {said}.",
                ADVICE.format(restart=model.quantizer.restart),
                float(perplexity.min()),
            )
        ]
    few = "" if judged else " (too few to judge its use)"
    return [
        Finding(
            "healthy",
            "ok",
            f"No problem found: in the codes of {len(x)} {example}s, {said}{few}.",
            "",
            float(perplexity.min()),
        )
    ]

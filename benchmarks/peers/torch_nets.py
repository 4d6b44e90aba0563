"""The networks and the bound in PyTorch, for the hand-written loop and for Pythae."""

import itertools
import math

import torch
from torch import nn
from torch.nn import functional


def dense(activation, sizes):
    """A multilayer perceptron of `sizes`, including inputs and outputs, with a linear last layer."""
    parts = []
    for n_in, n_out in itertools.pairwise(sizes):
        parts += [nn.Linear(n_in, n_out), activation()]
    return nn.Sequential(*parts[:-1])


def networks(task):
    """`(encoder, decoder)`: from `(batch, pixels [+ classes])` to `(batch, 2 · latent)`, and back to logits."""
    activation = {"relu": nn.ReLU, "tanh": nn.Tanh}[task.activation]
    pixels = task.side**2
    if task.network == "conv":
        first, second = task.hidden
        quarter = task.side // 4
        kernel = {"kernel_size": 4, "stride": 2, "padding": 1}

        def normalised(layer, filters):
            return layer, nn.BatchNorm2d(filters, eps=1e-3, momentum=0.1), activation()  # Keras's ε; 1 − its momentum

        def averaged(layer):  # over 2×2 neighbours; at the edge, of those that there are
            return nn.Sequential(layer, nn.ReplicationPad2d((0, 1, 0, 1)), nn.AvgPool2d(2, 1))

        encoder = nn.Sequential(
            nn.Unflatten(1, (1, task.side, task.side)),
            *normalised(nn.Conv2d(1, first, bias=False, **kernel), first),
            *normalised(nn.Conv2d(first, second, bias=False, **kernel), second),
            nn.Flatten(),
            nn.Linear(quarter**2 * second, 2 * task.latent),
        )
        decoder = nn.Sequential(
            nn.Linear(task.latent, quarter**2 * second),
            *normalised(nn.Unflatten(1, (second, quarter, quarter)), second),
            *normalised(averaged(nn.ConvTranspose2d(second, first, bias=False, **kernel)), first),
            averaged(nn.ConvTranspose2d(first, 1, **kernel)),
            nn.Flatten(),
        )
    else:
        encoder = dense(activation, (pixels + task.classes, *task.hidden, 2 * task.latent))
        decoder = dense(activation, (task.latent + task.classes, *task.hidden[::-1], pixels))
    for layer in (*encoder.modules(), *decoder.modules()):  # Keras's initialisation
        if isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return encoder, decoder


def loss(task, encoder, decoder, x, y=None):
    """The negative bound of images `x` `(batch, pixels)`, nats."""
    mean, log_var = encoder(x if y is None else torch.cat([x, y], -1)).chunk(2, -1)
    epsilon = torch.randn(task.samples, *mean.shape, device=mean.device)
    z = mean + torch.exp(0.5 * log_var) * epsilon  # (samples, batch, latent)
    flat = z.flatten(0, 1)
    logits = decoder(flat if y is None else torch.cat([flat, y.repeat(task.samples, 1)], -1))
    logits = logits.view(task.samples, *x.shape)
    log_px = -functional.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none").sum(-1)
    if task.importance_weighted:
        log_ratio = 0.5 * (log_var + epsilon**2 - z**2).sum(-1)  # log p(z) − log q(z|x)
        return -(torch.logsumexp(log_px + log_ratio, 0) - math.log(task.samples)).mean()
    kl = -0.5 * (1 + log_var - mean**2 - log_var.exp()).sum(-1)
    return (kl - log_px).mean()

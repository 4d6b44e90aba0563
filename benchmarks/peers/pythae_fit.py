"""Pythae (`pip install pythae`) with the same networks: its training pipeline, `get_nll` and sampler."""

import functools
import logging
import tempfile
import time

import torch
from pythae.models import IWAE, VAE, IWAEConfig, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.pipelines import TrainingPipeline
from pythae.samplers import NormalSampler
from pythae.trainers import BaseTrainerConfig

from peers import common, torch_nets

logging.disable(logging.CRITICAL)
NLL_BATCHES = (100, 500, 5000)  # batch sizes: its default, and larger ones


class Encoder(BaseEncoder):
    """A network with the outputs that Pythae requires."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        """From images to a normal posterior."""
        mean, log_var = self.network(x.flatten(1)).chunk(2, -1)
        return ModelOutput(embedding=mean, log_covariance=log_var)


class Decoder(BaseDecoder):
    """A network with the output that Pythae requires."""

    def __init__(self, network, side):
        super().__init__()
        self.network = network
        self.side = side

    def forward(self, z):
        """From codes to pixel means."""
        return ModelOutput(reconstruction=torch.sigmoid(self.network(z)).view(-1, 1, self.side, self.side))


def build(task):
    """See `peers.common`."""
    torch.manual_seed(0)
    x = common.data(task)[0].transpose(0, 3, 1, 2).copy()
    encoder, decoder = torch_nets.networks(task)
    sizes = {"input_dim": x.shape[1:], "latent_dim": task.latent, "reconstruction_loss": "bce"}
    if task.importance_weighted:
        config, kind = IWAEConfig(number_samples=task.samples, **sizes), IWAE
    else:
        config, kind = VAEConfig(**sizes), VAE
    model = kind(config, Encoder(encoder), Decoder(decoder, task.side))

    def train():
        with tempfile.TemporaryDirectory() as folder:
            training = BaseTrainerConfig(
                output_dir=folder,
                num_epochs=task.epochs,
                per_device_train_batch_size=task.batch,
                learning_rate=common.RATE,
                optimizer_params={"eps": common.EPSILON},
                no_cuda=True,
            )
            TrainingPipeline(training_config=training, model=model)(train_data=x)
        return task.epochs * len(x)

    @torch.no_grad()
    def bound_reached():
        model.eval()
        return torch_nets.loss(task, encoder, decoder, torch.from_numpy(x[: common.CHECKED]).flatten(1))

    last = {}

    @torch.no_grad()
    def nll(count, batch_size):
        some = torch.from_numpy(x[:count])
        return -model.get_nll(some, n_samples=task.samples, batch_size=batch_size)  # `get_nll` returns log p(x)

    @functools.cache
    def fastest():
        seconds = {}
        for batch_size in NLL_BATCHES:
            nll(1, batch_size)
            start = time.perf_counter()
            nll(2, batch_size)
            seconds[batch_size] = time.perf_counter() - start
        return min(seconds, key=seconds.get)

    def likelihood():
        last["check"] = nll(task.count, fastest())
        return task.count * task.samples

    @torch.no_grad()
    def generate():
        images = NormalSampler(model).sample(num_samples=task.count, batch_size=1000).numpy()
        last["check"] = images[: common.CHECKED].mean()
        return task.count

    if task.what == "train":
        return train, bound_reached
    train()
    model.eval()
    return (likelihood if task.what == "likelihood" else generate), lambda: last["check"]


if __name__ == "__main__":
    common.serve(build)

"""A typical hand-written PyTorch training loop."""

import torch

from peers import common, torch_nets


def build(task):
    """See `peers.common`."""
    torch.manual_seed(0)
    on_gpu = torch.cuda.is_available()
    device = "cuda" if on_gpu else "cpu"
    images, labels = common.data(task)
    x = torch.from_numpy(images).flatten(1).to(device)
    y = torch.from_numpy(common.one_hot(task, labels)).to(device) if task.classes else None
    encoder, decoder = (network.to(device) for network in torch_nets.networks(task))
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], common.RATE, eps=common.EPSILON)

    def train():
        for _ in range(task.epochs):
            order = torch.randperm(len(x), device=device)
            for start in range(0, len(x), task.batch):
                rows = order[start : start + task.batch]
                optimizer.zero_grad()
                torch_nets.loss(task, encoder, decoder, x[rows], None if y is None else y[rows]).backward()
                optimizer.step()
        if on_gpu:
            torch.cuda.synchronize()
        return task.epochs * len(x)

    @torch.no_grad()
    def bound_reached():
        encoder.eval(), decoder.eval()
        some = x[: common.CHECKED], None if y is None else y[: common.CHECKED]
        return torch_nets.loss(task, encoder, decoder, *some)

    @torch.no_grad()
    def draw():
        batches = torch.randn(task.count, task.latent, device=device).split(1000)
        return torch.cat([torch.sigmoid(decoder(z)) for z in batches]).numpy(force=True)

    return common.job(task, train, bound_reached, draw)


if __name__ == "__main__":
    common.serve(build)

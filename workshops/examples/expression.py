"""Editing expressions: encode how pixels move, not what they are (Yeh, Liu, Goldman, Agarwala 2016, arXiv:1611.09961).

To be seen: a VAE of pixels edits a face by drawing a new one, which is blurred and resembles frames from elsewhere in
the video. An autoencoder of flow edits it by moving its pixels: it remains sharp, and the same face.

Data: frey_faces.npz, 1,965 frames of one face, 28 × 20 pixels, in video order. A pair is a source and a target up to
four frames before or after it. Every fifth stretch of 40 frames is held out; all numbers and pictures are of its pairs.
Without the file, and with --short, a face is drawn, which smiles and nods.

Model: `kvae.CVAE` with the target as x and the source as the condition y.
    encoder    target and source → q(z|x, y)
    decoder    z and source → flow(z, y) − flow(0, y) → the source, sampled along the flow, is the mean of p(x|z, y)
A code of 0 changes nothing, so the code is a change of expression: ½ z suppresses it, 2 z magnifies it. The penalty of
`roughness` keeps the flow smooth. Sampling between the pixels of so small an image averages neighbours; for edits, the
flow is therefore applied to the source enlarged five times ("flow, not enlarged" shows what that is worth).

Baselines: a pixel VAE with a code of the same size, as many steps and the same σ, which moves the source's code towards
the target's, z_s + factor · (z_t − z_s); and a cross-fade of source and target. "Real faces" are the targets.

Table, for each factor: the gradient energy Σ |∇x|² of the edited faces relative to that of the targets; how often the
frame most similar to the edited face is at most 30 frames from the source (for targets: other than the target itself);
and the squared error per pixel to the target × 1000, for a factor of 1. Standard errors are over held-out stretches. To
look for: an energy of about 0.9, beside 0.65 without enlarging and 0.8 of the pixel VAE, which is noisy rather than
sharp at a factor of 2; and more than 90% within 30 frames, for factors up to 1.5. Of a drawn face: 0.99, 0.88, 1.00.

Pictures: expression_edits.png; expression_steps.png, equal steps of the code; expression_flow.png, the flows.

    python workshops/examples/expression.py [--short] [--out DIR] [--epochs N] [--seed N] [--data DIR]
"""

import argparse
from pathlib import Path

import kvae

import keras
import numpy as np
from keras import layers, ops
from scipy.ndimage import zoom

SHAPE, CELLS, FACTORS = (28, 20, 1), (14, 10, 2), (0.5, 1.0, 1.5, 2.0)
LATENT_DIM, GAUSSIAN = 16, kvae.distributions.Normal(sigma=0.1)
STRETCH, FURTHEST, NEAR = 40, 4, 30  # frames
DATA = Path(__file__).parent / "../../../shared/data"
OPTIONS = ("out", str, "runs/expression"), ("epochs", int, None), ("seed", int, 0), ("data", Path, DATA)


def drawn(n, rng):
    """A video `(n, 28, 20, 1)` of a face that smiles, opens its mouth and nods, while the light on it turns."""
    smile, opening, nod = (np.sin(2 * np.pi * (np.arange(n) / p + rng.random()))[:, None, None] for p in (8, 12, 24))
    y, x = np.arange(28)[:, None] - 13.5 - nod, np.arange(20) - 9.5
    face = 0.3 + np.linspace(-0.04, 0.04, n)[:, None, None] * x + 0.4 / (1 + np.exp(10 * (np.hypot(x / 9, y / 12) - 1)))
    corners = 1.5 * smile * (0.5 - np.square(x / 4.5))
    for cy, cx, ry, rx in ((-4, -4, 1.2, 2), (-4, 4, 1.2, 2), (6 + corners, 0, 1.8 + 0.6 * opening, 4.5)):
        face -= 0.6 / (1 + np.exp(3 * (np.hypot((x - cx) / rx, (y - cy) / ry) - 1)))
    return np.clip(face, 0.1, 0.9)[..., None].astype("float32")


def roughness(flow):
    """The sum of squared differences of neighbours in a batch of flows `(batch, cells_y, cells_x, 2)`."""
    down, right = flow[:, 1:] - flow[:, :-1], flow[:, :, 1:] - flow[:, :, :-1]
    return ops.sum(ops.square(down)) + ops.sum(ops.square(right))


def flow_networks(smoothness):
    """Encoder `[x, y] → q(z|x, y)`, decoder `[z, y] → x`, and the decoder's first part, `[z, y] → flow`."""
    encoder, _ = kvae.networks.mlp(SHAPE, LATENT_DIM, condition_shape=SHAPE)
    _, field = kvae.networks.mlp(CELLS, LATENT_DIM, condition_shape=SHAPE, likelihood=GAUSSIAN)
    field.name = "field"  # other than "decoder", the name of the whole
    z, y = keras.Input((LATENT_DIM,), name="z"), keras.Input(SHAPE, name="y")
    smooth = layers.Subtract(activity_regularizer=lambda flow: smoothness * roughness(flow))  # Keras: / batch size
    flow = smooth([field([z, y]), field([layers.Rescaling(0.0)(z), y])])
    flow = layers.UpSampling2D(2, interpolation="bilinear")(flow)
    decoder = keras.Model([z, y], kvae.layers.BilinearSampler()([y, flow]), name="decoder")
    return encoder, decoder, keras.Model([z, y], flow, name="flow")


def warped(source, flow):
    """`source` `(n, 28, 20, 1)` enlarged five times, sampled along `flow`, and reduced again."""
    rows, columns = (zoom(np.eye(n), (5, 1), order=5, mode="nearest", grid_mode=True) for n in SHAPE[:2])
    large, flow = rows @ source[..., 0] @ columns.T, 5 * flow.repeat(5, axis=1).repeat(5, axis=2)
    return ops.convert_to_numpy(kvae.layers.BilinearSampler()([large[..., None], flow]))[:, 2::5, 2::5]


def main():
    """Train both models on pairs of the video, and print and draw what their edits look like."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="shows that it runs, no more")
    for name, kind, default in OPTIONS:
        parser.add_argument(f"--{name}", type=kind, default=default)
    args = parser.parse_args()
    keras.utils.set_random_seed(args.seed)
    rng, file = np.random.default_rng(args.seed), args.data / "frey_faces.npz"
    found = (file.is_file() and not args.short) or print(f"Using a drawn face, without {file}")
    video = np.load(file)["images"][..., None] / np.float32(255) if found else drawn(400 if args.short else 2000, rng)
    s = np.repeat(np.arange(len(video)), 8)
    t = s + rng.integers(1, FURTHEST + 1, len(s)) * rng.choice([-1, 1], len(s))
    inside, held_out = (t < len(video)) & (t // STRETCH == s // STRETCH), s // STRETCH % 5 == 4
    train, test = inside & ~held_out, rng.permutation(np.flatnonzero(inside & held_out))[: 50 if args.short else 800]
    frames, epochs = np.unique(s[train]), args.epochs or (1 if args.short else 15)
    encoder, decoder, flow_of = flow_networks(20.0 if found else 1.0)  # the drawn face moves in small parts
    model = kvae.CVAE(encoder, decoder, likelihood=GAUSSIAN, seed=args.seed)
    pixels = kvae.VAE(*kvae.networks.mlp(SHAPE, LATENT_DIM, likelihood=GAUSSIAN), likelihood=GAUSSIAN, seed=args.seed)
    passes = epochs * train.sum() // len(frames)  # as many steps
    for each, data, n in ((model, (video[t[train]], video[s[train]]), epochs), (pixels, (video[frames],), passes)):
        each.compile(keras.optimizers.Adam(1e-3))
        each.fit(*data, epochs=n, batch_size=128, verbose=0 if args.short else 2)
    source, target, stretch = video[s[test]], video[t[test]], s[test] // STRETCH
    z, z_s, z_t = model.encode(target, source), pixels.encode(source), pixels.encode(target)
    edits = {  # of a factor k and the rows of pairs
        "flow": lambda k, i: warped(source[i], flow_of.predict([k * z[i], source[i]], verbose=0)),
        "flow, not enlarged": lambda k, i: model.decode(k * z[i], source[i]),
        "pixel VAE": lambda k, i: pixels.decode(z_s[i] + k * (z_t[i] - z_s[i])),
        "cross-fade": lambda k, i: source[i] + k * (target[i] - source[i]),
    }

    def row(name, faces, left_out=slice(0)):
        squares = (video**2).sum((1, 2, 3)) - 2 * np.tensordot(faces, video, ((1, 2, 3), (1, 2, 3)))  # and a constant
        squares[left_out] = np.inf
        energy, real = (sum(np.square(np.diff(a, axis=k)).sum((1, 2, 3)) for k in (1, 2)) for a in (faces, target))
        energy, near = energy / real.mean(), 100 * (abs(squares.argmin(axis=1) - s[test]) <= NEAR)
        error = 1000 * np.square(faces - target).mean(axis=(1, 2, 3))
        means = np.array([[c[stretch == k].mean() for k in np.unique(stretch)] for c in (energy, near, error)])
        cells = zip((energy, near, error), means.std(axis=1, ddof=1) / np.sqrt(means.shape[1]), (2, 1, 1), strict=True)
        print(f"{name:<26}" + "".join(f"{c.mean():>13.{d}f} ± {e:<4.{d}f}" for c, e, d in cells))

    print(f"{'':<26}{'gradient energy':>20}{'within 30 frames, %':>20}{'error × 1000':>20}")
    row("real faces", target, (np.arange(len(test)), t[test]))
    for name, edit in edits.items():
        for factor in FACTORS:
            row(f"{name} × {factor:g}", edit(factor, slice(None)))
    change = np.square(target - source).mean(axis=(1, 2, 3))
    some = [max(np.flatnonzero(stretch == k), key=change.__getitem__) for k in np.unique(stretch)[::4]]

    def draw(name, factors, label, title):
        both = [[source[some], target[some], *(edits[row](k, some) for k in factors)] for row in ("flow", "pixel VAE")]
        rows = np.moveaxis(both, 2, 0).reshape(2 * len(some), -1, *SHAPE)
        labels = ["flow", "pixel VAE"] * len(some), ["source", "target", *map(label.format, factors)]
        figure = kvae.plots.image_grid(rows, *labels, title)
        print(kvae.plots.save(figure, f"{args.out}/expression_{name}.png"))

    draw("edits", FACTORS, "× {:g}", "Suppressed (× 0.5) and magnified (× 1.5, × 2)")
    draw("steps", np.arange(5) / 4, "{:g}", "From source to target in equal steps of the code")
    flows = np.stack([flow_of.predict([k * z[some], source[some]], verbose=0) for k in FACTORS], axis=1)
    figure = kvae.plots.flow_grid(source[some], flows[:, :, 2::4, 2::4], None, FACTORS, "Where pixels are fetched from")
    print(kvae.plots.save(figure, f"{args.out}/expression_flow.png"))


if __name__ == "__main__":
    main()

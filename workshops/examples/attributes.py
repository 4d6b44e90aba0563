"""Images from attributes, of combinations never seen (Attribute2Image: Yan, Yang, Sohn, Lee 2016, arXiv:1512.00570).

To be seen: a conditional VAE learns each attribute by itself. It generates figures with pairs of hair and topwear that
no training image has, and a classifier trained on real images finds in them the attributes asked for.

Data: sprites64.npz, 11,664 figures, cropped and averaged to 28 × 24 pixels, with four attributes of six values each:
body, bottomwear, topwear, hair. The style is what they leave open: one of nine poses, and the background, a gradient
between two random colours in place of the file's black. The six pairs in which hair and topwear have the same number
are held out. Without the file, and with --short, figures of four coloured blocks are drawn instead.

Models: the plain one is `kvae.CVAE` with the networks of `kvae.networks.conv` and all attributes, one-hot encoded side
by side, as the condition y. The layered one (disCVAE in the paper) differs in its decoder, which mixes two layers,
    x = x_F ⊙ g + x_B ⊙ (1 − g),    x_F and the gate g from z_F and y,    x_B from z_B alone,    z = [z_F, z_B].
Nothing tells it where the figure is, yet it finds out: x_B is too coarse to draw one, and an open g costs 0.2 nats.

Table: how often the judge finds each attribute asked for, and all four, in % ± standard error over the images; and the
negative ELBO of real images with these attributes. "Real images" is the judge's accuracy on images new to it. To beat:
"most similar seen images", what memory could offer, with all attributes asked for but the hair; and chance, generated
images against the attributes of others. To look for: 95% on average over the attributes of unseen combinations. The
last lines compare gates above ½ with the true outlines of unseen figures (intersection over union).

Pictures: attributes_unseen.png; attributes_progression.png, the style fixed; attributes_layers.png, x_F, g and x_B.

    python workshops/examples/attributes.py [--short] [--out DIR] [--epochs N] [--seed N] [--data DIR]
"""

import argparse
import colorsys
from pathlib import Path

import kvae

import keras
import numpy as np
from keras import layers

NAMES, HEIGHT, WIDTH = ("body", "bottomwear", "topwear", "hair"), 28, 24
BLOCKS = (7, 11, 7, 13), (17, 24, 7, 13), (11, 17, 5, 15), (2, 7, 6, 14)  # rows and columns of each attribute
FRONT, BACK, OPEN = 4, 6, 0.2  # dimensions of z_F and of z_B; nats per pixel for an open gate
DATA = Path(__file__).parent / "../../../shared/data"
OPTIONS = ("out", str, "runs/attributes"), ("epochs", int, None), ("seed", int, 0), ("data", Path, DATA)


def drawn(num_values):
    """Blocks in nine places: images `(n, 28, 24, 3)`, outlines `(n, 28, 24, 1)`, outside of which they are black, y."""
    attributes = np.indices((num_values,) * 4 + (9,)).reshape(5, -1).T
    images = np.zeros((len(attributes), HEIGHT, WIDTH, 4))
    for image, (*values, place) in zip(images, attributes, strict=True):
        for value, (top, bottom, left, right) in zip(values, BLOCKS, strict=True):
            block = image[top + place // 3 : bottom + place // 3, left + 2 * (place % 3) : right + 2 * (place % 3)]
            block[:] = *colorsys.hsv_to_rgb(value / num_values, 0.9, 0.9), 1
    return images[..., :3], images[..., 3:], attributes[:, :4]


def sprites(file):
    """As `drawn`, from the file; an outline holds the share of each pixel that the figure covers."""
    images = file["images"][:, 8:, 8:56].reshape(-1, HEIGHT, 2, WIDTH, 2, 3) / np.float32(255)
    outlines = images.max(axis=-1, keepdims=True) > 0
    return images.mean(axis=(2, 4)), outlines.mean(axis=(2, 4)), file["attributes"][:, :4].astype("int64")


def layered(width, hidden):
    """The decoder `[z, y] → x`, and the network of its parts: x_F, g and x_B."""
    front = kvae.networks.conv((HEIGHT, WIDTH, 4), FRONT, hidden, num_classes=width)[1]  # three colours and the gate
    front.name = "front"  # other than "decoder", the name of the whole
    z, y = keras.Input((FRONT + BACK,), name="z"), keras.Input((width,), name="y")
    h = front([z[:, :FRONT], y])
    gate = layers.Activation("sigmoid", activity_regularizer=keras.regularizers.L1(OPEN))(h[..., 3:])
    x_front = layers.Activation("sigmoid")(h[..., :3])
    x_back = layers.Reshape((2, 2, 3))(layers.Dense(12, "sigmoid")(z[:, FRONT:]))  # too coarse to draw a figure
    x_back = layers.UpSampling2D((HEIGHT // 2, WIDTH // 2), interpolation="bilinear")(x_back)
    x = layers.Add()([layers.Multiply()([x_front, gate]), layers.Multiply()([x_back, 1.0 - gate])])
    return keras.Model([z, y], x, name="decoder"), keras.Model([z, y], [x_front, gate, x_back], name="parts")


def cells(columns, digits=1):
    """Means and standard errors of the columns `(n, k)`, as text."""
    return "".join(f"{c.mean():>9.{digits}f} ± {c.std() / len(c) ** 0.5:<4.{digits}f}" for c in columns.T)


def main():
    """Train the judge and both models, and print and draw what they generate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="shows that it runs, no more")
    for name, kind, default in OPTIONS:
        parser.add_argument(f"--{name}", type=kind, default=default)
    args = parser.parse_args()
    epochs, hidden = args.epochs or (1 if args.short else 8), (8,) if args.short else (32, 64)
    keras.utils.set_random_seed(args.seed)
    rng, file = np.random.default_rng(args.seed), args.data / "sprites64.npz"
    found = (file.is_file() and not args.short) or print(f"Using figures of four coloured blocks, without {file}")
    x, outlines, attributes = sprites(np.load(file)) if found else drawn(3 if args.short else 5)
    ends, t = rng.uniform(0.2, 0.8, (2, len(x), 1, 1, 3)), np.linspace(0, 1, HEIGHT)[:, None, None]
    x = (x + (1 - outlines) * ((1 - t) * ends[0] + t * ends[1])).astype("float32")
    y = np.eye(attributes.max() + 1, dtype="float32")[attributes].reshape(len(x), -1)
    new, test, width = attributes[:, 2] == attributes[:, 3], rng.random(len(x)) < 0.1, y.shape[1]

    def fit(model, rows, epochs, **arguments):
        rate = keras.optimizers.schedules.CosineDecay(2e-3, epochs * (rows.sum() // 64 + 1))
        model.compile(keras.optimizers.Adam(rate), **arguments)
        model.fit(x[rows], y[rows], batch_size=64, epochs=epochs, verbose=0 if args.short else 2)
        return model

    judge = kvae.networks.conv(x.shape[1:], width, hidden, posterior=None)[0]  # an encoder whose code are logits
    fit(judge, ~test, min(epochs, 4), loss=keras.losses.BinaryCrossentropy(from_logits=True))
    encoder, plain = kvae.networks.conv(x.shape[1:], FRONT + BACK, hidden, num_classes=width, likelihood="gaussian")
    mixing, parts = layered(width, hidden)
    models = {"plain": (encoder, plain), "layered": (keras.models.clone_model(encoder), mixing)}
    for name, pair in models.items():
        models[name] = fit(kvae.CVAE(*pair, likelihood="gaussian", seed=args.seed), ~new & ~test, epochs)

    def row(name, images, wanted, nats=None):
        found = judge.predict(images, verbose=0).reshape(len(images), 4, -1).argmax(axis=-1) == wanted
        columns = 100 * np.column_stack([found, found.all(axis=1)])
        print(f"{name:<26}{cells(columns)}{'' if nats is None else cells(nats[:, None], 0)}")

    print(f"{'':<26}" + "".join(f"{name:>13}   " for name in (*NAMES, "all four", "−ELBO, nats")))
    row("real images, unseen", x[new & test], attributes[new & test])
    similar = np.roll(x.reshape(-1, width // 4, 9, *x.shape[1:]), -1, axis=1).reshape(x.shape)  # other hair
    row("most similar seen images", similar[new], attributes[new])
    for name, model in models.items():
        for kind, rows in (("seen", ~new & test), ("unseen", new)):
            images = model.generate(labels=y[rows], seed=args.seed)
            row(f"{name}, {kind}", images, attributes[rows], -model.elbo(x[rows], y[rows], seed=args.seed))
    row("layered, by chance", images, rng.permutation(attributes[new]))
    x, y, truth = x[new], y[new], outlines[new] > 0.5
    front, gate, back = parts.predict([models["layered"].encode(x, y), y], verbose=0)
    for name, mask in {"gate": gate > 0.5, "best gate for all": truth.mean(axis=0) > 0.5, "open gate": True}.items():
        print(f"{name:<26}{cells((mask & truth).sum(axis=(1, 2)) / (mask | truth).sum(axis=(1, 2)), 2)}")

    def draw(name, images, columns, title):
        figure = kvae.plots.image_grid(np.stack(np.broadcast_arrays(*images.values())), list(images), columns, title)
        print(kvae.plots.save(figure, f"{args.out}/attributes_{name}.png"))

    i = rng.choice(len(x), 8, replace=False)
    generated = {name: model.generate(labels=y[i], seed=args.seed) for name, model in models.items()}
    draw("unseen", {"real": x[i], **generated}, None, "Combinations never seen in training")
    mixed = {"x": x[i], "reconstruction": models["layered"].reconstruct(x[i], y[i]), "foreground": front[i]}
    mixed |= {"gate": gate[i], "true outline": truth[i], "background": back[i]}
    draw("layers", mixed, None, "The parts of the layered decoder")
    one, start, t, moved = i[:1], y[i[0]].reshape(4, -1), np.linspace(0, 1, 5)[:, None], {}
    z = models["layered"].encode(x[one], y[one]).repeat(5, axis=0)
    for k, name in enumerate(NAMES):
        change = (np.eye(4)[k][:, None] * (np.roll(start, start.shape[1] // 2, axis=1) - start)).ravel()
        moved[name] = np.concatenate([x[one], models["layered"].decode(z, start.ravel() + t * change)])
    draw("progression", moved, ["real", "0", "¼", "½", "¾", "1"], "One attribute moved to another value")


if __name__ == "__main__":
    main()

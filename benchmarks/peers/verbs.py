"""kvae's methods on arrays, in a fresh process: `python -m peers.verbs BACKEND [IMAGES]` prints JSON.

For each method, the time of its second call divided by the median of the next ones, the median of several new models: 1
if nothing is compiled anew. Between the first call, which compiles, and the second, an older model is called twice: the
first call after a compilation takes up to 8% longer, whichever model it is of. And the time of `log_likelihood` divided
by that of the bare matrix products of its decoder, for a fiftieth of the images with 1000 samples each.
"""

import json
import os
import statistics
import sys
import time

import numpy as np

TIMES = 5  # of each measurement
NEXT = 3  # calls after the second
SAMPLES, ROWS = 1000, 5000


def seconds(function, *arguments):
    """The time of a call."""
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def second_to_next(new, method):
    """The time of the second call divided by the median of the next ones, the median of several new models."""
    old = new()
    ratios = []
    for _ in range(TIMES):
        model = new()
        method(model)
        method(old), method(old)
        second, *others = (seconds(method, model) for _ in range(1 + NEXT))
        ratios.append(second / statistics.median(others))
    return statistics.median(ratios)


def to_products(model, x):
    """The median ratio of the time of `log_likelihood` to that of its products, measured before and after."""
    import kvae
    from kvae.training.kept import kept

    from keras import ops

    kernels = [layer.kernel for layer in model.decoder.layers if hasattr(layer, "kernel")]
    z = np.zeros((ROWS, *model.latent_shape), "float32")

    def chain(model, noise, h):
        for kernel in kernels:
            h = ops.matmul(h, kernel)
        return h[-1:]

    def products():
        for _ in range(len(x) * SAMPLES // ROWS):
            ops.convert_to_numpy(kept(model, chain)(z))

    def estimate():
        kvae.evaluation.log_likelihood(model, x, num_samples=SAMPLES, batch_size=ROWS, seed=0)

    estimate(), products()
    rows = [(seconds(products), seconds(estimate), seconds(products)) for _ in range(TIMES)]
    return statistics.median(2 * middle / (before + after) for before, middle, after in rows)


def main(images=20_000):
    """Print the ratios."""
    import kvae

    import keras

    def new():
        model = kvae.VAE(*kvae.networks.mlp((28, 28, 1), 20, (400,)), seed=0)
        model.compile("adam")
        return model

    keras.utils.set_random_seed(0)
    x = (np.random.default_rng(0).random((images + 1, 28, 28, 1), "float32") > 0.5).astype("float32")
    z = new().encode(x)
    few = x[: max(10, images // 1000) // 5 * 5]
    methods = {
        "generate": lambda model: model.generate(images + 1, seed=0),
        "encode": lambda model: model.encode(x),
        "decode": lambda model: model.decode(z),
        "reconstruct": lambda model: model.reconstruct(x),
        "elbo": lambda model: model.elbo(x, seed=0),
        "predict": lambda model: model.predict(x, batch_size=1000, verbose=0),
        "evaluate": lambda model: model.evaluate(x, batch_size=1000, verbose=0),
        "log_likelihood": lambda model: kvae.evaluation.log_likelihood(model, few, num_samples=SAMPLES, seed=0),
    }
    found = {name: second_to_next(new, method) for name, method in methods.items()}
    burda = kvae.VAE(*kvae.networks.mlp((28, 28, 1), 50, (200, 200), activation="tanh"), seed=0)
    print(json.dumps({**found, "products": to_products(burda, x[: max(10, images // 50) // 5 * 5])}))


if __name__ == "__main__":
    os.environ["KERAS_BACKEND"] = sys.argv[1]
    main(*map(int, sys.argv[2:]))

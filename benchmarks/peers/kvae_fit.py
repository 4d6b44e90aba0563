"""kvae, used as in its README."""

import numpy as np

from peers import common


def build(task):
    """See `peers.common`."""
    import keras

    import kvae

    keras.utils.clear_session()  # of the task before
    keras.utils.set_random_seed(0)
    x, labels = common.data(task)
    networks = getattr(kvae.networks, task.network)(
        x.shape[1:], task.latent, task.hidden, num_classes=task.classes or None, activation=task.activation
    )
    bound = "importance_weighted" if task.importance_weighted else "elbo"
    num_samples = task.samples if task.what == "train" else 1
    options = {"bound": bound, "num_samples": num_samples, "seed": 0}
    if task.classes:
        model, y = kvae.CVAE(*networks, num_classes=task.classes, **options), labels
    else:
        model, y = kvae.VAE(*networks, **options), None
    model.compile(keras.optimizers.Adam(common.RATE))

    def epoch():
        model.fit(x, y, batch_size=task.batch, epochs=1, verbose=0)
        return len(x)

    def bound_reached():
        some = x[: common.CHECKED], None if y is None else y[: common.CHECKED]
        return model.evaluate(*some, batch_size=task.batch, verbose=0, return_dict=True)["loss"]

    last = {}

    def likelihood():
        last["check"] = -kvae.evaluation.log_likelihood(model, x[: task.count], num_samples=task.samples, seed=0).mean
        return task.count * task.samples

    def generate():
        last["check"] = np.mean(model.generate(task.count, seed=0)[: common.CHECKED])
        return task.count

    if task.what == "train":
        return epoch, bound_reached
    epoch()
    return (likelihood if task.what == "likelihood" else generate), lambda: last["check"]


if __name__ == "__main__":
    common.serve(build)

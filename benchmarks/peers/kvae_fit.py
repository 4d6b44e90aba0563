"""kvae, used as in its README."""

import numpy as np

from peers import common


def compiled(task):
    """The compiled model."""
    import kvae

    import keras

    keras.config.set_dtype_policy(task.policy)
    networks = getattr(kvae.networks, task.network)(
        (task.side, task.side, 1),
        task.latent,
        task.hidden,
        num_classes=task.classes or None,
        activation=task.activation,
    )
    keras.config.set_dtype_policy("float32")
    bound = "importance_weighted" if task.importance_weighted else "elbo"
    num_samples = task.samples if task.what in ("train", "evaluate") else 1
    options = {"bound": bound, "num_samples": num_samples, "seed": 0}
    if task.classes:
        model = kvae.CVAE(*networks, num_classes=task.classes, **options)
    else:
        model = kvae.VAE(*networks, **options)
    model.compile(keras.optimizers.Adam(common.RATE))
    return model


def build(task):
    """See `peers.common`."""
    import kvae

    import keras

    keras.utils.clear_session()  # of the task before
    keras.utils.set_random_seed(0)
    model = compiled(task)
    last = {}
    if task.streamed:
        from stream import synthetic

        stream = synthetic(task.images, [0], (task.side, task.side, 1), block=256)
        given = {"x": stream.batches(task.batch, shuffle=task.what == "train")}
    else:
        x, labels = common.data(task)
        y = labels if task.classes else None
        given = {"x": x, "y": y, "batch_size": task.batch}

    def train():
        last["check"] = model.fit(**given, epochs=task.epochs, verbose=0).history["loss"][-1]
        return task.epochs * task.images

    def evaluation():
        last["check"] = model.evaluate(**given, verbose=0, return_dict=True)["loss"]
        return task.images

    def bound_reached():
        some = x[: common.CHECKED], None if y is None else y[: common.CHECKED]
        return model.evaluate(*some, batch_size=task.batch, verbose=0, return_dict=True)["loss"]

    def likelihood():
        last["check"] = -kvae.evaluation.log_likelihood(model, x[: task.count], num_samples=task.samples, seed=0).mean
        return task.count * task.samples

    def generate():
        last["check"] = np.mean(model.generate(task.count, seed=0)[: common.CHECKED])
        return task.count

    if task.what == "evaluate":
        return evaluation, lambda: last["check"]
    if task.what == "train":
        return train, (lambda: last["check"]) if task.streamed else bound_reached
    train()
    return (likelihood if task.what == "likelihood" else generate), lambda: last["check"]


if __name__ == "__main__":
    common.serve(build)

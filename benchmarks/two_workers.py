"""Train with one process, two workers and two devices, and compare losses and a digest of the weights.

Run `python benchmarks/two_workers.py`; the last two lines need the extra `jax`. All workers and devices are on this
machine. The model is an autoencoder, which needs no random numbers; the last batch contains a single image (two with
JAX).
"""

import argparse
import hashlib
import json
import os
import socket
import subprocess
import sys

BATCH_SIZE = 128
EXAMPLES = {"tensorflow": 5 * BATCH_SIZE + 1, "jax": 5 * BATCH_SIZE + 2}  # JAX requires equal shards
RUNS = {  # name: backend, strategy, processes
    "one process": ("tensorflow", "none", 1),
    "two workers": ("tensorflow", "multiworker", 2),
    "two devices": ("tensorflow", "mirrored", 1),
    "one device, JAX": ("jax", "none", 1),
    "two devices, JAX": ("jax", "dataparallel", 1),
}


def train(name, epochs):
    """Train with strategy `name`, and return the losses and the digest and sums of the weights."""
    import keras

    if name == "mirrored":
        import tensorflow as tf

        halves = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], halves)
    import kvae
    from kvae.data import pipeline

    with kvae.strategy.scope(name) as fitting:
        keras.utils.set_random_seed(0)
        data = kvae.load_data("digits")
        x = data.x_train[: EXAMPLES[keras.backend.backend()]]
        model = kvae.Autoencoder(*kvae.networks.mlp(data.image_shape, 2, hidden=(16,), posterior=None), seed=0)
        model.compile(optimizer=keras.optimizers.Adam(1e-2))
    with fitting:
        batches = pipeline(x, batch_size=BATCH_SIZE, shuffle=False, multiple=kvae.strategy.num_devices())
        history = model.fit(batches, epochs=epochs, validation_data=(data.x_test,), verbose=0).history
    weights = model.get_weights()
    digest = hashlib.sha256(b"".join(weight.tobytes() for weight in weights)).hexdigest()[:12]
    return {**history, "digest": digest, "weights": [float(abs(weight).sum()) for weight in weights]}


def start(name, epochs=2):
    """Run one of `RUNS` in separate processes, and return the result of `train` in each."""
    return together([__file__, "--strategy", RUNS[name][1], "--epochs", str(epochs)], *RUNS[name])


def together(arguments, backend, strategy, count, cwd=None):
    """Run Python with `arguments` in `count` processes, and return what each has printed last, which is JSON."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(count)]
    processes = []
    for index in range(count):
        environment = {
            **os.environ,
            "KERAS_BACKEND": backend,
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={2 if strategy == 'dataparallel' else 1}",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        if strategy == "multiworker":
            environment["TF_CONFIG"] = tf_config(addresses, index)
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        processes.append(subprocess.Popen([sys.executable, *arguments], cwd=cwd, env=environment, **pipes))
    outputs = [process.communicate() for process in processes]
    for process, (_, errors) in zip(processes, outputs, strict=True):
        if process.returncode:
            raise RuntimeError(errors.decode())
    return [json.loads(out.splitlines()[-1]) for out, _ in outputs]


def free_ports(count):
    """Ports that are currently free."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def tf_config(addresses, index):
    """TF_CONFIG of the worker `index` among `addresses`."""
    return json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}})


def main(epochs):
    """Print one line per process."""
    print(f"{'':>28}  {'loss of each epoch':<{10 * epochs}}  val_loss   weights")
    for name in RUNS:
        results = start(name, epochs)
        for index, result in enumerate(results):
            who = f"{name}, worker {index}" if len(results) > 1 else name
            losses = " ".join(f"{loss:9.5f}" for loss in result["loss"])
            print(f"{who:>28}  {losses:<{10 * epochs}}  {result['val_loss'][-1]:8.5f}   {result['digest']}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--strategy", help="train once, in this process, and print JSON")
    arguments = parser.parse_args()
    if arguments.strategy:
        print(json.dumps(train(arguments.strategy, arguments.epochs)))
    else:
        main(arguments.epochs)

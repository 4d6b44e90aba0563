"""One of several processes that train together: `python -m peers.workers STRATEGY ROUNDS TASK ...` prints JSON.

The JSON is a list with a dict per round, from "training, batch 128" and the like to the images per second of all
processes together. Each task, a JSON object, has a model of its own.
"""

import functools
import json
import sys
import time

from peers import common, kvae_fit


def main(strategy, rounds, tasks):
    """Print the rates of each round, the first of which comes after one that compiles."""
    import kvae
    from kvae.data import pipeline

    import keras

    with kvae.strategy.scope(strategy) as fitting:
        keras.utils.set_random_seed(0)
        models = [kvae_fit.compiled(task) for task in tasks]
    found = [{} for _ in range(1 + rounds)]
    with fitting:
        for task, model in zip(tasks, models, strict=True):
            x, _ = common.data(task)
            calls = {
                "training": functools.partial(model.fit, pipeline(x, batch_size=task.batch)),
                "evaluation": functools.partial(model.evaluate, pipeline(x, batch_size=task.batch, shuffle=False)),
            }
            for row in found:
                for kind, call in calls.items():
                    start = time.perf_counter()
                    call(verbose=0)
                    row[f"{kind}, batch {task.batch}"] = task.images / (time.perf_counter() - start)
    print(json.dumps(found[1:]))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), [common.from_json(json.loads(text)) for text in sys.argv[3:]])

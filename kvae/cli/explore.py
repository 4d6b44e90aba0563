"""`kvae explore`: the page of a saved model, with the training data of its run as points."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any


def explore(arguments: Namespace) -> None:
    """Write a page to drag through a model's latent space in a browser: one HTML file."""
    from kvae import explorer
    from kvae.cli import printing, saved_model
    from kvae.models import capabilities, load_model

    model = load_model(arguments.model)
    out = Path(arguments.out) if arguments.out else Path(arguments.model).with_name("explore.html")
    x: Any = None
    y: Any = None
    names: Any = None
    title = type(model).__name__
    has_codes = capabilities.has(model, "networks")
    if has_codes and (arguments.dataset or saved_model.options_of(arguments.model)):
        data = saved_model.dataset_of(arguments.model, arguments.dataset, arguments.image_size, arguments.channels)
        x, names, title = data.x_train, data.class_names, f"{title} on {data.name}"
        y = saved_model.conditions(data, model)[0]
        if y is None and data.num_classes:
            y = data.y_train  # the points' colours
    with printing.busy("encoding the training data"):
        page = explorer.explore(model, x, y, out, names, title, arguments.sheet, arguments.seed)
    for note in page.notes:
        print(note)
    if x is None and has_codes:
        print("There are no points: for training data, use --dataset")
    print(f"written to {out} ({len(page.html) / 1e6:.1f} MB): open it in a browser")

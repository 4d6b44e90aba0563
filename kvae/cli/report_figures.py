"""The pictures of a report: curves, and what the run folders hold."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from kvae import plots
from kvae.cli.run_record import Record
from kvae.io import html_page, limits
from kvae.io.html_page import Markup, element
from kvae.plots.canvas import MAX_CLASSES, write_png

TERMS = {"loss": "loss", "reconstruction_loss": "reconstruction", "kl_loss": "KL"}
PICTURES = {  # their captions, and what they show
    "sample_grid": ("Samples", "Images drawn from the model"),
    "reconstruction_grid": ("Reconstructions", "Test images above their reconstructions"),
    "latent_manifold": ("Latent plane", "Images decoded from a grid of codes in two dimensions"),
    "latent_scatter": ("Codes", "The codes of test images as points, in a colour for each label"),
    "pca_baseline": ("Model and PCA", "Reconstructions and codes of test images, of the model and of PCA"),
    "latent_traversal": ("Latent dimensions", "Images decoded along each latent dimension"),
}
MOST_BYTES = 1_300_000  # of all pictures of a page; base64 makes them a third larger
WIDEST = 1200  # pixels


def curves(record: Record) -> Markup:
    """The training curves of a run."""
    history = record.history
    figures: list[Markup] = []
    for panel, terms in (("Loss", ["loss"]), ("Reconstruction and KL", ["reconstruction_loss", "kl_loss"])):
        if any(term in history for term in terms):
            said = "; ".join(_course(history, term) for term in terms if term in history)
            figures.append(_figure(_png(plots.history(history, None, (panel,))), f"{panel} per epoch: {said}", said))
    return element("div", *figures, class_="curves")


def _course(history, term):
    """The way of a term from the first epoch to the last, in words."""
    values = {"training": history[term], "validation": history.get(f"val_{term}")}
    ways = [f"{kind} from {each[0]:.2f} to {each[-1]:.2f}" for kind, each in values.items() if each]
    return f"{TERMS[term]} in {', '.join(ways)} nats"


def overlaid(records: Sequence[Record]) -> list[Markup]:
    """The terms of several runs, over each other."""
    shown = [record for record in records if "loss" in record.history][:MAX_CLASSES]
    if not shown:
        return [element("p", "There are none: no epoch is complete.")]
    figures = []
    for term, name in TERMS.items():
        key = next((k for k in (f"val_{term}", term) if all(k in record.history for record in shown)), None)
        if key is not None:
            title = f"{name[0].upper()}{name[1:]}, {'validation' if key.startswith('val_') else 'training'}"
            ends = ", ".join(f"{record.name} {record.history[key][-1]:.2f}" for record in shown)
            png = _png(plots.histories({record.name: record.history for record in shown}, key))
            figures.append(_figure(png, f"{title}, per epoch; at the end: {ends}", title))
    parts = [element("div", *figures, class_="curves")]
    if len({str(record.options["beta"]) for record in shown}) > 1:
        parts.append(element("p", "The loss weights the KL by beta, which differs: compare the terms, or −ELBO."))
    if len(shown) < len(records):
        parts.append(element("p", f"Of {len(shown)} of the {len(records)} runs."))
    return parts


def pictures(records: Sequence[Record], kinds: Sequence[str] | None = None) -> list[Markup]:
    """The last pictures of each kind of every run, as long as they have room."""
    figures: list[Markup] = []
    left, room = 0, MOST_BYTES
    found = [(record, kind, path) for record in records for kind, path in record.pictures().items()]
    order = list(PICTURES if kinds is None else kinds)
    found = [each for each in found if kinds is None or each[1] in kinds]
    for record, kind, path in sorted(found, key=lambda each: order.index(each[1]) if each[1] in order else len(order)):
        png = _smaller(path)
        if png is None or len(png) > room:
            left += 1
            continue
        room -= len(png)
        epoch = int(path.stem.rsplit("_", 1)[1])
        caption, alt = PICTURES.get(kind, (kind.replace("_", " "), f"Picture {path.name}"))
        run = f" of {record.name}" if len(records) > 1 else ""
        figures.append(_figure(png, f"{alt}{run}", f"{caption}{run} after epoch {epoch}"))
    more = f"{left} more in the folders pictures/." if left else "" if figures else "There are none."
    return [
        element("div", *figures, class_="pictures") if figures else Markup(),
        element("p", more) if more else Markup(),
    ]


def _smaller(path: Path) -> bytes | None:
    """A picture with fewer pixels and colours if it is large; `None` if it cannot be read."""
    try:
        content = limits.read_bytes(path, limits.EXAMPLE)
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            if image.width * image.height > limits.EXAMPLE:
                return None
            image.load()
            if image.width <= WIDEST and len(content) < 100_000:
                return content
            image.thumbnail((WIDEST, 2 * WIDEST))
            out = io.BytesIO()
            image.convert("RGB").quantize(256).save(out, "PNG", optimize=True)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return min(content, out.getvalue(), key=len)


def _png(figure: Figure) -> bytes:
    out = io.BytesIO()
    write_png(figure, out)
    return out.getvalue()


def _figure(png: bytes, alt: str, caption: str) -> Markup:
    source = f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
    image = Markup(f'<img src="{source}" alt="{html_page.text(alt)}">')  # too long for `element`
    return element("figure", image, element("figcaption", caption))

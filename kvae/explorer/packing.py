"""Numbers and pictures as text inside a page."""

from __future__ import annotations

import base64
import io
import json
import math
from typing import Any

import numpy as np

from kvae.types import Array

LARGEST_SIDE = 128  # of a picture in a sheet; larger ones are reduced


def numbers(values: Array, kind: str = "float16") -> dict[str, Any]:
    """Numbers in base64, as `unpack` in `static/decode.js` reads them.

    Args:
        values: array; integers are stored as int32, whatever the kind.
        kind: "float16" for half precision, relative to the largest magnitude, so that no weight is beyond its range;
            or "float32".

    Raises:
        ValueError: for values that are not finite.
    """
    values = np.asarray(values)
    if not np.isfinite(values).all():
        raise ValueError("`model` must have finite weights and codes: train it anew. Received: NaN or infinity")
    scale = 1.0
    if values.dtype.kind in "iu":
        kind = "int32"
    elif kind == "float16":
        scale = float(np.abs(values).max(initial=0.0)) or 1.0
        values = values / scale
    data = values.astype(np.dtype(kind).newbyteorder("<")).tobytes()
    return {"kind": kind, "data": base64.b64encode(data).decode("ascii"), "scale": scale}


def pictures(examples: Array) -> dict[str, Any]:
    """Images as one PNG of tiles, or series and feature vectors as numbers.

    Args:
        examples: array `(n, height, width, channels)` with values in [0, 1], which are rounded to bytes; or of examples
            with fewer axes.
    """
    if examples.ndim < 4:
        return {"values": numbers(examples)}
    from PIL import Image

    n, height, width, channels = examples.shape
    scale = min(1.0, LARGEST_SIDE / max(height, width))
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    tiles = np.rint(np.clip(examples, 0.0, 1.0) * 255).astype("uint8")
    tiles = tiles[..., 0] if channels == 1 else tiles
    if scale < 1.0:
        tiles = np.stack([np.asarray(Image.fromarray(tile).resize(size[::-1], Image.Resampling.BOX)) for tile in tiles])
    columns = math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    tiles = np.concatenate([tiles, np.zeros((rows * columns - n, *tiles.shape[1:]), "uint8")])
    sheet = tiles.reshape(rows, columns, *tiles.shape[1:]).swapaxes(1, 2)
    sheet = sheet.reshape(rows * size[0], columns * size[1], *tiles.shape[3:])
    file = io.BytesIO()
    Image.fromarray(sheet).save(file, "PNG", optimize=True)
    url = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
    return {"url": url, "columns": columns, "height": size[0], "width": size[1]}


def json_text(data: Any) -> str:
    """JSON that may stand inside a `<script>` element: nothing in it can end the element, or begin another."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")

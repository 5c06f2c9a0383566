"""Pictures of published chapters, in few colours where nobody sees the difference: they weigh half as much."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable

import numpy as np
from PIL import Image

#: Of 255: how far a thousandth of the pixels may be off, and all of them on average. Drawings have few colours and
#: keep them; photographs and clouds of many hues stay as they are.
FARTHEST, MEAN = 16, 1.0


def in_few_colours(png: bytes) -> bytes:
    """Return a PNG with a palette of 256 colours, or the same bytes where that shows or saves nothing."""
    with Image.open(io.BytesIO(png)) as picture:
        if picture.mode == "P" or (picture.mode == "RGBA" and np.asarray(picture.getchannel("A")).min() < 255):
            return png
        whole = picture.convert("RGB")
    few = whole.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    off = np.abs(np.asarray(whole, np.int16) - np.asarray(few.convert("RGB"), np.int16)).max(axis=2)
    if np.quantile(off, 0.999) > FARTHEST or off.mean() > MEAN:
        return png
    packed = io.BytesIO()
    few.save(packed, "PNG", optimize=True)
    return min(packed.getvalue(), png, key=len)


def lighten(cells: Iterable[dict]) -> None:
    """Take colours from the PNG outputs of a notebook's cells, in place."""
    for cell in cells:
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "image/png" in data:
                png = base64.b64decode("".join(data["image/png"]))
                if (packed := in_few_colours(png)) != png:
                    data["image/png"] = base64.b64encode(packed).decode()

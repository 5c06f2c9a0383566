"""Pictures of published chapters in few colours: drawings look the same, photographs stay as they are."""

import base64
import io

import numpy as np
from PIL import Image

from reproduce import pixels


def png(array: np.ndarray) -> bytes:
    packed = io.BytesIO()
    Image.fromarray(array.astype(np.uint8)).save(packed, "PNG")
    return packed.getvalue()


def drawing() -> np.ndarray:
    """White, with soft edges of two colours: what a line chart is made of."""
    picture = np.full((120, 160, 3), 255.0)
    for i, colour in enumerate(((0, 114, 178), (213, 94, 0))):
        share = np.clip(2 - np.abs(np.arange(120)[:, None] - 30 - 50 * i - np.arange(160) / 7), 0, 1)[..., None]
        picture = share * np.array(colour) + (1 - share) * picture
    return picture


def test_a_drawing_is_lighter_and_looks_the_same():
    before = png(drawing())
    after = pixels.in_few_colours(before)
    assert len(after) < 0.8 * len(before) and pixels.in_few_colours(after) == after  # the second time nothing is done
    read = lambda data: np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), np.int16)  # noqa: E731
    assert np.abs(read(after) - read(before)).max() <= pixels.FARTHEST


def test_a_picture_of_many_colours_stays_as_it_is():
    noise = png(np.random.default_rng(0).integers(0, 256, (64, 64, 3)))
    assert pixels.in_few_colours(noise) == noise
    clear = png(np.dstack([drawing(), np.full((120, 160), 100)]))
    assert pixels.in_few_colours(clear) == clear


def test_outputs_of_cells_are_changed_in_place_and_nothing_else():
    before = base64.b64encode(png(drawing())).decode()
    cells = [{"outputs": [{"data": {"image/png": before, "text/plain": "Figure"}}, {"text": "x"}]}, {"source": ""}]
    pixels.lighten(cells)
    data = cells[0]["outputs"][0]["data"]
    assert len(data["image/png"]) < len(before) and data["text/plain"] == "Figure"

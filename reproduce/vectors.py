"""Figures as vectors beside their pixels: pages show the PNG, the printed book the SVG.

Here and not in `cifar_utils.measure.plots`, since how a figure is printed decides no number of any chapter.
"""

from __future__ import annotations

import base64
import hashlib
import io
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
from IPython.display import display
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from cifar_utils.measure import plots

from .scale import STAMP_WIDTH

PNG, SVG = "image/png", "image/svg+xml"

#: The folder of the vectors among a book's pages; a file is called as its page's picture is.
FOLDER = "_vectors"

#: A cloud of more points than these is pixels in the vectors, too: it would take a line of text for each.
MOST_POINTS = 400

#: Bytes of vectors above which a figure is published as pixels alone: a map of thousands of marks, or photographs.
HEAVY = 150_000

#: Inches of a figure as wide as a page, for which a stamp's lines are made.
PAGE = 6.2

#: Resolution of what stays pixels.
DPI = 220

#: Letters as outlines, since a picture cannot ask for a font; the same file for the same figure.
_SVG = {"svg.fonttype": "path", "svg.hashsalt": "figure"}


def show(fig: Figure) -> None:
    """Stamp the figure as `plots.show` does, show it as PNG and as SVG, and close it."""
    with _stamp_for(fig.get_figwidth()):
        png = plots.png(fig)
    display({PNG: base64.b64encode(png).decode(), SVG: as_svg(fig)}, raw=True)


@contextmanager
def _stamp_for(inches: float) -> Iterator[None]:
    """Break the stamp's lines anew for a figure that is narrower than a page, for as long as the block runs."""
    stamp = plots.stamp("")
    plots.stamp("\n".join(textwrap.wrap(stamp, int(STAMP_WIDTH * min(1.0, inches / PAGE)))))
    try:
        yield
    finally:
        plots.stamp(stamp)


def as_svg(fig: Figure) -> str:
    """Return a figure as SVG; clouds of many points in it are pixels."""
    for cloud in fig.findobj(PathCollection):
        if len(cloud.get_offsets()) > MOST_POINTS:  # pyright: ignore[reportArgumentType]
            cloud.set_rasterized(True)
    buffer = io.StringIO()
    with mpl.rc_context(_SVG):  # pyright: ignore[reportArgumentType]
        fig.savefig(buffer, format="svg", dpi=DPI, metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def leave_out_heavy(cells: list[dict]) -> None:
    """Take vectors that weigh more than `HEAVY` out of a chapter's cells, in place."""
    for data in (output.get("data", {}) for cell in cells for output in cell.get("outputs", ())):
        if len("".join(data.get(SVG, "")).encode()) > HEAVY:
            del data[SVG]


def set_aside(cells: list[dict], pages: Path) -> None:
    """Take the vectors out of a chapter's cells, in place, into a folder below the pages."""
    for output in (output for cell in cells for output in cell.get("outputs", ())):
        data = output.get("data", {})
        if svg := data.pop(SVG, None):
            (pages / FOLDER).mkdir(parents=True, exist_ok=True)
            (pages / FOLDER / f"{_name(data[PNG])}.svg").write_text("".join(svg), encoding="utf-8")


def _name(png: str | list[str]) -> str:
    """What MyST-NB calls the file of a picture, without its ending: a sum over its bytes."""
    return hashlib.sha256(base64.b64decode("".join(png))).hexdigest()

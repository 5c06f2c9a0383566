"""Figures as vectors beside their pixels: pages show the PNG, the printed book the SVG.

Here and not in `cifar_utils.measure.plots`, since how a figure is printed decides no number of any chapter.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
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

#: Where a drawing says places; scales and opacities are told elsewhere, and stay as they are.
_PLACES, _DECIMALS = re.compile(r'\b(d|x|y|points)="([^"]*)"'), re.compile(r"-?\d+\.\d+")


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


def compact(svg: str) -> str:
    """Return an SVG that looks the same and weighs less in a notebook: hundredths of a point, one line, no comments.

    A notebook keeps a picture line by line, and puts a sign before each quotation mark.
    """
    without = re.sub(r">\s+<", "><", re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL))
    rounded = _PLACES.sub(lambda at: f'{at[1]}="{" ".join(_DECIMALS.sub(_hundredths, at[2]).split())}"', without)
    return rounded if "'" in rounded else rounded.replace('"', "'")


def _hundredths(number: re.Match) -> str:
    text = f"{float(number[0]):.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def lighten(cells: list[dict]) -> None:
    """Make the vectors of a chapter's cells compact, and take out those that weigh more than `HEAVY`, in place."""
    for data in (output.get("data", {}) for cell in cells for output in cell.get("outputs", ())):
        if SVG in data and len((svg := compact("".join(data[SVG]))).encode()) > HEAVY:
            del data[SVG]
        elif SVG in data:
            data[SVG] = svg


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

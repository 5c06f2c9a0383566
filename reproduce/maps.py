"""Maps of images that a reader can touch: drawn by Bokeh, whose script a page loads when its button is pressed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from IPython.display import HTML, display

from cifar_utils.measure import plots

from .cards import render
from .sheets import ROW, sheet

if TYPE_CHECKING:
    from bokeh.models import Range1d

#: How many neighbours are shown beside an image.
NEAR = 5

#: Ten colours that people with colour blindness tell apart together with the markers.
TEN = (*plots.COLOURS[:6], "#7B3294", "#8C8C8C", "#A6611A", "#333333")

#: Bokeh's names of the markers that figures use.
_MARKERS = {"o": "circle", "s": "square", "^": "triangle", "D": "diamond", "v": "inverted_triangle", "P": "plus",
            "X": "x", "*": "star"}  # fmt: skip


def touchable(
    points: np.ndarray, classes: Sequence[int], names: Sequence[str], images: torch.Tensor, vectors: np.ndarray,
    title: str,
) -> None:  # fmt: skip
    """Show a button that opens a map under a figure: it can be moved and magnified, and every point shows its image.

    Beside the image stand those nearest to it among `vectors`, which the map was made from. Without scripts, and on
    paper, nothing of it is seen: the figure above says the same.

    Args:
        points: (N, 2), the map.
        classes: (N,), each from 0 to len(names) - 1.
        names: of the classes.
        images: (N, channels, height, width), uint8, on any device.
        vectors: (N, D).
        title: what the map shows; what is stamped on figures now stands behind it.
    """
    near = _nearest(np.asarray(vectors, np.float64))
    tiles = _tiles(images)
    columns = _places(points) | {
        "image": tiles,
        "near": ["".join(tiles[other] for other in some) for some in near],
        "classes": [", ".join(names[classes[other]] for other in some) for some in near],
    }
    told = "<b>@image{safe}<br>$name</b><br>nearest vectors: @classes<br>@near{safe}"
    _show(_Map(columns, np.asarray(classes), names, told), images, title)


def through_stages(
    stages: Mapping[str, np.ndarray], classes: Sequence[int], names: Sequence[str], images: torch.Tensor, title: str,
    again: bool = False,
) -> None:  # fmt: skip
    """Show a button that opens a map with a slider under it, which moves every point from stage to stage.

    Args:
        stages: what a stage is called, and its map (N, 2) of the same images, in the order of the slider.
        classes, names, images, title: as in `touchable`.
        again: whether `touchable` has shown a map of these very images in this chapter: the page needs them once.
    """
    places = [_places(points) for points in stages.values()]
    columns = places[0] | {f"{axis}{k}": own[axis] for k, own in enumerate(places) for axis in "xy"}
    columns["image"] = _tiles(images)
    told = _Map(columns, np.asarray(classes), names, "<b>@image{safe}<br>$name</b>", tuple(stages))
    _show(told, images, title, again)


def script() -> Path:
    """Return the file of Bokeh's script, which a book brings along."""
    import bokeh

    return Path(bokeh.__file__).parent / "server" / "static" / "js" / "bokeh.min.js"


def _nearest(vectors: np.ndarray) -> list[list[int]]:
    """Return, for each of N vectors, the places of the NEAR nearest to it, itself left out."""
    apart = torch.cdist(torch.as_tensor(vectors), torch.as_tensor(vectors)).fill_diagonal_(torch.inf)
    return apart.topk(min(NEAR, len(vectors) - 1), largest=False).indices.tolist()


def _places(points: np.ndarray) -> dict[str, list]:
    return {axis: np.asarray(points)[:, k].round(2).tolist() for k, axis in enumerate("xy")}


def _tiles(images: torch.Tensor) -> list[str]:
    """Return for each image what shows it, from the sheet of all: short, as a map has thousands."""
    return [f"<i style=--x:{k % ROW};--y:{k // ROW}></i>" for k in range(len(images))]


@dataclass(frozen=True)
class _Map:
    """What a map shows: a column has one value a point, `told` is what stands beside a point that is touched."""

    columns: dict[str, list]
    classes: np.ndarray
    names: Sequence[str]
    told: str
    stages: tuple[str, ...] = ()


def _show(drawn: _Map, images: torch.Tensor, title: str, again: bool = False) -> None:
    plots.stamp(label := plots.stamp(""))
    title += f" ({label})" if label else ""
    address = sheet(images)
    name = f"--cu-sheet-{hashlib.sha256(address.encode()).hexdigest()[:8]}"
    item = _figure(drawn, tuple(images.shape[2:]), name)
    page = {"title": title, "sheet": "" if again else address, "name": name, "item": json.dumps(item)}
    display(HTML(render("map.html.j2", **page, stages=drawn.stages)))


def _figure(drawn: _Map, size: tuple, variable: str) -> dict:
    """Return a figure as Bokeh's script wants it; `variable` is the CSS variable of the images' address."""
    from bokeh.embed import json_item  # here: only chapters with a map need it
    from bokeh.models import ColumnDataSource, HoverTool
    from bokeh.plotting import figure

    plot = figure(
        sizing_mode="scale_width", width=640, height=560, tools="pan,wheel_zoom,box_zoom,reset",
        active_scroll="wheel_zoom", toolbar_location="above", background_fill_color="white",
    )  # fmt: skip
    plot.axis.visible = plot.grid.visible = False
    if drawn.stages:  # points move, axes do not
        plot.x_range, plot.y_range = (_range(drawn, axis) for axis in "xy")
    for k, name in enumerate(drawn.names):
        own = np.flatnonzero(drawn.classes == k).tolist()
        source = ColumnDataSource({key: [values[at] for at in own] for key, values in drawn.columns.items()})
        marker = _MARKERS[plots.MARKERS[k % 8]]
        lines = marker == "x"
        plot.scatter(
            "x", "y", source=source, legend_label=name, name=name, size=9, marker=marker, alpha=0.8,
            fill_color=TEN[k % 10], line_color=TEN[k % 10] if lines else "white", line_width=2 if lines else 1,
        )  # fmt: skip
    # a tooltip has a style of its own: of the page's, only variables of the whole document reach it
    at = " ".join(f"calc(var(--{axis})*-{side}px)" for axis, side in (("x", size[1]), ("y", size[0])))
    style = (f"i{{display:inline-block;width:{size[1]}px;height:{size[0]}px;margin:1px;"
             f"background:var({variable}) {at}}} b i{{zoom:2}} div{{max-width:240px;color:#111}}")  # fmt: skip
    plot.add_tools(HoverTool(tooltips=f"<div><style>{style}</style>{drawn.told}</div>"))
    legend = plot.legend[0]
    legend.click_policy, legend.ncols, legend.label_text_font_size = "hide", 5, "12px"
    plot.add_layout(legend, "below")
    return dict(json_item(plot))


def _range(drawn: _Map, axis: str) -> Range1d:
    """Return the range of an axis on which all stages of a map lie."""
    from bokeh.models import Range1d

    values = [value for k in range(len(drawn.stages)) for value in drawn.columns[f"{axis}{k}"]]
    edge = 0.05 * (max(values) - min(values))
    return Range1d(min(values) - edge, max(values) + edge)

"""One house style for every figure: readable at phone width, in print and without colour."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from ..errors import ParameterError
from .stats import Summary

#: Okabe and Ito's palette, told apart by people with colour blindness, in an order of falling contrast.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#8C8C8C")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)), (0, (3, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
HATCHES = ("", "//", "..", "xx", "\\\\", "++", "oo", "--")

_stamp = ""


def use_house_style() -> None:
    """Set matplotlib's defaults for the book's figures, whatever the user's own matplotlibrc says."""
    plt.rcdefaults()  # all but the backend
    try:
        plt.switch_backend(plt.rcParams["backend"])
    except ImportError:  # one for windows, on a machine without a screen; pictures need none
        plt.switch_backend("agg")
    plt.rcParams.update({
        "figure.figsize": (6.2, 3.6), "figure.dpi": 110, "figure.constrained_layout.use": True,
        "figure.facecolor": "white", "savefig.facecolor": "white",
        "font.size": 12, "axes.titlesize": 12, "axes.labelsize": 12, "legend.fontsize": 11,
        "axes.grid": True, "grid.alpha": 0.3, "axes.spines.top": False, "axes.spines.right": False,
        "legend.frameon": False, "lines.linewidth": 1.8, "image.cmap": "cividis",
        "axes.prop_cycle": plt.cycler(color=COLOURS),  # pyright: ignore[reportPrivateImportUsage]
    })  # fmt: skip


def stamp(text: str) -> str:
    """Write `text` onto every figure shown from now on, such as `sample data`; return what stood there before."""
    global _stamp
    before, _stamp = _stamp, text
    return before


def show(fig: Figure) -> None:
    """Stamp the figure where the run is on sample data or scaled down, show it as PNG, and close it."""
    from IPython.display import Image, display

    display(Image(data=png(fig), format="png"))


def png(fig: Figure, dpi: int = 110) -> bytes:
    """Return the stamped figure as PNG, and close it."""
    if _stamp:
        _put_stamp(fig)
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=dpi)
    plt.close(fig)
    return buffer.getvalue()


def _put_stamp(fig: Figure) -> None:
    """Write the stamp above all that the figure shows, which becomes higher by as much."""
    lines, size, margin = _stamp.count("\n") + 1, 8, 4  # of which the last two are in points
    inches = (1.25 * lines * size + 2.5 * margin) / 72
    height = fig.get_figheight() + inches
    fig.set_figheight(height)
    place = 1 - margin / 72 / fig.get_figwidth(), 1 - margin / 72 / height
    fig.text(*place, _stamp.upper(), ha="right", va="top", fontsize=size, color="#8C1C13", weight="bold", zorder=10,
             linespacing=1.2, bbox={"facecolor": "white", "edgecolor": "#8C1C13", "pad": 2})  # fmt: skip
    if (layout := fig.get_layout_engine()) is not None:
        layout.set(rect=(0, 0, 1, 1 - inches / height))  # pyright: ignore[reportCallIssue]


def curves(
    ax, runs: dict[str, Sequence[Sequence[float]]], x: Sequence[float] | None = None, ylabel: str = "",
    xlabel: str = "epoch", percent: bool = False,
) -> None:  # fmt: skip
    """Draw one line a name, the mean over runs, with a band from the least to the greatest run.

    Args:
        ax: matplotlib axes.
        runs: for each name, one sequence of values a seed; shorter ones (stopped runs) end the mean.
        x: positions; 1, 2, ... by default.
        ylabel, xlabel: labels.
        percent: values are fractions, drawn in percent.
    """
    for i, (name, values) in enumerate(runs.items()):
        if not len(values):
            raise ParameterError(f"There is no run to draw for {name!r}.")
        length = min(len(v) for v in values)
        table = np.array([v[:length] for v in values], dtype=float) * (100 if percent else 1)
        at = np.arange(1, length + 1) if x is None else np.asarray(x)[:length]
        style = {"color": COLOURS[i % 8], "linestyle": LINES[i % 8], "label": name}
        if length <= 30:
            style.update(marker=MARKERS[i % 8], markersize=4)
        ax.plot(at, table.mean(0), **style)
        if len(table) > 1:
            ax.fill_between(at, table.min(0), table.max(0), color=COLOURS[i % 8], alpha=0.18, linewidth=0)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    if len(runs) > 1:
        ax.legend()


def intervals(
    ax, rows: Mapping[str, Summary] | Mapping[str, Mapping[str, Summary]], xlabel: str = "", zero: bool = False,
    reported: Mapping[str, float] | None = None, written: str = "",
) -> None:  # fmt: skip
    """Draw means with their 95 % intervals, one row a name, the first on top.

    Args:
        ax: matplotlib axes.
        rows: summaries by name; of several series, `{"held out": {"Adam": ...}, "training": {...}}`.
        xlabel: label.
        zero: draw a line at zero, for differences.
        reported: what the report says, by name, drawn as crosses.
        written: write each mean above its mark, by a spec such as `.1f`.
    """
    series = {"": rows} if all(isinstance(row, Summary) for row in rows.values()) else rows
    names = list(dict.fromkeys(name for found in series.values() for name in found))  # pyright: ignore[reportGeneralTypeIssues]
    if not names:
        raise ParameterError("There is no row to draw.")
    step = 0.6 / len(series) if len(series) > 1 else 0.0
    for i, (label, found) in enumerate(series.items()):
        at = [names.index(name) + step * (i - (len(series) - 1) / 2) for name in found]  # pyright: ignore[reportGeneralTypeIssues]
        _means(ax, found.values(), at, i, horizontal=True, label=label or ("ours" if reported else None))  # pyright: ignore[reportAttributeAccessIssue]
        for y, s in zip(at, found.values(), strict=True) if written else ():  # pyright: ignore[reportAttributeAccessIssue]
            ax.annotate(
                f"{s:mean {written}}",
                (s.mean, y),  # pyright: ignore[reportAttributeAccessIssue]
                (0, 5),
                textcoords="offset points",
                ha="center",
                fontsize=9,
            )
    if reported:
        at = [names.index(name) for name in reported]
        ax.plot(
            [*reported.values()], at, "x", color="black", markersize=9, markeredgewidth=2, label="report", zorder=3
        )
    if zero:
        ax.axvline(0, color="black", linewidth=1)
    ax.set_yticks(range(len(names)), names)
    ax.set(xlabel=xlabel, ylim=(len(names) - 0.5, -0.5))
    ax.grid(axis="y", visible=False)
    if len(series) > 1 or reported:
        ax.legend()


def trend(
    ax, series: Mapping[str, Mapping[float, Summary]], xlabel: str = "", ylabel: str = "",
    reported: Mapping[float, float] | None = None,
) -> None:  # fmt: skip
    """Draw means with their 95 % intervals over a number, such as a learning rate or a width, one line a series.

    Args:
        ax: matplotlib axes.
        series: summaries by number, by name of the series.
        xlabel, ylabel: labels.
        reported: what the report says, by number, drawn as crosses.
    """
    for i, (label, found) in enumerate(series.items()):
        _means(ax, found.values(), list(found), i, horizontal=False, label=label or None, linestyle=LINES[i % 8])
    if reported:
        at = list(reported)
        ax.plot(
            at, [*reported.values()], "x", color="black", markersize=9, markeredgewidth=2, label="report", zorder=3
        )
    ax.set(xlabel=xlabel, ylabel=ylabel)
    if len(series) > 1 or reported:
        ax.legend()


def _means(ax, found, at: Sequence[float], i: int, horizontal: bool, **style) -> None:
    """Draw means at places of one axis, with bars to the ends of their intervals where they have any."""
    means = [s.mean for s in found]
    below, above = (
        [abs(getattr(s, end) - s.mean) if s.has_interval else 0.0 for s in found] for end in ("low", "high")
    )
    style = {
        "linestyle": "none",
        "marker": MARKERS[i % 8],
        "color": COLOURS[i % 8],
        "markersize": 6,
        "capsize": 3,
    } | style
    if horizontal:
        ax.errorbar(means, at, xerr=[below, above], **style)
    else:
        ax.errorbar(at, means, yerr=[below, above], **style)


def confusion(ax, matrix: np.ndarray, classes: Sequence[str]) -> None:
    """Draw a confusion matrix, rows true and columns predicted, with shares of each row in percent."""
    share = 100 * matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    ax.imshow(share, vmin=0, vmax=100, cmap="Blues")
    for i, j in np.ndindex(*share.shape):
        ax.text(j, i, f"{share[i, j]:.0f}", ha="center", va="center", fontsize=9,
                color="white" if share[i, j] > 55 else "black")  # fmt: skip
    ticks = range(len(classes))
    ax.set_xticks(ticks, classes, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(ticks, classes)
    ax.set(xlabel="predicted", ylabel="true")
    ax.grid(False)


def image_grid(images: np.ndarray, titles: Sequence[str] = (), columns: int = 5, size: float = 1.25) -> Figure:
    """Return a figure of images, float (N, H, W[, 3]) in 0..1 or uint8, with a title each."""
    rows = -(-len(images) // columns)
    fig, axes = plt.subplots(rows, columns, figsize=(columns * size, rows * (size + 0.25)), squeeze=False)
    for i, ax in enumerate(axes.flat):
        ax.axis("off")
        if i < len(images):
            ax.imshow(images[i], interpolation="nearest", cmap="gray")
            if i < len(titles):
                ax.set_title(titles[i], fontsize=9)
    return fig


def class_balance(ax, counts: dict[str, Sequence[int]], classes: Sequence[str]) -> None:
    """Draw how many examples each class has, one hatched bar a split."""
    width = 0.8 / len(counts)
    for i, (name, values) in enumerate(counts.items()):
        ax.bar(np.arange(len(classes)) + (i + 0.5) * width - 0.4, values, width, label=name,
               color=COLOURS[i], hatch=HATCHES[i], edgecolor="white")  # fmt: skip
    ax.set_xticks(range(len(classes)), classes, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_ylabel("examples")
    ax.legend()


def heatmap(ax, table: np.ndarray, rows: Sequence[str], columns: Sequence[str], texts=None, **imshow) -> None:
    """Draw a table of numbers as colours, with `texts` (or the numbers) written into the cells."""
    image = ax.imshow(table, aspect="auto", **imshow)
    for i, j in np.ndindex(*table.shape):
        label = f"{table[i, j]:.1f}" if texts is None else texts[i][j]
        red, green, blue, _ = image.cmap(image.norm(table[i, j]))
        dark = np.isfinite(table[i, j]) and 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
        ax.text(j, i, label, ha="center", va="center", fontsize=9, color="white" if dark else "black")
    ax.set_xticks(range(len(columns)), columns)
    ax.set_yticks(range(len(rows)), rows)
    ax.grid(False)

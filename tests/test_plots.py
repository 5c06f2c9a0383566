from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib import pyplot as plt
from PIL import Image

from cifar_utils.errors import ParameterError
from cifar_utils.measure import plots
from cifar_utils.measure.stats import summarise

ROWS = {"a": summarise([1.0, 1.2, 1.4]), "b": summarise([-1.0])}
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@pytest.fixture(autouse=True)
def style():
    plots.use_house_style()


def pixels(png: bytes) -> np.ndarray:
    """Check that `png` is of a size for a page, and return its pixels, (H, W, 3)."""
    assert png.startswith(b"\x89PNG") and len(png) < 200_000
    image = Image.open(io.BytesIO(png))
    assert 500 <= image.width <= 1600 and 200 <= image.height <= 1600
    return np.asarray(image.convert("RGB"))


def red_ink(array: np.ndarray) -> int:
    """How many pixels have the stamp's red."""
    return int((abs(array.astype(int) - [0x8C, 0x1C, 0x13]).sum(2) < 12).sum())


def is_stamped(array: np.ndarray) -> bool:
    """Whether the stamp's red is in the upper right corner."""
    return red_ink(array[: array.shape[0] // 8, array.shape[1] // 2 :]) > 20


def draw_curves():
    fig, ax = plt.subplots()
    plots.curves(ax, {"train": [[1, 2, 3], [2, 3, 4]], "val": [[3, 2, 1]]}, ylabel="loss")
    return fig


def draw_confusion():
    fig, ax = plt.subplots(figsize=(6.2, 5.6))
    plots.confusion(ax, np.random.default_rng(0).integers(0, 900, (10, 10)), CLASSES)
    return fig


def draw_grid():
    return plots.image_grid(np.random.default_rng(0).random((10, 32, 32, 3)), CLASSES)


def draw_balance():
    fig, ax = plt.subplots()
    plots.class_balance(ax, {"train": [4500] * 10, "val": [500] * 10, "test": [1000] * 10}, CLASSES)
    return fig


def draw_intervals():
    fig, ax = plt.subplots()
    plots.intervals(ax, {"held out": ROWS, "training": {"b": ROWS["b"]}}, "points", zero=True, reported={"a": 2.0})
    return fig


def draw_trend():
    fig, ax = plt.subplots()
    plots.trend(ax, {"Adam": {0.1: ROWS["a"], 1.0: ROWS["b"]}}, "rate", "accuracy in %", reported={0.1: 1.5})
    return fig


def draw_heatmap():
    fig, ax = plt.subplots()
    plots.heatmap(ax, np.arange(6.0).reshape(2, 3), ["32", "64"], ["0.1", "0.01", "0.001"])
    return fig


@pytest.mark.parametrize(
    "draw", [draw_curves, draw_confusion, draw_grid, draw_balance, draw_heatmap, draw_intervals, draw_trend]
)
def test_figures_are_png_of_a_sensible_size_and_are_stamped(draw):
    plain = pixels(plots.png(draw()))
    assert plain.std() > 5 and not is_stamped(plain)
    assert not plt.get_fignums()  # closed
    plots.stamp("sample data")
    stamped = pixels(plots.png(draw()))
    added = len(stamped) - len(plain)
    assert stamped.shape[1] == plain.shape[1] and 15 < added < 60
    assert red_ink(stamped[:added]) > 100 and red_ink(stamped[added:]) < red_ink(plain) + 20  # it covers nothing
    plots.stamp("")
    assert np.array_equal(pixels(plots.png(draw())), plain)


def test_a_users_own_settings_and_screen_do_not_matter():
    plain = pixels(plots.png(draw_curves()))
    plt.rcParams.update({"text.usetex": True, "font.size": 30, "lines.linestyle": "", "savefig.bbox": "tight"})
    plots.use_house_style()
    assert np.array_equal(pixels(plots.png(draw_curves())), plain)
    plt.rcParams["backend"] = "module://a_backend_that_is_not_there"
    plots.use_house_style()
    assert np.array_equal(pixels(plots.png(draw_curves())), plain)


def test_show_displays_one_png(monkeypatch):
    import IPython.display

    shown = []
    monkeypatch.setattr(IPython.display, "display", shown.append)
    plots.show(draw_curves())
    assert len(shown) == 1 and shown[0].data.startswith(b"\x89PNG")


def test_curves_mean_and_band_over_seeds():
    _, ax = plt.subplots()
    plots.curves(ax, {"ours": [[0.1, 0.2], [0.3, 0.6]]}, percent=True, ylabel="accuracy", xlabel="pass")
    (line,) = ax.lines
    assert np.allclose(line.get_ydata(), [20, 40]) and list(line.get_xdata()) == [1, 2]
    (band,) = ax.collections
    corners = band.get_paths()[0].vertices
    assert np.isclose(corners[:, 1].min(), 10) and np.isclose(corners[:, 1].max(), 60)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("pass", "accuracy") and ax.get_legend() is None


def test_curves_of_one_seed_have_no_band_and_many_names_a_legend():
    _, ax = plt.subplots()
    plots.curves(ax, {f"run {i}": [[1, 2, 3]] for i in range(10)}, x=[10, 20, 30])
    assert not ax.collections and len(ax.get_legend().get_texts()) == 10
    assert list(ax.lines[0].get_xdata()) == [10, 20, 30]
    looks = {(line.get_color(), str(line.get_linestyle()), line.get_marker()) for line in ax.lines[:8]}
    assert len({look[1:] for look in looks}) == 8  # told apart without colour


def test_curves_of_unequal_lengths_end_with_the_shortest():
    _, ax = plt.subplots()
    plots.curves(ax, {"stopped": [[1, 2, 3, 4], [3, 4]]}, x=[1, 2, 3, 4])
    assert list(ax.lines[0].get_ydata()) == [2, 3] and list(ax.lines[0].get_xdata()) == [1, 2]


def test_curves_without_a_run():
    _, ax = plt.subplots()
    with pytest.raises(ParameterError, match="no run to draw for 'ours'"):
        plots.curves(ax, {"ours": []})


def bars_of(ax, container: int) -> np.ndarray:
    """Return the ends of a series' bars, (rows, ends, 2)."""
    return np.array(ax.containers[container].lines[2][0].get_segments())


def test_intervals_have_a_row_a_name_the_first_on_top():
    _, ax = plt.subplots()
    plots.intervals(ax, ROWS, "gain, points", zero=True, written="+.1f")
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "b"] and ax.get_ylim() == (1.5, -0.5)
    points = ax.containers[0].lines[0]
    assert np.allclose(points.get_xdata(), [1.2, -1.0]) and list(points.get_ydata()) == [0, 1]
    (low, high), (same, too) = bars_of(ax, 0)[:, :, 0]
    assert (low, high) == (pytest.approx(ROWS["a"].low), pytest.approx(ROWS["a"].high)) and same == too == -1
    assert [t.get_text() for t in ax.texts] == ["+1.2", "−1.0"] and ax.get_xlabel() == "gain, points"
    assert any(np.allclose(line.get_xdata(), 0) for line in ax.lines) and ax.get_legend() is None


def test_intervals_of_several_series_lie_beside_each_other_and_in_the_order_of_the_names():
    ax = draw_intervals().axes[0]
    first, second = (c.lines[0].get_ydata() for c in ax.containers)
    assert list(first) == [-0.15, 0.85] and list(second) == [1.15]
    assert sorted(t.get_text() for t in ax.get_legend().get_texts()) == ["held out", "report", "training"]
    looks = [(c.lines[0].get_color(), c.lines[0].get_marker()) for c in ax.containers]
    assert len({look[0] for look in looks}) == len({look[1] for look in looks}) == 2
    (cross,) = (line for line in ax.lines if line.get_marker() == "x")
    assert list(cross.get_xdata()) == [2.0] and list(cross.get_ydata()) == [0]


def test_intervals_without_a_row():
    _, ax = plt.subplots()
    for rows in ({}, {"held out": {}}):
        with pytest.raises(ParameterError, match="no row to draw"):
            plots.intervals(ax, rows)


def test_a_trend_has_its_numbers_on_the_x_axis_and_bars_upright():
    ax = draw_trend().axes[0]
    points = ax.containers[0].lines[0]
    assert list(points.get_xdata()) == [0.1, 1.0] and np.allclose(points.get_ydata(), [1.2, -1.0])
    assert bars_of(ax, 0)[0, :, 1] == pytest.approx([ROWS["a"].low, ROWS["a"].high])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("rate", "accuracy in %")


def test_a_stamp_gives_back_what_stood_there():
    assert (plots.stamp("one"), plots.stamp("two"), plots.stamp("")) == ("", "one", "two")


def test_confusion_writes_shares_of_each_row():
    _, ax = plt.subplots()
    plots.confusion(ax, np.array([[8, 2], [0, 0]]), ["cat", "dog"])
    assert [t.get_text() for t in ax.texts] == ["80", "20", "0", "0"]
    assert [t.get_color() for t in ax.texts] == ["white", "black", "black", "black"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["cat", "dog"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted", "true")


@pytest.mark.parametrize("shape", [(7, 32, 32, 3), (7, 28, 28)])
def test_image_grid_leaves_the_rest_empty(shape):
    images = np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8)
    fig = plots.image_grid(images, ["a", "b"], columns=5)
    assert len(fig.axes) == 10 and [len(ax.images) for ax in fig.axes] == [1] * 7 + [0] * 3
    assert [ax.get_title() for ax in fig.axes[:3]] == ["a", "b", ""]
    assert not any(ax.axison for ax in fig.axes)


def test_class_balance_has_a_hatch_for_each_split():
    fig = draw_balance()
    bars = fig.axes[0].patches
    assert len(bars) == 30 and len({bar.get_hatch() for bar in bars}) == 3
    assert [bar.get_height() for bar in bars[:10]] == [4500] * 10
    assert [t.get_text() for t in fig.axes[0].get_legend().get_texts()] == ["train", "val", "test"]


def test_heatmap_writes_numbers_or_texts_and_survives_nan():
    _, ax = plt.subplots()
    table = np.array([[0.0, 1.0], [np.nan, 10.0]])
    plots.heatmap(ax, table, ["a", "b"], ["c", "d"])
    assert [t.get_text() for t in ax.texts] == ["0.0", "1.0", "nan", "10.0"]
    assert ax.texts[0].get_color() == "white" and ax.texts[3].get_color() == "black"  # cividis is dark at 0
    assert ax.texts[2].get_color() == "black"
    _, ax = plt.subplots()
    plots.heatmap(ax, table, ["a", "b"], ["c", "d"], texts=[["w", "x"], ["diverged", "z"]])
    assert [t.get_text() for t in ax.texts] == ["w", "x", "diverged", "z"]

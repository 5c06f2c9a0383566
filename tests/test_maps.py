"""Maps that can be touched: what a page gets, from which a browser needs nothing but Bokeh's script beside it."""

import base64
import io
import json
import re
from html import unescape

import numpy as np
import pytest
import torch
from PIL import Image

from cifar_utils.measure import plots
from reproduce import maps, sheets
from reproduce.book.chapter_page import _opened_apart


@pytest.fixture
def shown(monkeypatch):
    found = []
    monkeypatch.setattr(maps, "display", found.append)
    g = torch.Generator().manual_seed(0)
    images = torch.randint(256, (45, 3, 8, 8), generator=g, dtype=torch.uint8)
    points = np.random.default_rng(0).normal(size=(45, 2))

    def show(stamp="", **changes):
        given = {"points": points, "classes": np.arange(45) % 3, "names": ("a<b", "cat", "dog"), "images": images,
                 "vectors": points, "title": "A map"}  # fmt: skip
        before = plots.stamp(stamp)
        maps.touchable(**given | changes)
        plots.stamp(before)
        return found[-1].data, given | changes

    return show


def test_a_map_holds_every_point_with_its_class_and_its_neighbours(shown):
    html, given = shown()
    item = json.loads(re.search(r'<script type="application/json">(.*?)</script>', html, re.S)[1])
    sources = json.dumps(item)
    for name in ("a<b", "cat", "dog"):
        assert name in sources
    x = sorted(v for column in re.findall(r'"x", (\[[-\d., ]+\])', sources) for v in json.loads(column))
    assert x == sorted(given["points"][:, 0].round(2).tolist())
    near = maps._nearest(given["vectors"])
    apart = np.linalg.norm(given["vectors"][:, None] - given["vectors"][None], axis=2) + 1e9 * np.eye(45)
    assert (np.array(near) == apart.argsort(1)[:, : maps.NEAR]).all()


def test_the_sheet_of_images_is_a_picture_with_each_at_its_place(shown):
    html, given = shown()
    address = re.search(r'data-sheet="data:image/webp;base64,([^"]+)"', html)[1]
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(address))).convert("RGB"), float)
    assert sheet.shape == (3 * 8, sheets.ROW * 8, 3)
    own = given["images"][21].numpy().transpose(1, 2, 0)
    assert abs(sheet[8:16, 8:16].mean((0, 1)) - own.mean((0, 1))).max() < 12  # lossy
    assert sheet[16:, 5 * 8 + 2 :].mean() < 12


def test_grey_images_and_few_points_have_a_map_too(shown):
    few = {"points": np.eye(3)[:, :2], "vectors": np.eye(3), "classes": [0, 1, 1]}
    html, _ = shown(images=torch.zeros(3, 1, 28, 28, dtype=torch.uint8), **few)
    assert "<i style=--x:1;--y:0>" in html and "calc(var(--x)*-28px)" in html


def test_a_map_says_what_figures_are_stamped_with(shown):
    assert "Touch this map: A map (sample data)</button>" in shown("sample data")[0]
    assert "Touch this map: A map</button>" in shown()[0]


def test_nothing_in_a_map_ends_its_script_early(shown):
    html, _ = shown(names=("</script><b>", "cat", "dog"))
    assert html.count("</script>") == 1


def test_maps_stand_below_the_figure_of_their_cell_outside_its_caption(shown):
    html = {"output_type": "display_data", "metadata": {}, "data": {"text/html": shown()[0]}}
    png = {"output_type": "display_data", "metadata": {}, "data": {"image/png": ""}}
    cell = {"cell_type": "code", "id": "7", "metadata": {"mystnb": {"figure": {"caption": "A figure"}}}, "source": "",
            "outputs": [png, html]}  # fmt: skip
    figure, below = _opened_apart(cell)
    assert (figure["outputs"], below["outputs"]) == ([png], [html]) and "mystnb" not in below["metadata"]
    assert _opened_apart(figure) == [figure] and below["id"] == "opened-7"


def test_the_script_that_a_book_brings_along_is_there():
    assert maps.script().stat().st_size > 100_000


def test_a_slider_has_every_stage_with_all_places_and_axes_that_hold_them(monkeypatch):
    found = []
    monkeypatch.setattr(maps, "display", found.append)
    places = np.random.default_rng(1).normal(size=(3, 45, 2)) * [[[1]], [[5]], [[40]]]
    stages = {name: at for name, at in zip(('"untrained"', "100", "300"), places, strict=True)}
    images = torch.zeros(45, 3, 8, 8, dtype=torch.uint8)
    maps.through_stages(stages, np.arange(45) % 3, ("cat", "dog", "ox"), images, "A map", again=True)
    html = found[0].data
    named = re.search(r'max="2" value="0" data-stages="([^"]*)"', html)[1]
    assert json.loads(unescape(named)) == list(stages) and "data-sheet" not in html
    told = json.dumps(json.loads(re.search(r'<script type="application/json">(.*?)</script>', html, re.S)[1]))
    for k, at in enumerate(places):
        for axis in (0, 1):
            column = re.findall(rf'"{"xy"[axis]}{k}", (\[[-\d., ]+\])', told)
            assert sorted(v for each in column for v in json.loads(each)) == sorted(at[:, axis].round(2).tolist())
    (low, high) = (min(places[2].ravel()), max(places[2].ravel()))
    ends = [float(v) for v in re.findall(r'"(?:start|end)": (-?[\d.]+)', told)]
    assert min(ends) < low and max(ends) > high

"""Figures as vectors: beside the pixels in a run, apart from a page's weight, and in the printed book."""

import base64
import io
import json
from contextlib import nullcontext

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from cifar_utils.measure import plots
from reproduce import vectors
from reproduce.book import pdf
from reproduce.vectors import MOST_POINTS, PNG, SVG


def line():
    fig, ax = plt.subplots()
    ax.plot([1, 2, 3], [3, 1, 2])
    return fig


@pytest.fixture
def shown(monkeypatch):
    outputs = []
    monkeypatch.setattr(vectors, "display", lambda data, raw: outputs.append(data))
    return outputs


@pytest.mark.parametrize(("inches", "lines"), [(6.2, 2), (3.1, 4)])
def test_a_stamp_has_shorter_lines_on_a_narrower_figure(shown, inches, lines):
    fig = line()
    fig.set_figwidth(inches)
    told = "scaled down: width 16, 10,000 images and 120 iterations instead of\n64, 40,000 and 1,000; "
    told += "batch 128 instead of 512"
    before = plots.stamp(told)
    try:
        vectors.show(fig)
        assert plots.stamp(told) == told  # others find it as it was
    finally:
        plots.stamp(before)
    [text] = [t.get_text() for t in fig.texts]
    assert text.count("\n") == lines - 1 and text.split() == told.upper().split()


def test_a_figure_is_shown_as_pixels_and_as_vectors_with_its_stamp(shown):
    vectors.show(line())
    before = plots.stamp("sample data")
    try:
        vectors.show(line())
    finally:
        plots.stamp(before)
    plain, stamped = shown
    assert base64.b64decode(plain[PNG])[:4] == b"\x89PNG" and not plt.get_fignums()
    assert "<svg" in plain[SVG] and "<image" not in plain[SVG] and "<text" not in plain[SVG]
    assert len(stamped[SVG]) > len(plain[SVG]) and "#8c1c13" in stamped[SVG]


def test_the_same_figure_gives_the_same_vectors(shown):
    vectors.show(line())
    vectors.show(line())
    assert shown[0] == shown[1]


@pytest.mark.parametrize("points, as_pixels", [(MOST_POINTS, False), (MOST_POINTS + 1, True)])
def test_a_cloud_of_many_points_stays_pixels(points, as_pixels):
    fig, ax = plt.subplots()
    ax.scatter(*np.random.default_rng(0).normal(size=(2, points)))
    assert ("<image" in vectors.as_svg(fig)) == as_pixels
    plt.close(fig)


def test_what_weighs_too_much_is_published_as_pixels_alone():
    of = lambda size: {"outputs": [{"data": {PNG: "", SVG: "x" * size}}]}  # noqa: E731
    cells = [of(vectors.HEAVY), of(vectors.HEAVY + 1), {"source": "text"}]
    vectors.lighten(cells)
    assert [set(c["outputs"][0]["data"]) for c in cells[:2]] == [{PNG, SVG}, {PNG}]


def test_vectors_weigh_less_and_look_the_same(browser):
    fig, ax = plt.subplots()
    ax.plot(np.random.default_rng(0).normal(size=300).cumsum(), label="a walk of $\\sqrt{n}$")
    ax.legend()
    whole = vectors.as_svg(fig)
    plt.close(fig)
    light = vectors.compact(whole)
    assert len(json.dumps(light)) < 0.8 * len(json.dumps(whole)) and light.count("\n") < 5
    page = browser.new_page(viewport={"width": 620, "height": 400})
    seen = []
    for svg in (whole, light):
        page.set_content(f"<body style='margin: 0'>{svg[svg.index('<svg') :]}</body>")
        seen.append(np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("L"), np.int16))
    page.close()
    assert seen[0].std() > 5 and np.abs(seen[0] - seen[1]).mean() < 0.5


def test_a_page_is_sent_without_vectors_and_printed_with_them(tmp_path, monkeypatch, browser, shown):
    pypdf = pytest.importorskip("pypdf")
    vectors.show(line())
    cells = [{"outputs": [{"data": dict(shown[0])}]}, {"source": "text"}, {"outputs": [{"data": {"text/plain": ""}}]}]
    pixels = tmp_path / "_images" / "without.png"
    pixels.parent.mkdir()
    pixels.write_bytes(base64.b64decode(shown[0][PNG]))
    vectors.set_aside(cells, tmp_path)
    assert set(cells[0]["outputs"][0]["data"]) == {PNG}
    (svg,) = (tmp_path / vectors.FOLDER).iterdir()
    (pixels.parent / f"{svg.stem}.png").write_bytes(pixels.read_bytes())
    for name in ("without", svg.stem):
        page = f'<title>{name}</title><img src="_images/{name}.png" width="682" height="396">'
        (tmp_path / f"{name}.html").write_text(page, encoding="utf-8")
    monkeypatch.setattr(pdf, "_in_order", lambda: ["without", svg.stem])
    monkeypatch.setattr(pdf, "_browser", lambda: nullcontext(browser))
    printed = pypdf.PdfReader(io.BytesIO(pdf.write(tmp_path).read_bytes()))
    assert [len(page.images) for page in printed.pages] == [1, 0]

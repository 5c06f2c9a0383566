"""What opens under a figure, in a browser, from a file alone: a matrix by pointer and keys, a map by its slider."""

import shutil

import numpy as np
import pytest
import torch

from cifar_utils.paths import root
from reproduce import maps, matrices

NAMES = ("cat", "dog", "ox")
TRUE = torch.arange(90) % 3
#: Every third cat is taken for a dog by both networks, one more by the second alone; oxen are never missed.
ANSWERS = torch.stack([TRUE, TRUE])
ANSWERS[:, 0:90:9] = 1
ANSWERS[1, 3] = 1
IMAGES = (80 * TRUE + 40).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 8, 8)


@pytest.fixture(params=[(1280, 800), (390, 844)], ids=["desktop", "phone"])
def page(request, browser, tmp_path):
    """A page with a matrix and a map with a slider, opened from a file; it notes whatever goes wrong in it."""
    shutil.copytree(root() / "book" / "_static", tmp_path / "_static")
    shutil.copyfile(maps.script(), tmp_path / "_static" / "bokeh.min.js")
    places = np.random.default_rng(0).normal(size=(3, 90, 2)) * [[[1]], [[10]], [[30]]]
    stages = {f"{n} iterations": at for n, at in zip((0, 100, 300), places, strict=True)}
    with pytest.MonkeyPatch.context() as patch:
        shown = []
        for module in (maps, matrices):
            patch.setattr(module, "display", shown.append)
        printed = matrices.Printed(np.array([[5, 2], [1, 7]]), ("no", "yes"), "The report's.")
        matrices.openable(TRUE, ANSWERS, NAMES, IMAGES, "A matrix", printed)
        maps.touchable(places[0], TRUE, NAMES, IMAGES, places[0], "A map")
        maps.through_stages(stages, TRUE, NAMES, IMAGES, "A course", again=True)
    head = "".join(f'<script src="_static/{name}.js"></script>' for name in ("maps", "matrices"))
    head += '<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>A page</title>'
    body = f"<main><h1>A page</h1>{''.join(each.data for each in shown)}</main>"
    whole = f'<!doctype html><html lang="en">{head}<link rel="stylesheet" href="_static/style.css">{body}</html>'
    (tmp_path / "page.html").write_text(whole, encoding="utf-8")
    width, height = request.param
    context = browser.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce")
    tab = context.new_page()
    tab.trouble = []
    tab.on("console", lambda m: tab.trouble.append(m.text) if m.type == "error" else None)
    tab.on("pageerror", lambda error: tab.trouble.append(str(error)))
    tab.goto((tmp_path / "page.html").as_uri())
    yield tab
    context.close()


def opened(page):
    matrix = page.locator(".cu-matrix")
    matrix.get_by_role("button", name="Open this matrix").click()
    return matrix


def test_a_chosen_cell_shows_its_count_and_its_images(page):
    matrix = opened(page)
    wrong = matrix.get_by_role("button", name="cat taken for dog: 21 of 60 answers, 35 %")
    wrong.click()
    told = matrix.locator(".cu-matrix-images")
    assert "All 11 images" in told.inner_text() and told.locator("li").count() == 11
    assert [each.inner_text() for each in told.locator("small").all()].count("1 of 2") == 1
    seen = told.locator("i").first.evaluate(
        "e => [getComputedStyle(e).backgroundImage, e.getBoundingClientRect().width]"
    )
    assert seen[0].startswith('url("data:image/webp') and seen[1] > 40
    assert wrong.get_attribute("aria-pressed") == "true" and not page.trouble


def test_a_matrix_is_a_table_whose_cells_keys_reach(page):
    matrix = opened(page)
    assert matrix.locator("table").nth(0).locator("th[scope=col]").all_inner_texts() == [*NAMES]
    page.keyboard.press("Tab")
    focus = "document.activeElement.getAttribute('aria-label')"
    assert page.evaluate(focus).startswith("cat recognised: 39 of 60")
    page.keyboard.press("ArrowRight")
    assert page.evaluate(focus).startswith("cat taken for dog")
    page.keyboard.press("ArrowDown")
    assert page.evaluate(focus).startswith("dog recognised")
    page.keyboard.press("ArrowRight")  # no dog is taken for an ox: there is nothing to go to
    assert page.evaluate(focus).startswith("dog recognised")
    page.keyboard.press("Enter")
    assert "The first 24 of 30 images" in matrix.locator(".cu-matrix-images").inner_text()
    page.keyboard.press("Tab")
    assert not page.evaluate("document.activeElement.closest('.cu-matrix')"), "one stop in the order of tabs"


def test_the_reports_matrix_stands_beside_and_nothing_is_wider_than_the_page(page):
    matrix = opened(page)
    assert "The report's." in matrix.locator("table").nth(1).inner_text()
    assert (
        matrix.locator("table").nth(1).locator("td span").first.get_attribute("title")
        == "no recognised: 5 of 7, 71 %"
    )
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert page.locator(".cu-matrix-place").is_visible()
    matrix.get_by_role("button", name="Open this matrix").click()
    assert not page.locator(".cu-matrix-place").is_visible()


def test_on_paper_nothing_of_it_is_printed(page):
    opened(page)
    page.emulate_media(media="print")
    assert not page.locator(".cu-matrix").is_visible() and not page.locator(".cu-map").first.is_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_in_an_open_matrix(page, theme):
    from axe_playwright_python.sync_playwright import Axe

    ground = {"light": "background: #fff; color: #222", "dark": "background: #14181e; color: #ced6dd"}[theme]
    html = page.locator("html")
    html.evaluate("(e, theme) => { e.dataset.theme = theme }", theme)
    html.evaluate("(e, style) => { e.style = style }", f"color-scheme: {theme}; {ground}")
    matrix = opened(page)
    matrix.locator("td button").nth(1).click()
    found = Axe().run(page, context=".cu-matrix", options={"resultTypes": ["violations"]}).response["violations"]
    assert not [f"{v['id']} at {v['nodes'][0]['target']}" for v in found]


def test_the_slider_moves_every_point_to_its_stage(page):
    course = page.locator(".cu-map").nth(1)
    course.get_by_role("button", name="Move this map").click()
    course.locator("canvas").first.wait_for()
    slider = course.get_by_role("slider")
    assert slider.get_attribute("aria-valuetext") == "0 iterations"
    places = "() => { const all = Bokeh.documents.at(-1).roots()[0].renderers.map(r => r.data_source.data);" \
             " return all.map(d => [d.x, d.x0, d.x2].map(each => [...each])) }"  # fmt: skip
    assert all(x == first for x, first, _ in page.evaluate(places))
    slider.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(300)
    assert slider.get_attribute("aria-valuetext") == "300 iterations"
    assert course.locator("output").inner_text() == "300 iterations"
    moved = page.evaluate(places)
    assert all(np.allclose(x, last) and not np.allclose(x, first) for x, first, last in moved)
    assert not page.trouble


#: Where on the sheet each image lies that a tooltip shows, in whatever shadow it stands.
TILES = """() => {
  const found = [];
  const walk = root => root.querySelectorAll("*").forEach(each => {
    if (each.shadowRoot) walk(each.shadowRoot);
    const style = each.localName === "i" && getComputedStyle(each);
    if (style && style.backgroundImage.startsWith("url(")) found.push([style.backgroundPosition, style.width]);
  });
  walk(document);
  return found;
}"""


def test_a_point_shows_its_image_and_those_nearest_each_at_its_place_on_the_sheet(page):
    touched = page.locator(".cu-map").first
    touched.get_by_role("button", name="Touch this map").click()
    canvas = touched.locator("canvas").first
    canvas.wait_for()
    page.wait_for_timeout(500)
    canvas.evaluate("canvas => canvas.scrollIntoView({ block: 'center', behavior: 'instant' })")
    box, shown = canvas.bounding_box(), []
    for x, y in ((x / 16, y / 16) for y in range(3, 13) for x in range(3, 13)):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
        page.wait_for_timeout(40)
        if shown := page.evaluate(TILES):
            break
    own = {f"-{8 * (k % 20)}px -{8 * (k // 20)}px".replace("-0px", "0px") for k in range(90)}
    assert len(shown) % 6 == 0 and shown and {place for place, _ in shown} <= own and len({*map(tuple, shown)}) >= 5
    assert {width for _, width in shown} == {"8px"} and not page.trouble

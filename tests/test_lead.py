"""The figure that answers a chapter stands above its first section."""

import json

import pytest

from cifar_utils.paths import chapters, notebook_path, root
from reproduce.book.lead import LEAD, figure_first, leads
from reproduce.book.opening import IN_SHORT_BOX

CHAPTER = "a1_q1_softmax_regression"


def picture(cell_id, caption="Loss over the *epochs* & seeds, of {term}`runs`. Bands: all seeds.", name="fig-one"):
    figure = {"caption": caption, "name": name} if name else {"caption": caption}
    told = {"figure": figure, "image": {"alt": "A line."}}
    output = {"output_type": "display_data", "data": {"image/png": "AAAA"}, "metadata": {}}
    return {"cell_type": "code", "id": cell_id, "source": "plot()", "metadata": {"mystnb": told}, "outputs": [output]}


def page(*more):
    text = lambda source: {"cell_type": "markdown", "id": source[:3], "source": source, "metadata": {}}  # noqa: E731
    return [text("# A title"), text(f"{IN_SHORT_BOX}The answer.\n::::"), text("## First section"), *more]


def test_the_figure_is_shown_below_the_answer_and_links_to_its_place():
    chosen = picture(leads()[CHAPTER])
    title, short, shown, caption, *rest = figure_first(page(chosen), CHAPTER)
    assert short["source"].startswith(IN_SHORT_BOX) and rest == page(chosen)[2:]
    assert shown["outputs"] == chosen["outputs"] and LEAD in shown["metadata"]["tags"]
    assert shown["metadata"]["mystnb"] == {"image": {"alt": "A line."}}  # its name is the figure's own
    assert (
        'href="#fig-one"' in caption["source"]
        and "Loss over the epochs &amp; seeds, of runs. <a" in caption["source"]
    )


@pytest.mark.parametrize("cells", [page(picture("another")), page(picture(leads()[CHAPTER], name=None)), page()[:1]])
def test_a_run_without_that_figure_stays_as_it_is(cells):
    assert figure_first(cells, CHAPTER) == cells


def test_every_chapter_has_one_that_it_draws():
    assert set(leads()) == set(chapters())
    for name, chosen in leads().items():
        cells = json.loads(notebook_path(name).read_text(encoding="utf-8"))["cells"]
        figure = next(cell for cell in cells if cell["id"] == chosen)["metadata"]["mystnb"]["figure"]
        assert figure["caption"] and figure["name"], name


def test_every_published_chapter_shows_it():
    for path in sorted((root() / "book" / "chapters").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        chosen = next(cell for cell in cells if cell.get("id") == leads()[path.stem])
        assert any("image/png" in output.get("data", {}) for output in chosen["outputs"]), path.stem

"""What a reader meets first on a chapter's page, what pages compare, and the last touches on their HTML."""

import base64
import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from cifar_utils.errors import LedgerError
from cifar_utils.paths import root
from reproduce import params
from reproduce.book import comparison, html_pages, parts, share
from reproduce.book.chapter_page import _named
from reproduce.book.edition import Edition
from reproduce.book.opening import Facts, answer_first, facts
from reproduce.ledger import LITERATURE
from reproduce.verdict import Verdict

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
RECORD = {
    "notebook": "a1_q1_softmax_regression", "report": "a1", "question": "Question 1", "profile": "quick",
    "sample": False, "started": "2026-11-21 10:00 UTC", "duration_s": 90.0, "parameters": {"seeds": 3},
    "data": {}, "environment": {"commit": "0123456789", "device": "CPU", "torch": "2", "python": "3"},
}  # fmt: skip
ABOUT = Facts({Verdict.REPRODUCED: 3}, 7, "python -m reproduce run x", "Cited so.", "12: 2 h on a GPU")


def code(cell_id, source, *outputs, tags=()):
    return {"cell_type": "code", "id": cell_id, "metadata": {"tags": list(tags)}, "source": source,
            "outputs": list(outputs)}  # fmt: skip


def text(cell_id, source, *tags):
    return {"cell_type": "markdown", "id": cell_id, "metadata": {"tags": list(tags)}, "source": source}


def html(source):
    return {"output_type": "display_data", "metadata": {}, "data": {"text/html": source}}


def opening():
    return [
        text("t", "# A title\n\nText."),
        text("s", "**The report says** so.", "in-short"),
        code("p", "# fmt: off\nseeds = 3", tags=["parameters"]),
        code("i", "# Parameters\nseeds = 5", tags=["injected-parameters"]),
        code("c", "run = chapter.start()", html('<dl class="cu-card">old</dl>'), html("glued")),
        text("n", "## More"),
    ]


def test_the_card_comes_before_the_code_and_the_answer_before_the_card():
    cells = answer_first(opening(), RECORD, ABOUT)
    assert [cell["id"] for cell in cells] == ["t", "s", "c", "setup", "n"]
    assert cells[1]["source"].startswith("::::{admonition} In short") and "so." in cells[1]["source"]
    card, glued = (output["data"]["text/html"] for output in cells[2]["outputs"])
    assert (
        "3 reproduced" in card and "about 7 min" in card and "python -m reproduce run x" in card and "old" not in card
    )
    assert glued == "glued", "what else the cell said stays"
    assert cells[2]["metadata"]["tags"] == ["remove-input"]
    assert cells[3]["source"] == "seeds = 3\n\n# Parameters\nseeds = 5\n\nrun = chapter.start()"


@pytest.mark.parametrize("change", ["no card", "text between"])
def test_a_notebook_that_begins_otherwise_stays_as_it_is(change):
    cells = opening()
    if change == "no card":
        cells[4]["outputs"] = []
    else:
        cells.insert(3, text("between", "Text."))
    assert answer_first(cells, RECORD, ABOUT) == cells


def test_reading_takes_as_long_as_there_are_words_to_read_and_no_longer():
    cells = [text("t", "# A title\n\n" + "word " * 480), text("f", "```python\n" + "x = 1\n" * 2000 + "```")]
    told = facts({"cells": cells}, RECORD, [])
    assert told.minutes == 2
    assert told.citation == "Five Reports, Rerun. “A title”, version of 2026-11-21 (commit 0123456789)."


@pytest.mark.parametrize(("caption", "prompt"), [
    ("Accuracy over epochs, with stars. More.", "Show the code: Accuracy over epochs, with stars"),
    ("Above: the loss. Below: more", "Show the code: Above: the loss. Below: more"),
    ("The {term}`norm <norms>` of *all* weights: small.", "Show the code: The norm <norms> of all weights"),
    ("Scores 2, 1 and none. More.", "Show the code: Scores 2, 1 and none"),
    ("Word " * 40, "Show the code: " + "Word " * 11 + "Word\u00a0…"),
])  # fmt: skip
def test_a_fold_says_what_it_draws(caption, prompt):
    cell = code("c", "plot()", tags=["hide-input"])
    cell["metadata"]["mystnb"] = {"figure": {"caption": caption}}
    assert _named(cell)["metadata"]["mystnb"]["code_prompt_show"] == prompt


def test_every_chapter_answers_in_short():
    poor = []
    for path in (root() / "notebooks").glob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        boxed = [i for i, cell in enumerate(cells) if "in-short" in cell["metadata"].get("tags", [])]
        said = "".join(cells[1]["source"])
        source = "The literature says" if path.stem.startswith(LITERATURE) else "The report says"
        leads = [f"**{lead}**" for lead in (source, "We find", "Why", "You will learn")]
        if boxed != [1] or any(lead not in said for lead in leads) or "{glue:text}" not in said:
            poor.append(path.name)
    assert not poor


# ---- comparisons ----


def edition(number="gain", old=()):
    record = {"numbers": {"gain": "+2.0 [1.0, 3.0] points"}, "measurements": {"gain": {"scale": "800 images"}}}
    return SimpleNamespace(records={"a": record}, earlier=dict.fromkeys(old, "changed"))


def compare(path, rows, part="helps", **options):
    path.write_text(json.dumps({part: [{"what" if part == "helps" else "on": "Dropout", "rows": rows}]}))
    return comparison.read(edition(**options), path, part)


def test_a_comparison_takes_its_numbers_from_the_results(tmp_path):
    row = {"where": "here", "notebook": "a", "number": "gain"}
    ((name, (found,)),) = compare(tmp_path / "c.yml", [row])
    assert (name, found.text, found.note, found.effect) == (
        "Dropout",
        "+2.0 [1.0, 3.0] points",
        "800 images",
        "helps",
    )
    assert compare(tmp_path / "c.yml", [row], old=["a"])[0][1][0].note == "800 images; an earlier version"
    assert compare(tmp_path / "c.yml", [{**row, "notebook": "b"}]) == [], "a chapter that is not there is left out"
    other = {**row, "number": "loss"}
    assert compare(tmp_path / "c.yml", [other], old=["a"]) == []
    with pytest.raises(LedgerError, match="glues no such number"):
        compare(tmp_path / "c.yml", [other])
    with pytest.raises(LedgerError, match="expected where, notebook and number"):
        compare(tmp_path / "c.yml", [{"notebook": "a", "number": "gain"}])


@pytest.mark.parametrize(("shown", "value", "effect"), [
    ("−2.0 [−3.0, −1.0] points", -2.0, "hurts"), ("+3.4 points [+1.0, +6.0]", 3.4, "helps"),
    ("0.5 [−0.4, 1.4] points", 0.5, "cannot tell"), ("40.7 %", 40.7, "cannot tell"),
])  # fmt: skip
def test_an_effect_is_said_only_where_its_interval_leaves_zero_out(shown, value, effect):
    found = comparison.Compared("", shown, "a", "", "")
    assert (found.value, found.effect) == (value, effect)
    assert found.signed.startswith("−" if value < 0 else "+") and not found.signed.startswith("++")


def test_what_the_book_compares_is_glued_by_the_chapters():
    import yaml

    entries = yaml.safe_load((root() / "book" / "compare.yml").read_text(encoding="utf-8"))
    rows = [row for part in entries.values() for group in part for row in group["rows"]]
    assert len(rows) > 40
    for row in rows:
        source = params.notebook_path(row["notebook"]).read_text(encoding="utf-8")
        first, _, last = row["number"].rpartition("_")  # some are glued by a loop over names
        assert row["number"] in source or (first in source and f"}}_{last}" in source), row


# ---- HTML ----


def test_folds_lose_the_label_that_hid_their_words():
    shown = html_pages.finished('<summary aria-label="Toggle hidden content"><img src="b.png">')
    assert shown == '<summary><img src="b.png">'


@pytest.mark.parametrize("empty", ['<th class="head"><p></p></th>', '<th id="T_1" class="col0" ></th>'])
def test_an_empty_corner_of_a_table_is_no_head(empty):
    assert html_pages.finished(f"<tr>{empty}<th>share</th></tr>") == "<tr><td></td><th>share</th></tr>"


def test_a_link_to_a_page_shows_its_first_figure_or_the_books_picture(monkeypatch):
    two = '<img alt="" src="../_images/a.png" /><img src="../_images/b.png" />'
    assert share.of_page(two) == "_images/a.png" and share.of_page("<p>none</p>") == share.FILE
    monkeypatch.delenv("GITHUB_REPOSITORY", raising=False)
    assert (share.address(""), share.address("https://x.org/book")) == ("", "https://x.org/book/")
    monkeypatch.setenv("GITHUB_REPOSITORY", "owner/name")
    assert share.address("") == "https://owner.github.io/name/"


def test_the_books_picture_has_the_size_that_other_sites_want():
    with Image.open(io.BytesIO(share.picture(Edition().rows))) as picture:
        assert picture.size == (1200, 630)


def test_the_head_describes_the_page():
    long = "<p>Short.</p><p>A <em>long</em> &amp; " + "telling " * 40 + "</p>"
    told = html_pages.description(long)
    assert told.startswith("A long & telling") and told.endswith(" …") and len(told) <= html_pages.LONGEST
    assert html_pages.description("<p>Short.</p>") == ""
    head = html_pages.head('1. <span>A "title"</span>', told, "https://x.org/_static/share.png")
    assert '<meta property="og:image" content="https://x.org/_static/share.png" />' in head
    assert 'content="1. A &quot;title&quot;"' in head and 'name="description" content="A long &amp; telling' in head
    assert "commit 0123456789" in html_pages.colophon("T", RECORD) and "run of" not in html_pages.colophon("T", None)


def test_a_picture_in_few_colours_looks_the_same():
    figure, out = Figure(figsize=(3, 2)), io.BytesIO()
    figure.subplots().plot(range(5), color="#0072B2")
    figure.savefig(out, format="png")
    before, after = (np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), float)
                     for png in (out.getvalue(), parts.few_colours(out.getvalue())))  # fmt: skip
    assert before.shape == after.shape and abs(before - after).mean() < 1
    assert len(Image.open(io.BytesIO(parts.few_colours(out.getvalue()))).getcolors()) <= 64


def test_the_keyboard_reaches_a_table_of_recipes_that_scrolls():
    table = '<div class="cu-scroll"><table><tr><th>arm</th></tr></table></div>'
    assert html_pages.finished(table).startswith('<div class="cu-scroll" tabindex="0"><table>')

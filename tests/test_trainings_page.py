"""The page of all trainings, from made-up records: what it shows, its curves, and the file for a spreadsheet."""

import csv
import io
import json
import re
from html import unescape
from pathlib import Path

import pytest

from cifar_utils.train import Part, Recipe
from cifar_utils.train.records import write_record
from reproduce import cards
from reproduce.book import parts, scoreboard, trainings_page
from reproduce.book.edition import Edition
from reproduce.ledger import load_reports

HERE = Path(__file__).resolve().parent.parent
RECIPE = Recipe("cifar10", Part("rdfia", dropout=0.5), batch=64, epochs=3, augment=(Part("crop", pixels=4), "flip"))
VALIDATION = {"loss": [2.0, 1.9, 1.8], "accuracy": [0.25, None, 0.35]}
ENVIRONMENT = {"device": "CPU <of> a test", "threads": 1, "torch": "2.15", "commit": "0123456789"}


def made_up(recipe=RECIPE, seed=0, **history) -> dict:
    """Return a record as the store writes it."""
    curve = {"train_loss": [2.0, 1.5, 1.0], "train_accuracy": [0.2, 0.3, 0.4], "step_loss": [], "iterations": 300,
             "seconds": 60.0, "evaluations": {"val": VALIDATION}}  # fmt: skip
    return {"key": recipe.key(seed), "recipe": recipe.canonical(), "seed": seed, "history": {**curve, **history},
            "final": {"test": {"loss": 1.7, "accuracy": 0.361}}, "environment": ENVIRONMENT, "precision": "float32",
            "started": "2026-11-26 06:09 UTC", "operations": 7}  # fmt: skip


@pytest.fixture
def edition(project):
    """A published book of two chapters that share one of three trainings."""
    load_reports.cache_clear()
    records = [made_up(seed=1), made_up(seed=0), made_up(RECIPE.but(optimizer=Part("Adam", lr=0.001)))]
    keys = [record["key"] for record in records]
    (project / "book/reports").mkdir(parents=True)
    (project / "book/chapters").mkdir()
    for record in records:
        write_record(project / "results/trainings" / f"{record['key']}.json", record)
    for name, used in (("a1_q1_test", keys[:2]), ("a1_q2_test", keys[1:])):
        results = {"notebook": name, "measurements": {}, "trainings": dict.fromkeys(used, 1.0)}
        (project / "results" / f"{name}.json").write_text(json.dumps(results))
        (project / "book/chapters" / f"{name}.ipynb").write_text("{}")
    return Edition()


def page(edition) -> str:
    template, values = parts.PARTS["trainings"](parts.Place(edition, "{}.html".format, lambda name, png: name))
    return cards.render(template, **values)


def test_every_training_has_one_row_with_recipe_accuracy_and_the_chapters_that_use_it(edition):
    text = page(edition)
    rows = re.findall(r'<tr id="([0-9a-f]{16})".*?</tr>', text, re.DOTALL)
    assert len(rows) == len(set(rows)) == 3
    assert "3 trainings of 2 recipes, 3 min in all, 60 s the middle one" in text
    shared = next(row for row in text.split("<tr ") if RECIPE.key(0) in row[:30])
    assert 'href="chapters/a1_q1_test.html"' in shared and 'href="chapters/a1_q2_test.html"' in shared
    assert "model rdfia (dropout 0.5); optimizer SGD (lr 0.1); batch size 64; epochs 3" in shared
    assert "<small>val</small> 35.0&nbsp;%" in shared and "<small>test</small> 36.1&nbsp;%" in shared
    assert "3 epochs" in shared and "2026-11-26" in shared and "CPU &lt;of&gt; a test, float32" in shared


def test_a_row_carries_its_curve(edition):
    curve = json.loads(unescape(re.search(r"data-curve=\'([^\']+)\'", page(edition))[1]))
    assert curve["what"] == "accuracy" and curve["epochs"] == 3
    assert curve["lines"]["held-out images"] == [[1, 25.0], [2, None], [3, 35.0]]
    assert curve["lines"]["training batches"] == [[1, 20.0], [2, 30.0], [3, 40.0]]


def test_what_has_no_accuracy_is_drawn_by_its_loss_and_long_curves_are_thinned():
    row = trainings_page.TrainingRow(made_up(train_accuracy=[0.0, 0.0, 0.0], evaluations={}), ())
    assert row.curve["what"] == "loss" and row.curve["lines"] == {"training batches": [[1, 2.0], [2, 1.5], [3, 1.0]]}
    for count in (2, 59, 60, 61, 1000, 1001):
        losses = [1 / (n + 1) for n in range(count)]
        found = trainings_page.TrainingRow(made_up(train_accuracy=[], evaluations={}, train_loss=losses), ()).curve
        points = found["lines"]["training batches"]
        assert len(points) <= trainings_page.POINTS and points[0][0] == 1 and points[-1][0] == count
        assert [at for at, _ in points] == sorted({at for at, _ in points})
    assert trainings_page.TrainingRow(made_up(train_accuracy=[], train_loss=[1.0], evaluations={}), ()).curve == {}


def test_the_file_for_a_spreadsheet_has_every_training_and_every_field(edition):
    table = list(csv.DictReader(io.StringIO(trainings_page.as_csv(trainings_page.rows(edition)))))
    assert len(table) == 3
    first = next(row for row in table if row["key"] == RECIPE.key(1))
    assert first["chapters"] == "a1_q1_test" and first["augment"] == "crop (pixels 4), flip" and first["seed"] == "1"
    assert (first["test_accuracy"], first["val_accuracy"], first["seconds"]) == ("0.361", "", "60.0")
    assert {row["optimizer"] for row in table} == {"SGD (lr 0.1)", "Adam (lr 0.001)"}


def test_without_any_training_the_page_says_so(project):
    (project / "results").mkdir()
    assert "No chapter of this book was made from stored trainings yet." in page(Edition())
    assert trainings_page.as_csv([]).startswith("key,chapters,seed,")
    assert not scoreboard.read_records(project / "results")


def test_a_book_of_ones_own_runs_shows_the_trainings_of_these(project):
    runs = project / "runs/quick"
    runs.mkdir(parents=True)
    key = RECIPE.key(0)
    (runs / "a1_q1_test.json").write_text(json.dumps({"measurements": {}, "trainings": {key: 1.0}}))
    (runs / "a1_q1_test.ipynb").write_text("{}")
    write_record(project / "runs/trainings" / key / "record.json", made_up())
    assert [row.record["key"] for row in trainings_page.rows(Edition("quick"))] == [key]


# ---- in a browser ----


@pytest.fixture
def tab(browser, edition):
    opened, trouble = browser.new_page(), []
    opened.on("pageerror", lambda error: trouble.append(str(error)))
    script = (HERE / "book/_static/trainings.js").read_text()
    body = page(edition) + f"<script>{script}</script>"
    opened.route("**/*", lambda route: route.fulfill(content_type="text/html", body=body))
    opened.goto("http://localhost/trainings.html")
    yield opened
    opened.close()
    assert not trouble


def test_the_search_box_hides_rows_and_a_curve_opens_below_its_row(tab):
    visible = lambda: tab.locator("#cu-trainings tbody tr:visible").count()  # noqa: E731
    assert visible() == 3 and "shown" not in tab.inner_text(".cu-filters")
    tab.get_by_role("searchbox", name="Search trainings").fill("adam a1_q2")
    assert visible() == 1 and tab.url.endswith("?find=adam+a1_q2")
    assert "1 of 3 trainings shown" in tab.inner_text(".cu-filters")
    button = tab.locator("tr:visible").get_by_role("button", name="Curve")
    button.focus()
    tab.keyboard.press("Enter")
    assert button.get_attribute("aria-expanded") == "true" and visible() == 2
    drawing = tab.get_by_role("img")
    assert "accuracy after each of 3 epochs; at the end:" in drawing.text_content()
    assert tab.locator(".cu-curve polyline").count() == 4, "two lines, and a sample of each"
    button.click()
    assert visible() == 1
    tab.get_by_role("searchbox", name="Search trainings").fill("")
    assert visible() == 3

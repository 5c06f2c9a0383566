"""Staging of the book, scoreboard and README table, on made-up results; nothing is rendered here."""

import json
import subprocess

import pytest
import yaml

from cifar_utils.errors import RunError
from cifar_utils.paths import root
from reproduce import params, versions
from reproduce.book import build as book
from reproduce.book import scoreboard
from reproduce.ledger import REPORTS, Claim, Measurement, Report
from reproduce.verdict import Verdict, judge

NOTEBOOK = "a1_q1_softmax_regression"


def claim(name, kind="measured", value=10.0, **more):
    return Claim(f"{name}", "Question 1", f"Statement <{name}> | of a report", kind, NOTEBOOK, value, **more)


CLAIMS = {
    "a1": (
        claim("a1.q1.good", tolerance=1.0, unit="%"),
        claim("a1.q1.off", tolerance=1.0),
        claim("a1.q1.formula", kind="derivation", value=3),
        claim("a1.q1.small", tolerance=1.0),
    ),
    "hw3": (claim("hw3.q1.waiting"), claim("hw3.q1.wide", kind="direction", value=0.0, comparison="greater")),
}


@pytest.fixture(autouse=True)
def made_up_reports(monkeypatch):
    reports = {k: Report(k, f"Report {k}", "A course", c) for k, c in CLAIMS.items()}
    monkeypatch.setattr(scoreboard, "load_reports", lambda: reports)
    monkeypatch.setattr(book, "load_reports", lambda: reports)


def record(**measurements):
    found = {
        "a1.q1.good": Measurement(10.5, 10.2, 10.8, 5, "95 % t interval"),
        "a1.q1.off": Measurement(20.0, 19.0, 21.0, 5),
        "a1.q1.formula": Measurement(4),
        "a1.q1.small": Measurement(10.0, full_scale=False),
        "hw3.q1.wide": Measurement(0.1, -1.0, 1.2, 3),
    }
    stored = {k: {**vars(m), "verdict": "reproduced", "text": "wrong"} for k, m in found.items()}
    return {
        "notebook": NOTEBOOK, "profile": "quick", "sample": False, "started": "2026-11-21 10:00 UTC",
        "parameters": versions.parameters(NOTEBOOK, "quick"), "environment": {"commit": "0123456789+"},
        "code": "of another day",
        "measurements": stored, **measurements,
    }  # fmt: skip


@pytest.fixture
def results(tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / f"{NOTEBOOK}.json").write_text(json.dumps(record()))
    (folder / "benchmarks.json").write_text(json.dumps({"environment": {"torch": "2.15"}, "benchmarks": PAIRS}))
    return folder


@pytest.fixture
def chapters(tmp_path):
    folder = tmp_path / "chapters"
    folder.mkdir()
    notebook = json.loads(params.notebook_path(NOTEBOOK).read_text())
    output = {"output_type": "display_data", "metadata": {}, "data": {"text/html": "<p>", book.RECORD_MIME: {"a": 1}}}
    notebook["cells"][-1]["outputs"] = [output]
    (folder / f"{NOTEBOOK}.ipynb").write_text(json.dumps(notebook))
    return folder


PAIRS = [
    {"name": "loader_vs_dataloader", "ours": 200e3, "baseline": 8e3, "ratio": 25.0, "unit": "img/s", "note": "a | b"},
    {"name": "step_overhead", "ours": 10.1, "baseline": 10.0, "ratio": 1.01, "unit": "ms", "note": ""},
]


def test_verdicts_are_judged_anew_and_not_read_from_the_record(results):
    found = {row.claim.id: row for row in scoreboard.rows(scoreboard.read_records(results))}
    assert {key: row.verdict for key, row in found.items()} == {
        "a1.q1.good": "reproduced", "a1.q1.off": "differs", "a1.q1.formula": "corrected",
        "a1.q1.small": "not run at full scale", "hw3.q1.waiting": "not run", "hw3.q1.wide": "not resolved",
    }  # fmt: skip
    for row in found.values():
        assert row.found is None or row.verdict == judge(row.claim, row.found, False)
    assert "wrong" not in " ".join(row.reproduced for row in found.values())


def test_sample_data_never_earns_another_verdict():
    table = scoreboard.rows({NOTEBOOK: record(sample=True)})
    assert set(scoreboard.counts(table)) == {"sample data", "not run"}


def test_the_summary_counts_every_claim_once(results):
    table = scoreboard.rows(scoreboard.read_records(results))
    assert sum(scoreboard.counts(table).values()) == len(table) == 6
    assert scoreboard.sentence(table) == (
        "Of 6 claims in the ledger: 1 reproduced, 1 differs, 1 corrected, 1 not resolved, "
        "1 not run at full scale, 1 not run yet."
    )
    assert scoreboard.sentence(scoreboard.rows({})) == "6 claims in the ledger, none run yet."
    assert scoreboard.sentence([]) == "The ledger holds no claim yet."


def test_a_damaged_record_is_named(tmp_path):
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(RunError, match=r"x\.json is not JSON"):
        scoreboard.read_records(tmp_path)


def test_the_most_telling_claims_keep_the_ledgers_order_and_let_reports_take_turns(results):
    table = scoreboard.rows(scoreboard.read_records(results))
    chosen = [row.claim.id for row in scoreboard.most_telling(table, 3)]
    assert chosen == ["a1.q1.off", "a1.q1.formula", "hw3.q1.wide"]
    assert len(scoreboard.most_telling(table, 100)) == 5
    assert scoreboard.most_telling(table, 0) == []


def test_the_scoreboard_has_a_row_for_every_claim_and_escapes_its_text(results):
    table = scoreboard.rows(scoreboard.read_records(results))
    html = scoreboard.html_table(table, {NOTEBOOK: "chapters/x.html"}, search=True)
    for c in (c for claims in CLAIMS.values() for c in claims):
        assert html.count(f'id="{c.id}"') == 1
    assert 'data-verdict="not-run-at-full-scale"' in html and 'href="chapters/x.html"' in html
    assert "<a1.q1.good>" not in html and "Statement &lt;a1.q1.good&gt;" in html
    names = json.loads(scoreboard.filters().split(">", 1)[1].removesuffix("</script>"))
    assert list(names) == ["report", "kind", "verdict"]
    assert len(names["verdict"]) == len(Verdict)


def test_the_readme_table_is_rewritten_between_its_markers_and_only_there(tmp_path, results):
    readme = tmp_path / "README.md"
    readme.write_text("# A\n<!-- summary:begin -->\nold\n<!-- summary:end -->\nB\n<!-- results:begin -->"
                      "\nold\n<!-- results:end -->\nC\n")  # fmt: skip
    book.update_readme(readme, results)
    once = readme.read_text()
    assert once.startswith("# A\n<!-- summary:begin -->\nOf 6 claims") and once.endswith("<!-- results:end -->\nC\n")
    assert "old" not in once and "≠ differs" in once and f"book/chapters/{NOTEBOOK}.ipynb" in once
    assert "\\| of a report" in once
    book.update_readme(readme, results)
    assert readme.read_text() == once


@pytest.mark.parametrize("text", ["", "<!-- results:end --> <!-- results:begin -->", "<!-- results:begin -->"])
def test_missing_markers_are_an_error(text):
    with pytest.raises(RunError, match="must hold <!-- results:begin -->"):
        scoreboard.replace_between(text, "results", "x")


def test_a_long_readme_table_says_what_it_leaves_out(results, monkeypatch):
    monkeypatch.setattr(scoreboard, "README_ROWS", 2)
    assert scoreboard.readme_table(results).endswith(
        "These are 2 of 5 judged claims; the book's scoreboard has all of them."
    )


def test_nothing_published_is_said_plainly(tmp_path):
    assert book.readme_table(tmp_path) == "No chapter is published yet."


def test_staging_leaves_absent_chapters_out_and_writes_what_is_computed(chapters, results, tmp_path):
    source = book.stage(chapters, results, tmp_path / "book")
    toc = list(book.toc_files(yaml.safe_load((source / "_toc.yml").read_text())))
    assert toc[0] == "index" and [f for f in toc if f.startswith("chapters/")] == [f"chapters/{NOTEBOOK}"]
    assert all((source / f"{f}.md").exists() or (source / f"{f}.ipynb").exists() for f in toc)
    text = "\n".join(path.read_text() for path in source.rglob("*.md"))
    assert "<!-- generated:" not in text and "Statement &lt;a1.q1.off&gt;" in text
    assert f"../chapters/{NOTEBOOK}.ipynb" in (source / "reports" / "a1.md").read_text()
    assert "No chapter of this report is finished yet" in (source / "reports" / "hw3.md").read_text()
    assert book.RECORD_MIME not in (source / "chapters" / f"{NOTEBOOK}.ipynb").read_text()
    assert (source / "_static" / "benchmarks.png").stat().st_size > 1000
    assert "announcement" not in yaml.safe_load((source / "_config.yml").read_text())["html"]


def staged(chapters, results, tmp_path, **changed) -> tuple[str, str]:
    """Stage one chapter whose record says this; return its first cell and its report's page."""
    (results / f"{NOTEBOOK}.json").write_text(json.dumps(record(**changed)))
    source = book.stage(chapters, results, tmp_path / f"book-{len(list(tmp_path.iterdir()))}")
    first = json.loads((source / "chapters" / f"{NOTEBOOK}.ipynb").read_text())["cells"][0]
    return "".join(first["source"]), (source / "reports" / "a1.md").read_text()


def test_a_page_says_below_its_title_that_its_notebook_was_changed_since(chapters, results, tmp_path):
    unchanged, page = staged(chapters, results, tmp_path)
    assert "earlier version" not in unchanged + page
    path = chapters / f"{NOTEBOOK}.ipynb"
    notebook = json.loads(path.read_text())
    parameters = next(c for c in notebook["cells"] if "parameters" in c["metadata"].get("tags", []))
    parameters["source"] = ["# worded in another way"]
    path.write_text(json.dumps(notebook))
    assert staged(chapters, results, tmp_path) == (unchanged, page), "only the values count, which the record has"
    others = {**versions.parameters(NOTEBOOK, "quick"), "seeds": 4}
    for change in ("parameters", "code"):
        if change == "code":
            notebook["cells"][-1]["source"] = ["run.finish(0)"]
            path.write_text(json.dumps(notebook))
        text, page = staged(chapters, results, tmp_path, **({"parameters": others} if change == "parameters" else {}))
        title, _, note, said = text.splitlines()[:4]
        assert title.startswith("# ") and note == "```{warning}"
        assert "earlier version of its notebook (commit 0123456789, 2026-11-21)" in said
        assert f"python -m reproduce run {NOTEBOOK} --profile quick" in said
        assert "(profile `quick`, an earlier version of the notebook)" in page


def test_a_notebook_without_a_record_is_no_chapter(chapters, tmp_path):
    source = book.stage(chapters, tmp_path / "none", tmp_path / "book")
    assert not list((source / "chapters").iterdir())
    assert "No chapter is published yet" in (source / "index.md").read_text()
    assert "No benchmark has been run yet" in (source / "benchmarks.md").read_text()


def test_a_chapter_that_the_table_of_contents_does_not_list_is_an_error(chapters, results, tmp_path):
    (chapters / f"{NOTEBOOK}.ipynb").rename(chapters / "a1_stranger.ipynb")
    (results / f"{NOTEBOOK}.json").rename(results / "a1_stranger.json")
    with pytest.raises(RunError, match=r"a1_stranger is not in _toc\.yml"):
        book.stage(chapters, results, tmp_path / "book")


@pytest.mark.parametrize(("sample", "words"), [(True, "say nothing about the reports"), (False, "profile quick")])
def test_a_labelled_book_says_on_every_page_which_run_it_is(chapters, results, tmp_path, sample, words):
    (results / f"{NOTEBOOK}.json").write_text(json.dumps(record(sample=sample)))
    source = book.stage(chapters, results, tmp_path / "book", label="quick")
    assert words in yaml.safe_load((source / "_config.yml").read_text())["html"]["announcement"]
    first = json.loads((source / "chapters" / f"{NOTEBOOK}.ipynb").read_text())["cells"][0]
    assert "earlier version" in "".join(first["source"]), "in one's own book also where only the package changed"


def test_links_follow_the_repository_that_builds_the_book(chapters, results, tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_REPOSITORY", "someone/fork")
    source = book.stage(chapters, results, tmp_path / "book")
    assert (
        yaml.safe_load((source / "_config.yml").read_text())["repository"]["url"] == "https://github.com/someone/fork"
    )


def test_an_unknown_placeholder_is_an_error(chapters, results, tmp_path):
    pages = book._Pages(tmp_path, {}, tmp_path / "benchmarks.json")
    with pytest.raises(RunError, match="asks for generated text 'weather'"):
        pages._text(book._MARK.match("<!-- generated: weather -->"), "")


def test_pruning_a_table_of_contents_keeps_its_shape():
    toc = {"root": "index", "parts": [{"caption": "A", "chapters": [{"file": "a", "sections": [{"file": "b"}]}]}]}
    assert book.prune(toc, lambda file: file != "b")["parts"][0]["chapters"] == [{"file": "a"}]
    assert list(book.toc_files(toc)) == ["index", "a", "b"]


def test_pages_arrive_whole_and_replace_the_old_ones(tmp_path, chapters, results, monkeypatch):
    def jupyter_book(source, work):
        pages = work / "pages"
        pages.mkdir()
        (pages / "index.html").write_text("new")
        return pages

    monkeypatch.setattr(book, "_jupyter_book", jupyter_book)
    out = tmp_path / "out"
    out.mkdir()
    (out / "left_over.html").write_text("old")
    assert book.build(chapters, results, out).read_text() == "new"
    assert [p.name for p in out.iterdir()] == ["index.html"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["chapters", "out", "results"]


def test_a_failing_build_keeps_the_old_pages_and_shows_the_warning(tmp_path, chapters, results, monkeypatch, capsys):
    log = f"reading\n{tmp_path}/book/index.md:3: WARNING: no such term\ndone\n"
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: subprocess.CompletedProcess(a, 1, log))
    out = tmp_path / "out"
    out.mkdir()
    (out / "index.html").write_text("old")
    with pytest.raises(RunError, match="could not render the book"):
        book.build(chapters, results, out)
    assert (out / "index.html").read_text() == "old"
    assert "WARNING: no such term" in capsys.readouterr().err


def test_without_jupyter_book_one_sentence_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(book, "find_spec", lambda name: None)
    with pytest.raises(RunError, match="pip install -r requirements.txt"):
        book.build(tmp_path, tmp_path, tmp_path / "out")


@pytest.mark.parametrize("profile", ["smok", "full"])
def test_a_book_of_runs_that_do_not_exist_is_an_error(profile, tmp_path, monkeypatch):
    monkeypatch.setattr(book, "root", lambda: tmp_path)
    with pytest.raises(RunError, match=profile):
        book.build_profile(profile)


def test_every_report_has_a_page_that_says_what_is_planned():
    for report in REPORTS:
        page = root() / "book" / "reports" / f"{report}.md"
        plan, text = book._split_plan(page.read_text(encoding="utf-8"), page.name)
        assert all({"part", "about"} <= set(entry) for entry in plan)
        for name in ("title", "report", "chapters"):
            assert f"<!-- generated: {name} {report} -->" in text

"""What the book is made of, on made-up results: rows, generated parts, chapters as pages, table of contents."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from sphinx.errors import ExtensionError
from sphinx.project import Project
from sphinx_external_toc.parsing import parse_toc_yaml

from cifar_utils.errors import LedgerError, RunError
from cifar_utils.paths import chapters as planned
from cifar_utils.paths import root, toc_files
from reproduce import cards, freshness, params, versions
from reproduce.book import build as book
from reproduce.book import edition as edition_module
from reproduce.book import parts, scoreboard, sphinx_ext
from reproduce.book.chapter_page import as_page
from reproduce.book.edition import Edition
from reproduce.ledger import REPORTS, Claim, Measurement, Report
from reproduce.record import RECORD_MIME, code_fingerprint
from reproduce.verdict import Verdict, judge

HERE = root()
NOTEBOOK = "a1_q1_softmax_regression"


def claim(name, kind="measured", value=10.0, **more):
    return Claim(f"{name}", "Question 1", f"Statement <{name}> | of a report", kind, NOTEBOOK, value, **more)


CLAIMS = {
    "a1": (
        claim("a1.q1.good", within=1.0, because="one seed", unit="%"),
        claim("a1.q1.off", within=1.0, because="one seed"),
        claim("a1.q1.formula", kind="derivation", value=3),
        claim("a1.q1.small", within=1.0, because="one seed"),
    ),
    "hw3": (claim("hw3.q1.waiting"), claim("hw3.q1.wide", kind="direction", value=0.0, comparison="greater")),
}


@pytest.fixture(autouse=True)
def made_up_reports(monkeypatch):
    reports = {k: Report(k, f"Report <{k}>", "A course", c) for k, c in CLAIMS.items()}
    for module in (scoreboard, parts, cards):
        monkeypatch.setattr(module, "load_reports", lambda: reports)
    monkeypatch.setattr(cards, "load_claims", lambda: {c.id: c for claims in CLAIMS.values() for c in claims})
    monkeypatch.setattr(freshness, "load_claims", dict)  # one of them waits, which would make the page an old one


def record(**changed):
    found = {
        "a1.q1.good": Measurement(10.5, 10.2, 10.8, 5, "95 % t interval"),
        "a1.q1.off": Measurement(20.0, 19.0, 21.0, 5),
        "a1.q1.formula": Measurement(4),
        "a1.q1.small": Measurement(10.0, full_scale=False),
        "hw3.q1.wide": Measurement(0.1, -1.0, 1.2, 3),
    }
    stored = {k: {**vars(m), "verdict": "reproduced", "text": "wrong"} for k, m in found.items()}
    return {
        "notebook": NOTEBOOK, "report": "a1", "profile": "quick", "sample": False, "started": "2026-11-21 10:00 UTC",
        "parameters": versions.parameters(NOTEBOOK, "quick"), "environment": {"commit": "0123456789+"},
        "code": code_fingerprint(NOTEBOOK), "measurements": stored, **changed,
    }  # fmt: skip


PAIRS = [
    {"name": "loader_vs_dataloader", "ours": 200e3, "baseline": 8e3, "ratio": 25.0, "unit": "img/s", "note": "a | b"},
    {"name": "step_overhead", "ours": 10.1, "baseline": 10.0, "ratio": 1.01, "unit": "ms", "note": ""},
]


FINDING = {"claim": "a1.q1.off", "title": "It is off", "why": "One learns from it."}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with one published chapter, in the place of the real one."""
    shutil.copytree(HERE / "book", tmp_path / "book", ignore=shutil.ignore_patterns("chapters"))
    for file in ("_toc.yml", "_config.yml", "CHANGELOG.md"):
        shutil.copy(HERE / file, tmp_path)
    for folder in ("notebooks", "params", "cifar_utils"):
        (tmp_path / folder).symlink_to(HERE / folder)
    monkeypatch.setenv("CIFAR_UTILS_ROOT", str(tmp_path))
    for folder in ("book/chapters", "results", "runs/quick"):
        (tmp_path / folder).mkdir(parents=True)
    notebook = json.loads(params.notebook_path(NOTEBOOK).read_text())
    notebook["cells"][-1]["outputs"] = [display({"text/html": "<p>old</p>", RECORD_MIME: {"a": 1}})]
    for chapters, results in (("book/chapters", "results"), ("runs/quick", "runs/quick")):
        (tmp_path / chapters / f"{NOTEBOOK}.ipynb").write_text(json.dumps(notebook))
        (tmp_path / results / f"{NOTEBOOK}.json").write_text(json.dumps(record()))
    (tmp_path / "results/benchmarks.json").write_text(
        json.dumps(
            {"benchmarks": [{**pair, "date": "2026-11-01", "environment": {"torch": "2.15"}} for pair in PAIRS]}
        )
    )
    (tmp_path / "book/findings.yml").write_text(yaml.safe_dump([FINDING]))
    headline = {"about": "an accuracy", "claim": FINDING["claim"]}
    (tmp_path / "book/headlines.yml").write_text(yaml.safe_dump([headline]))
    (tmp_path / "book/compare.yml").write_text(yaml.safe_dump({"accuracy": [], "helps": []}))
    return tmp_path


@pytest.fixture
def results(project):
    return project / "results"


def display(data, name=None):
    metadata = {"scrapbook": {"name": name, "mime_prefix": "application/papermill.record/"}} if name else {}
    return {"output_type": "display_data", "metadata": metadata, "data": data}


def part(name, *arguments, edition=None):
    """Return a generated part of a page as text."""
    stored = lambda file, png: f"/{file}" if len(png) > 1000 else "no picture"  # noqa: E731
    at = parts.Place(edition or Edition(), "{}.html".format, stored)
    template, values = parts.PARTS[name](at, *arguments)
    return cards.render(template, **values)


# ---- rows ----


def test_verdicts_are_judged_anew_and_not_read_from_the_record(results):
    found = {row.claim.id: row for row in scoreboard.rows(scoreboard.read_records(results))}
    assert {key: row.verdict for key, row in found.items()} == {
        "a1.q1.good": "reproduced", "a1.q1.off": "differs", "a1.q1.formula": "corrected",
        "a1.q1.small": "not run at full scale", "hw3.q1.waiting": "not run", "hw3.q1.wide": "not resolved",
    }  # fmt: skip
    for row in found.values():
        assert row.found is None or row.verdict == judge(row.claim, row.found, False)
    assert "wrong" not in " ".join(row.reproduced for row in found.values())


@pytest.mark.parametrize(
    ("stored", "verdict"),
    [
        ({"unit": "%"}, "reproduced"),
        ({"unit": "points"}, "not run"),  # a question of another kind was asked under this name
        ({"text": "10.0 [9, 11] %"}, "reproduced"),  # an older record
        ({"text": "10.0 tensors"}, "not run"),
        ({"unit": "%", "points": [[1, 10.0, None, None]]}, "not run"),
    ],
)
def test_what_an_earlier_run_measured_in_another_unit_is_no_answer_to_todays_claim(monkeypatch, stored, verdict):
    good, other = CLAIMS["a1"][0], claim("a1.q1.other", unit="tensors", within=1.0, because="x")
    monkeypatch.setattr(cards, "load_claims", lambda: {c.id: c for c in (good, other)})
    found = {good.id: {"value": 10.0, "low": None, "high": None, "n": 1, "text": "10.0 %", **stored}}
    row = cards.Row.of(good, {**record(), "measurements": found})
    assert row.verdict == verdict


def test_sample_data_never_earns_another_verdict():
    table = scoreboard.rows({NOTEBOOK: record(sample=True)})
    assert set(scoreboard.counts(table)) == {"sample data", "not run"}


def test_the_summary_counts_every_claim_once(results):
    table = scoreboard.rows(scoreboard.read_records(results))
    assert sum(scoreboard.counts(table).values()) == len(table) == 6
    assert scoreboard.sentence(table) == (
        "6 claims in the ledger: of 5 experiments 1 reproduced, 1 differs, 1 not resolved, 1 not run at full scale, "
        "1 not run; of 1 derivations and settings 1 corrected."
    )
    assert scoreboard.sentence(scoreboard.rows({})) == "6 claims in the ledger, none run yet."
    assert scoreboard.sentence([]) == "The ledger holds no claim yet."


def test_a_damaged_record_is_named(tmp_path):
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(RunError, match=r"x\.json is not JSON"):
        scoreboard.read_records(tmp_path)


def test_findings_are_chosen_by_hand_and_only_judged_ones_are_told(results, tmp_path):
    table, path = scoreboard.rows(scoreboard.read_records(results)), tmp_path / "findings.yml"
    path.write_text(yaml.safe_dump([{**FINDING, "claim": "hw3.q1.waiting"}, {**FINDING, "cell": "abc"}]))
    (found,) = scoreboard.findings(table, path)
    assert (found.row.claim.id, found.title, found.cell) == ("a1.q1.off", "It is off", "abc")
    assert scoreboard.findings(table, tmp_path / "none.yml") == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"claim": "a1.q1.nowhere"}, "a1.q1.nowhere is no claim of the ledger"),
        ({"text": "x"}, "expected claim, title"),
    ],
)
def test_a_finding_that_cannot_be_told_is_an_error(results, tmp_path, changes, message):
    (tmp_path / "findings.yml").write_text(yaml.safe_dump([{**FINDING, **changes}]))
    with pytest.raises(LedgerError, match=message):
        scoreboard.findings(scoreboard.rows({}), tmp_path / "findings.yml")


def test_every_claim_has_an_address_of_its_own():
    rows = [cards.Row(c) for claims in CLAIMS.values() for c in claims]
    anchors = [row.anchor for row in rows]
    assert anchors[0] == "claim-a1-q1-good" and len(set(anchors)) == len(anchors)


# ---- the README ----


def test_the_readme_table_is_rewritten_between_its_markers_and_only_there(tmp_path, results):
    readme = tmp_path / "README.md"
    readme.write_text("# A\n<!-- summary:begin -->\nold\n<!-- summary:end -->\nB\n<!-- results:begin -->"
                      "\nold\n<!-- results:end -->\n<!-- headlines:begin -->\n"
                      "<!-- headlines:end -->\n<!-- beyond:begin -->\n<!-- beyond:end -->\nC\n")  # fmt: skip
    scoreboard.update_readme(readme, results)
    once = readme.read_text()
    assert once.startswith("# A\n<!-- summary:begin -->\n6 claims") and once.endswith("<!-- beyond:end -->\nC\n")
    assert "old" not in once and "≠ differs" in once and f"book/chapters/{NOTEBOOK}.ipynb" in once
    assert "\\| of a report" in once and f"[an accuracy](book/chapters/{NOTEBOOK}.ipynb)" in once
    scoreboard.update_readme(readme, results)
    assert readme.read_text() == once


@pytest.mark.parametrize("text", ["", "<!-- results:end --> <!-- results:begin -->", "<!-- results:begin -->"])
def test_missing_markers_are_an_error(text):
    with pytest.raises(RunError, match="must hold <!-- results:begin -->"):
        scoreboard.replace_between(text, "results", "x")


def test_nothing_published_is_said_plainly(project):
    assert scoreboard.readme_table(project / "runs") == "No chapter is published yet."


# ---- generated parts ----


def test_the_scoreboard_has_a_row_for_every_claim_which_leads_to_its_row_on_the_chapters_page(project):
    html = part("scoreboard")
    for c in (c for claims in CLAIMS.values() for c in claims):
        anchor = f"claim-{c.id.replace('.', '-')}"
        assert html.count(f'<tr id="{anchor}" ') == 1
        assert f'<a href="chapters/{NOTEBOOK}.html#{anchor}">' in html
    assert 'data-verdict="not-run-at-full-scale"' in html
    assert "<a1.q1.good>" not in html and "Statement &lt;a1.q1.good&gt;" in html
    names = json.loads(html.split('id="cu-filter-names">', 1)[1].split("</script>")[0])
    assert list(names) == ["report", "kind", "verdict"] and len(names["verdict"]) == len(Verdict)
    assert names["report"]["a1"][1] == "Report <a1> (A course)" and "<a1>" not in html


def test_parts_say_what_there_is(project):
    planned = sum(len(edition_module.plan(report)) for report in REPORTS)
    assert f"**Chapters: 1 of {planned} planned**, 1 at profile `quick` (real data, two CPU cores)" in part("state")
    assert "Latest run: 2026-11-21." in part("state")
    tiles = part("tiles")
    assert "scoreboard.html?verdict=differs&amp;kind=direction,measured" in tiles and "<b>1</b>" in tiles
    assert "Statement &lt;a1.q1.off&gt;" in part("highlights") and "It is off" in part("highlights")
    assert all(verdict.meaning.split("'")[0] in part("verdicts") for verdict in Verdict)
    assert part("report-title", "a1").strip() == "*Report <a1>*, in the course *A course*."
    assert "<p>4 claims in the ledger: of 3 experiments 1 reproduced" in part("report-state", "a1")
    assert "None of this report's claims are in the ledger yet" in part("report-state", "a3").replace("&#39;", "'")
    assert f"(project:/chapters/{NOTEBOOK}.ipynb) (profile `quick`)\n" in part("chapters", "a1")
    assert part("chapters", "hw3").startswith("No chapter of this report is finished yet")
    assert part("chapters", "hw3").count("*(planned)*") == len(edition_module.plan("hw3"))


def test_benchmarks_are_a_figure_a_table_and_a_machine(project):
    text = part("benchmarks")
    assert "```{figure} /benchmarks.png" in text and "step overhead 1.01." in text
    assert "| **loader_vs_dataloader**: a \\| b | 200,000 img/s | 8,000 img/s | 25 | — |" in text
    assert "Not met" not in text and "All aims" not in text
    assert text.count("Measured on") == 1 and "Measured on 2026-11-01: torch 2.15." in text
    pairs = json.loads((project / "results/benchmarks.json").read_text())["benchmarks"]
    pairs[0]["date"] = "2026-11-02"
    (project / "results/benchmarks.json").write_text(json.dumps({"benchmarks": pairs}))
    text = part("benchmarks")
    assert f"Measured on 2026-11-02 ({pairs[0]['name']}): torch 2.15." in text and "Measured on 2026-11-01 (" in text
    pairs[0]["note"], pairs[1]["note"] = "At least 25 was wanted.", "at most 1.005 was wanted, quietly"
    (project / "results/benchmarks.json").write_text(json.dumps({"benchmarks": pairs}))
    text = part("benchmarks")
    assert "Not met: step_overhead." in text
    assert "| 25 | at least 25: met |" in text and "| 1.01 | at most 1.005: **not met** |" in text
    (project / "results/benchmarks.json").write_text('{"benchmarks": []}')
    assert "left no result" in part("benchmarks")
    (project / "results/benchmarks.json").unlink()
    assert "No benchmark has been run yet" in part("benchmarks")


def test_the_reference_has_every_module_of_both_packages():
    listed = re.findall(r"```{modules} (\S+)\n```", (HERE / "book/api.md").read_text(encoding="utf-8"))
    found = {name for package in listed for name in re.findall(r"automodule:: (\S+)", part("modules", package))}
    files = [path for package in ("cifar_utils", "reproduce") for path in (HERE / package).rglob("*.py")]
    assert found == {".".join(p.relative_to(HERE).with_suffix("").parts) for p in files if p.stem[:2] != "__"}
    with pytest.raises(RunError, match=r"no package cifar_utils\.nothing"):
        part("modules", "cifar_utils.nothing")


def test_a_notebook_without_a_record_is_no_chapter(project):
    (project / "results" / f"{NOTEBOOK}.json").unlink()
    assert not Edition().records
    assert "No chapter is published yet" in part("state") and "Nothing is judged yet" in part("highlights")


def test_a_report_without_a_list_of_its_chapters_is_an_error(project):
    (project / "book/reports/a1.md").write_text("# Without\n")
    with pytest.raises(RunError, match=r"reports/a1\.md must begin with front matter"):
        part("state")


def test_every_report_has_a_page_that_says_what_is_planned():
    for report in REPORTS:
        assert edition_module.plan(report)
        text = edition_module.page(report).read_text(encoding="utf-8")
        for name in ("report-title", "report-state", "chapters"):
            assert f"```{{{name}}} {report}\n```" in text


# ---- chapters as pages ----


def executed(*cells):
    """Return a notebook with a title, these cells, and a last one that carries a record and an old table."""
    last = {"cell_type": "code", "id": "last", "metadata": {}, "source": "run.finish()",
            "outputs": [display({"text/html": "<p>old</p>", "text/plain": "x", RECORD_MIME: {}})]}  # fmt: skip
    title = {"cell_type": "markdown", "id": "title", "metadata": {}, "source": ["# A title\n", "\n", "Text."]}
    return {
        "cells": [title, *cells, last],
        "metadata": {"language_info": {"name": "python", "pygments_lexer": "ipython3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def measuring(cell_id, claim_id, *tags):
    outputs = [display({"application/papermill.record/text/plain": "'old'"}, name)
               for name in (claim_id, f"{claim_id}.verdict", "other")]  # fmt: skip
    return {"cell_type": "code", "id": cell_id, "metadata": {"tags": list(tags)}, "source": "1", "outputs": outputs}


def test_a_page_has_the_verdicts_of_today_in_its_table_and_in_its_prose():
    page = as_page(executed(measuring("m", "a1.q1.off")), record())
    *_, cell, last = page["cells"]
    assert [o["data"]["application/papermill.record/text/plain"] for o in cell["outputs"]] == [
        "'20 [19, 21]'", "'differs'", "'old'"
    ]  # fmt: skip
    (data,) = [output["data"] for output in last["outputs"]]
    assert list(data) == ["text/html"] and "old" not in data["text/html"]
    assert data["text/html"].count("<tr id=") == 6, "also the claims that it did not measure"
    assert "≠&nbsp;differs" in data["text/html"] and "Statement &lt;a1.q1.off&gt;" in data["text/html"]


def test_a_claims_row_leads_to_the_cell_that_measured_it():
    html = as_page(executed(measuring("m", "a1.q1.off")), record())["cells"][-1]["outputs"][0]["data"]["text/html"]
    assert html.count("measured here") == 1
    assert '<a href="#cell-m">measured here</a>' in html.split('id="claim-a1-q1-off"')[1].split("</tr>")[0]


def test_where_the_measuring_cell_is_not_shown_its_place_is_marked():
    page = as_page(
        executed(measuring("m", "a1.q1.off", "remove-cell"), measuring("n", "none", "remove-cell")), record()
    )
    marks = [cell for cell in page["cells"] if "<span" in "".join(cell["source"])]
    assert [cell["source"] for cell in marks] == ['<span id="cell-m"></span>']
    assert page["cells"].index(marks[0]) == 2, "directly below"


@pytest.mark.parametrize(("link", "shown"), [
    ("[that](b_two.ipynb)", "[that](project:b_two.ipynb)"),
    ("[that](b_two.ipynb#x-y)", "[that](project:b_two.ipynb#x-y)"),
    ("[that](b_three.ipynb)", "that"),
    ("[that](../verdicts.md)", "[that](../verdicts.md)"),
])  # fmt: skip
def test_a_link_to_a_chapter_that_the_book_lacks_is_its_text(link, shown):
    text = {"cell_type": "markdown", "id": "t", "metadata": {}, "source": [f"See {link}."]}
    assert as_page(executed(text), record(), {"b_two"})["cells"][1]["source"] == f"See {shown}."


def test_a_note_stands_below_the_title():
    assert as_page(executed(), record(), note="NOTE")["cells"][0]["source"] == "# A title\n\nNOTE\n\n\nText."


class Application:
    """What the extension needs of Sphinx."""

    def __init__(self):
        self.env = SimpleNamespace(temp_data={}, note_dependency=lambda path: None)
        self.outdir = Path()


def shown(project, **changed) -> tuple[str, str]:
    """Return the first cell of the chapter's page and its report's list, for a record that says this."""
    (project / "results" / f"{NOTEBOOK}.json").write_text(json.dumps(record(**changed)))
    app = Application()
    app.outdir = project / "_build"
    sphinx_ext._editions[app] = Edition()
    source = [(project / "book/chapters" / f"{NOTEBOOK}.ipynb").read_text()]
    sphinx_ext.show_present(app, f"chapters/{NOTEBOOK}", source)
    return json.loads(source[0])["cells"][0]["source"], part("chapters", "a1")


def test_a_page_that_is_not_current_says_so_below_its_title_and_why(project):
    unchanged, listed = shown(project)
    assert "earlier version" not in unchanged + listed
    path = project / "book/chapters" / f"{NOTEBOOK}.ipynb"
    notebook = json.loads(path.read_text())
    parameters = next(c for c in notebook["cells"] if "parameters" in c["metadata"].get("tags", []))
    parameters["source"] = ["# worded in another way"]
    path.write_text(json.dumps(notebook))
    assert shown(project) == (unchanged, listed), "only the values count, which the record has"
    others = {**versions.parameters(NOTEBOOK, "quick"), "seeds": 4}
    notebook["cells"][-1]["source"] = ["run.finish(0)"]
    for change, why in (
        ({"parameters": others}, "seeds was 4 and is now"),
        ({"code": "another"}, "code of cifar_utils that it uses was changed"),
        ({"code": "another"}, "the code cell that begins 'run.finish(0)' is another now"),
        ({"trainings": {"0123": 1.0}}, "its training 0123 is neither in"),
    ):
        if "finish" in why:
            path.write_text(json.dumps(notebook))
        text, listed = shown(project, **change)
        title, _, note, said = text.splitlines()[:4]
        assert title.startswith("# ") and note == "```{warning}"
        assert f"of an earlier version (commit 0123456789, 2026-11-21): {why}" in said.replace("\\", "")
        assert f"python -m reproduce run {NOTEBOOK} --profile quick" in said
        assert "(profile `quick`, an earlier version)" in listed


# ---- the extension ----


def prepared(project, profile=""):
    """Return the configuration once the extension has prepared the book."""
    site_map = parse_toc_yaml(project / "_toc.yml")
    config = SimpleNamespace(reproduce_profile=profile, external_site_map=site_map, html_theme_options={})
    sphinx_ext.prepare(Application(), config)
    return config


def test_absent_chapters_are_left_out_of_the_table_of_contents(project):
    before = toc_files(yaml.safe_load((project / "_toc.yml").read_text()))
    config = prepared(project)
    left = [file for file in before if not file.startswith("chapters/") or file == f"chapters/{NOTEBOOK}"]
    assert list(config.external_site_map) == sorted(left, key=list(config.external_site_map).index)
    assert config.external_site_map["reports/a1"].child_files() == [f"chapters/{NOTEBOOK}"]
    assert config.external_site_map["reports/a3"].subtrees == []
    assert config.html_theme_options == {}


@pytest.mark.parametrize(("lacks", "words"), [("_toc.yml", r"not in _toc\.yml"), ("a1.md", "on no report's page")])
def test_a_chapter_that_the_book_does_not_list_is_an_error(project, lacks, words):
    for folder, ending in (("book/chapters", "ipynb"), ("results", "json")):
        (project / folder / f"{NOTEBOOK}.{ending}").rename(project / folder / f"a1_stranger.{ending}")
    if lacks == "a1.md":
        toc = (project / "_toc.yml").read_text()
        (project / "_toc.yml").write_text(toc.replace(NOTEBOOK, "a1_stranger"))
    with pytest.raises(ExtensionError, match=f"a1_stranger is {words}"):
        prepared(project)


@pytest.mark.parametrize(("sample", "words"), [(True, "say nothing about the reports"), (False, "profile quick")])
def test_a_book_of_ones_own_runs_says_on_every_page_which_run_it_is(project, sample, words):
    (project / "runs/quick" / f"{NOTEBOOK}.json").write_text(json.dumps(record(sample=sample)))
    assert words in prepared(project, "quick").html_theme_options["announcement"]


def test_links_follow_the_repository_that_builds_the_book(project, monkeypatch):
    monkeypatch.setenv("GITHUB_REPOSITORY", "someone/fork")
    assert prepared(project).html_theme_options == {"repository_url": "https://github.com/someone/fork"}


def test_chapters_are_read_where_their_runs_are(project):
    (project / "book/chapters/left_over.ipynb").write_text("{}")
    pages = sphinx_ext.Book(Project(project / "book", [".md", ".ipynb"]), Edition("quick"))
    found = pages.discover()
    assert {name for name in found if name.startswith("chapters/")} == {f"chapters/{NOTEBOOK}"} and "index" in found
    assert pages.doc2path(f"chapters/{NOTEBOOK}", True) == str(project / "runs/quick" / f"{NOTEBOOK}.ipynb")
    assert pages.doc2path(f"chapters/{NOTEBOOK}", False) == f"chapters/{NOTEBOOK}.ipynb"
    assert pages.doc2path("index", True) == str(project / "book/index.md")


# ---- building ----


def test_pages_arrive_whole_and_replace_the_old_ones(project, monkeypatch):
    def jupyter_book(work, profile):
        pages = work / "pages"
        pages.mkdir()
        (pages / "index.html").write_text(f"new {profile}")
        return pages

    monkeypatch.setattr(book, "_jupyter_book", jupyter_book)
    out = project / "_build/quick"
    out.mkdir(parents=True)
    (out / "left_over.html").write_text("old")
    assert book.build_profile("quick").read_text() == "new quick"
    assert [p.name for p in out.iterdir()] == ["index.html"]
    assert sorted(p.name for p in out.parent.iterdir()) == [".stage", "quick"]
    assert not list((out.parent / ".stage").iterdir())


def test_a_failing_build_keeps_the_old_pages_and_shows_the_warning(project, monkeypatch, capsys):
    log = f"reading\n{project}/book/index.md:3: WARNING: no such term\ndone\n"
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: subprocess.CompletedProcess(a, 1, log))
    out = project / "out"
    out.mkdir()
    (out / "index.html").write_text("old")
    with pytest.raises(RunError, match="could not render the book"):
        book.build(out)
    assert (out / "index.html").read_text() == "old"
    assert capsys.readouterr().err == "book/index.md:3: WARNING: no such term\n"


def test_without_jupyter_book_one_sentence_says_how_to_get_it(project, monkeypatch):
    monkeypatch.setattr(book, "find_spec", lambda name: None)
    with pytest.raises(RunError, match="pip install -r requirements.txt"):
        book.build(project / "out")


def test_runs_of_ones_own_make_a_book_where_nothing_is_published(project):
    shutil.rmtree(project / "book/chapters")
    shutil.rmtree(project / "results")
    (project / "claims").symlink_to(HERE / "claims")
    for file in ("findings.yml", "headlines.yml"):
        shutil.copy(HERE / "book" / file, project / "book")
    (project / "_toc.yml").write_text((project / "_toc.yml").read_text().replace("      - file: api\n", ""))
    text = {"cell_type": "markdown", "id": "t", "metadata": {}, "source": ["And [that](a1_q2_3_tsne.ipynb)."]}
    notebook = executed(measuring("m", "a1.q1.off", "remove-cell"), text)
    (project / "runs/quick" / f"{NOTEBOOK}.ipynb").write_text(json.dumps(notebook))
    index = book.build_profile("quick")
    page = (index.parent / "chapters" / f"{NOTEBOOK}.html").read_text()
    assert "This page is of an earlier version" in page and "And that." in page
    assert "Your own run at profile quick." in page and 'id="cell-m"' in page and "<p>old</p>" not in page
    assert f"1 of {len(planned())} planned" in index.read_text()
    assert [path.name for path in index.parent.joinpath("chapters").iterdir()] == [f"{NOTEBOOK}.html"]


@pytest.mark.parametrize("profile", ["smok", "full"])
def test_a_book_of_runs_that_do_not_exist_is_an_error(profile, project):
    with pytest.raises(RunError, match=profile):
        book.build_profile(profile)


def test_attributes_with_one_description_are_told_apart():
    from reproduce.book.docstrings import attributes_apart

    lines = ["Ends.", "", ":ivar low, high: where it ends,", "                 or NaN.", ":ivar n: count."]
    attributes_apart(None, "class", "Interval", None, None, lines)
    assert lines == [
        "Ends.", "", ":ivar low: where it ends,", "                 or NaN.",
        ":ivar high: where it ends,", "                 or NaN.", ":ivar n: count.",
    ]  # fmt: skip

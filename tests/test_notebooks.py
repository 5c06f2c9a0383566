"""What every source notebook, its parameters, its claims and its published chapter must keep to."""

import ast
import json
import re

import pytest
import yaml

from cifar_utils.paths import chapters, notebook_path, root, toc_files
from reproduce import freshness, params, versions
from reproduce.ledger import Measurement, load_claims
from reproduce.record import record_of
from reproduce.verdict import judge

NAMES = chapters()
PUBLISHED = sorted(p.stem for p in (root() / "results").glob("*.json") if p.stem != "benchmarks")


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def source(cell) -> str:
    return "".join(cell["source"])


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture
def cells(name):
    return read(notebook_path(name))["cells"]


def test_defaults_are_the_smoke_profile(name):
    declared = params.declared(name)
    assert {"profile", "data", "device", "seeds"} <= set(declared)
    assert declared["profile"].default == "smoke" and declared["data"].default == "sample"
    undocumented = [p.name for p in declared.values() if not p.help]
    assert not undocumented


@pytest.mark.parametrize("profile", ["quick", "full"])
def test_parameters_of_every_profile_are_valid(name, profile):
    values = params.for_profile(name, profile)
    assert values["data"] == "real"
    # papermill reads the file alone, and its card says the same as that of `run`
    file = yaml.safe_load((root() / "params" / profile / f"{name}.yml").read_text(encoding="utf-8"))
    assert file == {**file, "profile": profile} and values == params.check(file, params.declared(name))


def test_smoke_is_small():
    """Operations do not depend on the machine: 20 G are one to two seconds of an AVX2 core, the smaller the steps."""
    spent = {}
    for name in NAMES:
        smoke = read(notebook_path(name))["metadata"].get("smoke", {})
        defaults = {key: p.default for key, p in params.declared(name).items()}
        assert smoke.get("parameters") == defaults, f"run: python -m reproduce store {name}"
        spent[name] = smoke["operations"] / 1e9
    assert max(spent.values()) <= 280, spent
    assert sum(spent.values()) <= 950, spent


def test_outputs_are_stored_only_where_nbval_compares_them(cells):
    checked = [c for c in cells if "nbval-check-output" in c["metadata"].get("tags", [])]
    assert any(c["outputs"] for c in checked)
    for cell in cells:
        if cell["cell_type"] == "code" and cell not in checked:
            assert not cell["outputs"], source(cell)


def test_every_figure_has_caption_name_and_alternative_text(cells):
    for cell in cells:
        if cell["cell_type"] == "code" and re.search(r"^\s*plots\.show\(", source(cell), re.MULTILINE):
            shown = cell["metadata"].get("mystnb", {})
            assert shown.get("figure", {}).get("caption") and shown["figure"].get("name"), source(cell)[:200]
            assert len(shown.get("image", {}).get("alt", "")) > 40, source(cell)[:200]


def test_no_line_of_text_is_taken_for_a_comment(cells):
    for cell in cells:
        if cell["cell_type"] == "markdown":  # MyST leaves out lines that begin with a percent sign
            assert not re.search(r"^\s*%", source(cell), re.MULTILINE), source(cell)[:200]


def test_notebook_stands_in_the_book(name):
    assert f"chapters/{name}" in (root() / "_toc.yml").read_text()


def glued_names(code: str) -> set[str]:
    """Return the names that `run.glue(name=...)`, `run.glue(**{"name": ...})` and `run.glue("name", ...)` make."""
    names = set()
    for call in ast.walk(ast.parse(code)):
        if not isinstance(call, ast.Call) or ast.unparse(call.func) != "run.glue":
            continue
        given = call.args[:1] if len(call.args) == 2 else []
        for keyword in call.keywords:
            names.add(keyword.arg)
            given += keyword.value.keys if keyword.arg is None and isinstance(keyword.value, ast.Dict) else []
        names |= {key.value for key in given if isinstance(key, ast.Constant)}
    return names


def test_text_glues_only_what_the_notebook_makes(name, cells):
    code = "\n".join(source(c) for c in cells if c["cell_type"] == "code")
    made = glued_names(code) | set(load_claims()) | set(params.declared(name))
    used = set(re.findall(r"\{glue:text\}`([^`]+)`", "\n".join(source(c) for c in cells if c["cell_type"] != "code")))
    assert {u.removesuffix(".verdict") for u in used} <= made


def test_every_claim_has_a_notebook():
    for claim in load_claims().values():
        assert claim.notebook in NAMES, claim.id


@pytest.mark.parametrize("published", PUBLISHED)
def test_results_are_those_of_the_published_chapter(published):
    record = read(root() / "results" / f"{published}.json")
    assert record == record_of(root() / "book" / "chapters" / f"{published}.ipynb")
    assert not record["sample"] and record["profile"] in ("quick", "full")
    assert record["data"] and record["environment"]["torch"] and record["duration_s"] >= 0


@pytest.mark.parametrize("published", PUBLISHED)
def test_every_claim_of_a_published_chapter_is_answered_and_judged_as_the_ledger_says(published):
    record, claims = read(root() / "results" / f"{published}.json"), load_claims()
    wanted = {c.id for c in claims.values() if c.notebook == published}
    if not freshness.why_stale(record):  # otherwise its page says so, and what is not measured is not run
        assert wanted == set(record["measurements"])
    for key in wanted & set(record["measurements"]):
        found = record["measurements"][key]
        stored = {k: v for k, v in found.items() if k not in ("verdict", "text", "unit", "scale", "cell")}
        judged = judge(claims[key], Measurement(**stored), record["sample"])
        assert found["verdict"] == judged or freshness.why_stale(record), key


@pytest.mark.parametrize("published", PUBLISHED)
def test_published_chapter_has_the_present_text_or_says_that_it_is_of_an_earlier_version(published):
    """Mended text needs no new run (publish --text); a page that is not current is marked by the book itself."""
    chapter = read(root() / "book" / "chapters" / f"{published}.ipynb")
    record = read(root() / "results" / f"{published}.json")
    if why := freshness.why_stale(record):
        assert source(chapter["cells"][0]).startswith("# "), "the note's place is below the title"
        assert record["started"][:10] in versions.earlier_version_note(record, why)
    else:
        now = versions.with_present_text(chapter, published)
        fetched, shown = "google.colab", [source(c) for c in chapter["cells"]]
        assert [s for s in shown if fetched not in s] == [source(c) for c in now["cells"]], "publish --text"


def order(toc) -> list[str]:
    """Return the chapters in the order in which a table of contents lists them."""
    return [file.removeprefix("chapters/") for file in toc_files(toc) if file.startswith("chapters/")]


def is_text(path) -> bool:
    return path.suffix in {".py", ".j2", ".html", ".js", ".css", ".md", ".yml", ".toml"}


def test_order_of_the_book_is_in_the_toc_alone():
    toc = yaml.safe_load((root() / "_toc.yml").read_text())
    assert toc["format"] == "jb-book" and toc["root"] == "index"
    assert sorted(order(toc)) == sorted(p.stem for p in (root() / "notebooks").glob("*.ipynb"))  # each once
    code = [p for folder in ("cifar_utils", "reproduce") for p in (root() / folder).rglob("*") if is_text(p)]
    assert len(code) > 100
    for path in (*code, root() / "Makefile", root() / "Snakefile", root() / "_config.yml"):
        named = [name for name in NAMES if name in path.read_text(encoding="utf-8")]
        assert len(named) < 2, f"{path} names {named}"  # one is an example


@pytest.mark.parametrize("page", sorted((root() / "book" / "reports").glob("*.md")), ids=lambda p: p.stem)
def test_a_reports_page_introduces_its_chapters_in_the_order_of_the_toc(page):
    introduced = re.findall(r"^ +notebook: (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    of_report = [
        name for name in order(yaml.safe_load((root() / "_toc.yml").read_text())) if name.startswith(f"{page.stem}_")
    ]
    assert introduced == of_report and introduced


def test_no_source_holds_the_cell_that_publishing_adds_for_colab(cells):
    assert not [c for c in cells if "google.colab" in source(c)]

"""The book as one file: pages in order, bookmarks, numbers, links that stay inside."""

import pytest

from cifar_utils.errors import RunError
from reproduce.book import pdf

PAGE = """<html><head><title>{title} — Five Reports, Rerun</title></head><body><h1>{title}</h1>
<p>{text}</p><p><a href="second.html#x">the second</a> <a href="api.html">left out</a>
<a href="https://example.org/">elsewhere</a></p></body></html>"""


def test_pages_are_joined_numbered_and_linked(tmp_path, monkeypatch, browser):
    from contextlib import nullcontext

    pypdf = pytest.importorskip("pypdf")
    for name, text in (("index", "First. " * 2000), ("second", "Second."), ("api", "Left out.")):
        (tmp_path / f"{name}.html").write_text(PAGE.format(title=name.capitalize(), text=text), encoding="utf-8")
    monkeypatch.setattr(pdf, "_in_order", lambda: ["index", "absent", "second"])
    monkeypatch.setattr(pdf, "_browser", lambda: nullcontext(browser))
    path = pdf.write(tmp_path)
    assert path == tmp_path / pdf.FILE and sorted(p.name for p in tmp_path.glob("*.pdf*")) == [pdf.FILE]
    file = pypdf.PdfReader(path)
    last = len(file.pages) - 1
    assert last >= 1
    chapters = [item for item in file.outline if not isinstance(item, list)]
    assert [(item.title, file.get_destination_page_number(item)) for item in chapters] == [
        ("Index", 0),
        ("Second", last),
    ]
    for number, page in enumerate(file.pages, 1):
        assert page.extract_text().split()[-1] == str(number)
    actions = [a.get_object().get("/A") for a in file.pages[last - 1]["/Annots"]]
    inside, left_out, elsewhere = actions
    assert inside["/S"] == "/GoTo" and file.get_page_number(inside["/D"][0].get_object()) == last
    assert left_out is None and elsewhere["/URI"] == "https://example.org/"


def test_what_is_missing_is_said(monkeypatch):
    monkeypatch.setattr(pdf, "BROWSERS", ("no such browser",))
    playwright = pytest.importorskip("playwright.sync_api")

    class Nowhere:
        chromium = type("Chromium", (), {"executable_path": "/nowhere"})

        def __enter__(self):
            return self

        def __exit__(self, *error):
            return None

    monkeypatch.setattr(playwright, "sync_playwright", Nowhere)
    with pytest.raises(RunError, match="expected one of no such browser"), pdf._browser():
        pass


def test_the_pages_left_out_are_pages_and_all_others_are_in():
    names = pdf._in_order()
    assert names[0] == "index" and "chapters/a3_q4_alexnet_features" in names and len(names) > 30
    assert not set(pdf.LEFT_OUT) & set(names)

"""The whole book as one PDF: each page printed by a browser without a window, joined, numbered, with bookmarks."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import yaml

from cifar_utils.errors import RunError
from cifar_utils.paths import root, toc_files

from .. import vectors

#: The book's file, beside its pages; the first page links to it where this variable is set.
FILE, LINKED = "five-reports-rerun.pdf", "CIFAR_UTILS_PDF"

#: Pages that nobody would read on paper: tables to search, and the reference of the code.
LEFT_OUT = ("scoreboard", "trainings", "api", "changes")

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

_SIZE = {"format": "A4", "print_background": True, "prefer_css_page_size": False}
#: Of a page's size on a screen: a line holds as much text as a book's, and a table its columns.
_SCALE = 0.72
_MARGIN = {"top": "16mm", "bottom": "18mm", "left": "16mm", "right": "16mm"}
#: A picture's file is called as that of its vectors; its size on the page stays.
_TO_VECTORS = """drawn => { for (const image of document.images) {
    const name = image.src.split("/").pop().split(".")[0]
    if (Object.hasOwn(drawn, name)) image.src = drawn[name]
} }"""
_NUMBERS = "<style>@page {{ margin: 0 }} body {{ margin: 0 }} p {{ height: 296mm; margin: 0; box-sizing: border-box; "
_NUMBERS += "padding-top: 284mm; text-align: center; font: 9pt sans-serif; color: #57606a; break-after: page }}"
_NUMBERS += "</style>{}"


def write(pages: Path) -> Path:
    """Print the rendered book.

    Args:
        pages: folder of its pages.

    Returns:
        The file, in the same folder.

    Raises:
        RunError: there is no browser or a part is not installed; it is said which.
    """
    try:
        from pypdf import PdfReader, PdfWriter
    except ImportError:
        raise RunError("make pdf needs pypdf; install it with: pip install -r requirements.txt") from None
    there = [name for name in _in_order() if (pages / f"{name}.html").exists()]
    whole, starts = PdfWriter(), {}
    with _browser() as browser:
        for name, (title, printed) in zip(there, _printed(browser, pages, there), strict=True):
            starts[(pages / f"{name}.html").resolve()] = len(whole.pages)
            whole.append(PdfReader(io.BytesIO(printed)), outline_item=title, import_outline=True)
        numbers = PdfReader(io.BytesIO(_page_numbers(browser, len(whole.pages))))
    for page, number in zip(whole.pages, numbers.pages, strict=False):
        page.merge_page(number)
    _link_inside(whole, starts)
    whole.add_metadata({"/Title": "Five Reports, Rerun"})
    whole.compress_identical_objects()
    part = pages / f"{FILE}.part"
    with part.open("wb") as file:
        whole.write(file)
    os.replace(part, pages / FILE)
    return pages / FILE


def _in_order() -> list[str]:
    toc = yaml.safe_load((root() / "_toc.yml").read_text(encoding="utf-8"))
    return [name for name in toc_files(toc) if name not in LEFT_OUT]


@contextmanager
def _browser() -> Iterator:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise RunError("make pdf needs playwright; install it with: pip install -r requirements.txt") from None
    with sync_playwright() as playwright:
        found = next(filter(None, map(shutil.which, BROWSERS)), None) or playwright.chromium.executable_path
        if not found or not Path(found).exists():
            raise RunError(f"make pdf needs a browser; expected one of {', '.join(BROWSERS)} on this machine, or "
                           "what `python -m playwright install chromium` brings.")  # fmt: skip
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield browser
        finally:
            browser.close()


def _printed(browser, pages: Path, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """Yield title and PDF of each page, its formulas drawn and its pictures there, as vectors where there are any."""
    context = browser.new_context(color_scheme="light")
    drawn = {svg.stem: svg.resolve().as_uri() for svg in (pages / vectors.FOLDER).glob("*.svg")}
    for name in names:
        page = context.new_page()
        page.goto((pages / f"{name}.html").resolve().as_uri(), wait_until="load")
        page.evaluate(_TO_VECTORS, drawn)
        page.evaluate("all = [...document.images]; all.forEach(i => i.loading = 'eager');"
                      "Promise.all(all.map(i => i.decode().catch(() => 0)))")  # fmt: skip
        page.evaluate("document.fonts.ready.then(() => 0)")
        title = page.title().removesuffix(" — Five Reports, Rerun")
        yield title, page.pdf(**_SIZE, margin=_MARGIN, scale=_SCALE, outline=True, tagged=True)
        page.close()
    context.close()


def _page_numbers(browser, count: int) -> bytes:
    """Return a PDF of as many empty pages that have nothing but their numbers."""
    page = browser.new_page()
    page.set_content(_NUMBERS.format("".join(f"<p>{n}</p>" for n in range(1, count + 1))))
    return page.pdf(**_SIZE, margin=dict.fromkeys(_MARGIN, "0"))


def _link_inside(whole, starts: dict[Path, int]) -> None:
    """Let links to the book's own pages lead to where these are in the file."""
    from pypdf.generic import ArrayObject, DictionaryObject, NameObject

    for page in whole.pages:
        for annotation in page.get("/Annots") or ():
            action = annotation.get_object().get("/A", {})
            target = urlsplit(str(action.get("/URI", "")))
            place = starts.get(Path(unquote(target.path))) if target.scheme == "file" else None
            if place is not None:
                where = ArrayObject([whole.pages[place].indirect_reference, NameObject("/Fit")])
                goto = DictionaryObject({NameObject("/S"): NameObject("/GoTo"), NameObject("/D"): where})
                annotation.get_object()[NameObject("/A")] = goto
            elif target.scheme == "file":  # to a page that is left out
                annotation.get_object().pop("/A", None)

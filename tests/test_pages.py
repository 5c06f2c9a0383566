"""The published book, rendered and opened: figures, links, console, requests, phone width, scoreboard."""

import functools
import http.server
import json
import os
import re
import subprocess
import sys
import threading
from html import unescape
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import pytest

from cifar_utils.paths import root
from reproduce import freshness
from reproduce.book import comparison, hero, lighter, scoreboard
from reproduce.book.edition import Edition

#: The rows of the scoreboard: of the literature only what a published chapter has judged.
LISTED = scoreboard.listed(scoreboard.rows(Edition().records))

#: The first test of a process waits for the whole book to be built.
pytestmark = pytest.mark.timeout(900)

#: Milliseconds for a page to open: two are long, and a machine may be busy with trainings.
PATIENCE = 120_000
WIDTHS = {"desktop": (1280, 800), "phone": (390, 844)}
#: What the script `jupyter-book` calls; the script itself names the folder that it was installed in.
JUPYTER_BOOK = "import sys; from jupyter_book.cli.main import main; sys.exit(main())"
FILE_NAME = re.compile(r".*\.(png|jpe?g|svg|gif|webp)", re.IGNORECASE)


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """What Jupyter Book's own command makes of this folder, with warnings as errors; built once for all processes."""
    if find_spec("jupyter_book") is None:
        pytest.skip("jupyter-book is not installed")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-c", JUPYTER_BOOK, "build", ".", "-n", "-W", "--keep-going", "--path-output", out]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("CIFAR_UTILS")}
    before = files_of_the_book()
    done = subprocess.run(command, cwd=root(), env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    assert files_of_the_book() == before, "it writes nothing beside its pages"
    return out / "_build" / "html"


def files_of_the_book() -> set[Path]:
    """Return the files of the folders that a book is made of."""
    return {path for folder in ("book", "results", "claims") for path in (root() / folder).rglob("*")}


@pytest.fixture(scope="session")
def pages(site):
    skip = {"genindex.html", "search.html", "py-modindex.html"}
    found = {path.relative_to(site).as_posix(): Page(path) for path in sorted(site.rglob("*.html"))
             if not {"_static", "_modules"} & set(path.parts) and path.name not in skip}  # fmt: skip
    assert "index.html" in found and len(found) > 10
    return found


class Page(HTMLParser):
    """Links, images and anchors of one page."""

    def __init__(self, path: Path):
        super().__init__()
        self.links, self.images, self.ids, self.captions, self._in_figure = [], [], set(), [], 0
        self.text = path.read_text(encoding="utf-8")
        self.feed(self.text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.ids.update(found[key] for key in ("id", "name") if found.get(key))
        if tag == "figure":
            self._in_figure += 1
        if tag == "img":
            self.images.append({**found, "in_figure": self._in_figure > 0})
        for key in ("href", "src"):
            if found.get(key):
                self.links.append(found[key])

    def handle_endtag(self, tag):
        self._in_figure -= tag == "figure"


def test_every_internal_link_leads_to_a_file_and_an_anchor(site, pages):
    broken, known = [], {}
    for name, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or link.startswith("//"):
                continue
            target = (site / name).parent / unquote(parts.path) if parts.path else site / name
            target = Path(os.path.normpath(target))
            if not target.is_file():
                broken.append(f"{name}: {link}")
            elif parts.fragment and target.suffix == ".html":
                key = target.relative_to(site).as_posix()
                if key not in pages and key not in known:
                    known[key] = Page(target)
                if unquote(parts.fragment) not in (pages.get(key) or known[key]).ids:
                    broken.append(f"{name}: {link}")
    assert not broken


def test_no_page_is_heavy(site, pages):
    fonts = sum(path.stat().st_size for path in (site / lighter.ICON_FONTS).glob("*"))
    for name, page in pages.items():
        files = {Path(os.path.normpath((site / name).parent / urlsplit(link).path)) for link in page.links}
        sent = [path for path in files if path.suffix in (".css", ".js", ".webp", ".png", ".svg", ".woff2")]
        size = fonts + len(page.text.encode()) + sum(path.stat().st_size for path in sent if path.is_file())
        most = {"index.html": 0.6e6, "trainings.html": 4e6, "api.html": 2.5e6}.get(name, 1.5e6)
        assert all("width" in image for image in page.images if "_images/" in image["src"]), name
        assert size < most, f"{name} with what it shows has {size:,} bytes"


def test_every_figure_says_what_it_shows_and_has_a_number(pages):
    poor = []
    for name, page in pages.items():
        for image in page.images:
            alt = (image.get("alt") or "").strip()
            if not alt or FILE_NAME.fullmatch(alt):
                poor.append(f"{name}: {image.get('src')} has alt text {alt!r}")
        # a finding's picture stands between its title and its sentence, one of the gallery above its caption, and the
        # one that answers a chapter is shown once more in its place
        shown = {i["src"] for i in page.images if re.search("_images/(?!finding-|gallery-)", i["src"])}
        told = {i["src"] for i in page.images if i["in_figure"]}
        poor += [f"{name}: {source} has no caption" for source in shown - told]
        if page.text.count('class="caption-number"') < len(shown):
            poor.append(f"{name}: {len(shown)} figures, fewer numbers")
    assert not poor


def test_every_published_chapter_has_a_page_that_is_current_or_says_why_it_is_not(pages):
    letters = lambda text: "".join(re.findall(r"\w", text))  # noqa: E731
    for name, record in scoreboard.read_records(root() / "results").items():
        text = letters(unescape(re.sub("<[^>]+>", "", pages[f"chapters/{name}.html"].text)))
        why = freshness.why_stale(record, executed=json.loads((root() / f"book/chapters/{name}.ipynb").read_text()))
        assert (letters("This page is of an earlier version") in text) == bool(why), f"{name}: {why or 'is current'}"
        assert letters(why) in text, name


def test_the_page_of_trainings_has_those_of_every_published_chapter_and_a_file_of_them(site, pages):
    used = {
        key for record in scoreboard.read_records(root() / "results").values() for key in record.get("trainings", {})
    }
    assert used <= pages["trainings.html"].ids
    table = (site / "trainings.csv").read_text(encoding="utf-8").splitlines()
    assert table[0].startswith("key,chapters,") and {line.split(",")[0] for line in table[1:]} == used


def test_no_page_shows_a_traceback_or_a_path_of_the_machine(pages):
    for name, page in pages.items():
        assert "Traceback (most recent call last)" not in page.text, name
        assert not re.search(r"/(home|root|Users|work)/\w", re.sub(r"https?://\S+", "", page.text)), name


class Rows(HTMLParser):
    """The rows of a ledger table: for each claim's anchor, its verdict and where its links lead."""

    def __init__(self, text: str):
        super().__init__()
        self.verdicts, self.links, self._row, self._in_badge = {}, {}, None, False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if tag == "tr":
            self._row = found.get("id")
        elif self._row and tag == "a":
            self.links.setdefault(self._row, []).append(found["href"])
        self._in_badge = tag == "span" and "cu-badge" in found.get("class", "")

    def handle_endtag(self, tag):
        if tag == "tr":
            self._row = None

    def handle_data(self, data):
        if self._row and self._in_badge:
            self.verdicts[self._row], self._in_badge = data, False


def test_scoreboard_and_chapters_give_a_claim_the_same_verdict_and_lead_to_each_other(pages):
    board = Rows(pages["scoreboard.html"].text)
    assert len(board.verdicts) == len(LISTED)
    chapters = {name: Rows(page.text) for name, page in pages.items() if name.startswith("chapters/")}
    for anchor, links in board.links.items():
        chapter, _, part = links[0].partition("#")
        assert part == anchor and chapters[chapter].verdicts[anchor] == board.verdicts[anchor]
    assert sum(len(rows.verdicts) for rows in chapters.values()) == len(board.links) > 400


def test_a_claims_row_leads_to_the_cell_that_measured_it(pages):
    for name, page in pages.items():
        rows = Rows(page.text) if name.startswith("chapters/") else None
        for links in rows.links.values() if rows else ():
            assert links[-1].startswith("#cell-") and links[-1][1:] in page.ids


def test_the_reference_links_to_the_source(site, pages):
    sources = [link for link in pages["api.html"].links if link.startswith("_modules/")]
    assert any(link.startswith("_modules/cifar_utils/train/loop.html#") for link in sources)
    assert any(link.startswith("_modules/reproduce/ledger.html#") for link in sources)


# ---- in a browser ----


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="session")
def address(site):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(params=WIDTHS)
def tab(request, browser, address):
    """A tab that notes whatever goes wrong in it."""
    width, height = WIDTHS[request.param]
    context = browser.new_context(viewport={"width": width, "height": height})
    context.set_default_navigation_timeout(PATIENCE)
    page = context.new_page()
    page.trouble = []
    page.on("console", lambda m: page.trouble.append(f"console: {m.text}") if m.type == "error" else None)
    page.on("pageerror", lambda error: page.trouble.append(f"script: {error}"))
    page.on("requestfailed", lambda r: None if r.failure == "net::ERR_ABORTED"  # a page was left before it had all
            else page.trouble.append(f"failed: {r.url}: {r.failure}"))  # fmt: skip
    page.on("response", lambda r: page.trouble.append(f"{r.status}: {r.url}") if r.status >= 400 else None)
    page.on("request", lambda r: None if r.url.startswith((address, "data:", "blob:"))
            else page.trouble.append(f"elsewhere: {r.url}"))  # fmt: skip
    yield page
    context.close()


def test_every_page_opens_whole_and_without_complaint(tab, address, pages):
    for name in pages:
        tab.goto(f"{address}/{name}", wait_until="load")
        images = tab.eval_on_selector_all(
            "img", "all => Promise.all(all.map(async i => { i.loading = 'eager'; await i.decode().catch(() => 0);"
                   " return [i.src, i.naturalWidth] }))")  # fmt: skip
        tab.trouble += [f"{name}: image {src} is empty" for src, width in images if not width]
        beyond = tab.evaluate(
            "Math.max(document.documentElement.scrollWidth, document.body.scrollWidth) - innerWidth"
        )
        if beyond > 0:
            tab.trouble.append(f"{name}: {beyond} pixels wider than the window")
    assert not tab.trouble


@pytest.mark.parametrize(
    "name",
    ["index.html", "scoreboard.html", "trainings.html", "chapters/rdfia_ab_q1_theory.html",
     "chapters/a1_q2_3_tsne.html", "chapters/hw3_q2_regularisation.html"],
)  # fmt: skip
def test_nothing_jumps_as_a_page_opens(tab, address, name):
    tab.add_init_script(
        "window.moved = 0; new PerformanceObserver(list => list.getEntries().forEach(e => window.moved += e.value))"
        ".observe({type: 'layout-shift', buffered: true})"
    )
    tab.goto(f"{address}/{name}", wait_until="load")
    tab.evaluate("document.fonts.ready.then(() => 0)")
    tab.wait_for_timeout(500)  # what a script moves once all is there
    assert tab.evaluate("window.moved") < 0.05


ACCESSIBLE = ["index.html", "compare.html", "curves.html", "reports/a1.html", "chapters/rdfia_ab_q1_theory.html",
              "cost.html", "scoreboard.html", "trainings.html", "api.html"]  # fmt: skip
#: Rows and entries of a thousand of a kind, of which forty all over the page are looked at: all take axe minutes.
MANY = "#cu-scoreboard tbody tr, #cu-trainings tbody tr, section > dl.py"
THINNED = "all => all.forEach((e, i) => { if (i % Math.ceil(all.length / 40)) e.remove(); })"


@pytest.mark.parametrize("device", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_that_shuts_a_reader_out(browser, address, scheme, device):
    from axe_playwright_python.sync_playwright import Axe

    width, height = WIDTHS[device]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    context.set_default_navigation_timeout(PATIENCE)
    page, found = context.new_page(), []
    for name in ACCESSIBLE:
        page.goto(f"{address}/{name}", wait_until="load")
        page.eval_on_selector_all(MANY, THINNED)
        violations = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
        found += [f"{name}: {v['id']} at {v['nodes'][0]['target']}" for v in violations]
    context.close()
    assert not found


def test_a_solution_opens_and_in_it_the_code_that_computes_it(tab, address):
    tab.goto(f"{address}/chapters/nndl_t4_training.html")
    solution = tab.locator(".solution").first
    code = solution.locator("details.cu-computes pre")
    solution.locator(".toggle-button").first.click()
    assert not code.is_visible()
    solution.locator("summary", has_text="Show the code that computes this").click()
    code.wait_for()
    assert "assert" in code.inner_text() and code.evaluate("e => e.scrollWidth <= e.clientWidth + 1")
    assert not tab.trouble


def test_the_landing_page_says_the_essential_on_one_screen(tab, address):
    tab.goto(f"{address}/index.html")
    height = tab.viewport_size["height"]
    bottom = tab.eval_on_selector(".cu-tiles", "e => e.getBoundingClientRect().bottom")
    assert bottom <= height
    if tab.viewport_size["width"] > 1000:
        assert tab.eval_on_selector(".cu-hero svg", "e => e.getBoundingClientRect().bottom") <= height


def test_the_picture_of_the_first_page_names_each_point_and_leads_to_its_claim(tab, address):
    tab.goto(f"{address}/index.html")
    points = tab.locator(".cu-hero a")
    assert points.count() == len(hero.dots(Edition().rows)) > 50
    told = points.last.locator("title").text_content()
    assert "Reported" in told and "here" in told
    points.last.click(force=True)
    tab.wait_for_url("**/chapters/*.html#claim-*")


def test_every_icon_has_a_letter_in_a_font_that_has_come(tab, address):
    tab.goto(f"{address}/chapters/rdfia_ab_circles.html")
    letters = "all => all.map(e => [e.className, getComputedStyle(e, '::before').content])"
    icons = tab.eval_on_selector_all("i[class*='fa-'], span[class*='fa-']", letters)
    assert len(icons) > 10 and not [name for name, letter in icons if len(letter) != len('"?"')]
    loaded = "document.fonts.ready.then(all => [...all].filter(f => f.status == 'loaded').map(f => f.family))"
    assert {"Font Awesome 6 Free", "Font Awesome 6 Brands"} <= {f.strip('"') for f in tab.evaluate(loaded)}


@pytest.mark.parametrize("width", [390, 800, 1280])
def test_the_buttons_for_chapters_and_contents_open_them(browser, address, width):
    context = browser.new_context(viewport={"width": width, "height": 800})
    page = context.new_page()
    page.goto(f"{address}/chapters/rdfia_ab_circles.html")
    chapter = page.locator(".bd-sidebar-primary nav.bd-links a", has_text="A straight line, a circle and a kernel")
    wide = width > 1000
    assert chapter.is_visible() == wide
    page.locator(".primary-toggle:visible").first.click()
    chapter.wait_for(state="hidden" if wide else "visible")
    if not wide:
        page.keyboard.press("Escape")
        chapter.wait_for(state="hidden")
        part = page.locator(".bd-sidebar-secondary a", has_text="Verdicts")
        assert not part.is_visible()
        page.locator(".secondary-toggle:visible").first.click()
        part.wait_for(state="visible")
    context.close()


def test_an_address_with_a_filter_opens_without_complaint(tab, address):
    from playwright.sync_api import expect

    for page, row in (("scoreboard", "#cu-scoreboard tbody tr"), ("trainings", "#cu-trainings tbody tr")):
        tab.goto(f"{address}/{page}.html")
        tab.wait_for_load_state("networkidle")
        everything = tab.locator(f"{row}:visible").count()
        tab.get_by_role("searchbox", name=re.compile("Search (claims|trainings)")).fill("dropout")
        some = tab.locator(f"{row}:visible").count()
        assert 0 < some < everything and "find=dropout" in tab.url
        tab.reload()
        expect(tab.locator(f"{row}:visible")).to_have_count(some)  # waits for the script of the page
    assert not tab.trouble


def test_a_reports_tiles_lead_to_that_reports_claims(tab, address):
    from playwright.sync_api import expect

    tab.goto(f"{address}/reports/a1.html")
    tile = tab.locator(".cu-tile").first
    wanted = int(tile.locator("b").inner_text())
    tile.click()
    tab.locator("#cu-scoreboard").wait_for()
    rows = tab.locator("#cu-scoreboard tbody tr:visible")
    expect(rows).to_have_count(wanted)  # waits for the script of the page
    assert set(rows.evaluate_all("all => all.map(r => r.dataset.report)")) == {"a1"}


def test_on_a_phone_a_chapter_shows_its_answer_within_two_screens_and_its_card_in_one_column(browser, address, pages):
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    for name in (n for n in pages if n.startswith("chapters/")):
        page.goto(f"{address}/{name}")
        columns = page.eval_on_selector(
            "dl.cu-card", "e => getComputedStyle(e).gridTemplateColumns.split(' ').length"
        )
        assert columns == 1, name
        assert page.locator("main img[src*=_images]").first.bounding_box()["y"] < 2 * 844, name
    context.close()


def test_on_a_phone_the_table_of_trainings_needs_no_scrolling_sideways(browser, address):
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.goto(f"{address}/trainings.html", wait_until="load")
    within, needed = page.eval_on_selector(".cu-scroll", "e => [e.clientWidth, e.scrollWidth]")
    assert needed <= within
    context.close()


def test_on_paper_nothing_is_clipped_and_the_dark_is_light(browser, address):
    context = browser.new_context(viewport={"width": 700, "height": 900}, color_scheme="dark")
    page = context.new_page()
    page.goto(f"{address}/chapters/rdfia_ab_circles.html")
    page.emulate_media(media="print", color_scheme="dark")
    page.wait_for_timeout(300)
    clipped = """all => all.filter(e => e.offsetParent && e.scrollWidth > e.clientWidth + 1
        && getComputedStyle(e).overflowX != 'visible').length"""
    assert page.eval_on_selector_all(".bd-article pre, .bd-article .highlight", clipped) == 0
    assert page.locator("details.hide:visible, .bd-sidebar:visible, .copybtn:visible").count() == 0
    ink = page.eval_on_selector(".bd-article p", "e => getComputedStyle(e).color")
    assert max(map(int, re.findall(r"\d+", ink)[:3])) < 90, "dark ink on white paper"
    assert page.locator(".cu-print").is_visible()
    context.close()


def test_the_scoreboards_filters_hide_rows_and_bring_them_back(tab, address):
    def visible():
        return tab.locator("#cu-scoreboard tbody tr:visible").count()

    tab.goto(f"{address}/scoreboard.html")
    total = visible()
    assert total == len(LISTED)
    first = tab.get_by_role("group", name="verdict").get_by_role("button").first
    wanted = int(first.locator("b").inner_text())
    first.focus()
    tab.keyboard.press("Enter")
    assert first.get_attribute("aria-pressed") == "true"
    assert visible() == wanted and "verdict=" in tab.url
    tab.reload()
    assert visible() == wanted
    tab.get_by_role("searchbox", name="Search claims").fill("no claim says this")
    assert visible() == 0
    tab.get_by_role("button", name="Show all").click()
    assert visible() == total and "?" not in tab.url


#: What a reader may ask the search, and the page that should come first, behind at most an entry of the glossary.
QUESTIONS = {
    "does dropout help": "compare",
    "best CIFAR-10 accuracy": "compare",
    "what helps": "compare",
    "dropout": "rdfia_cd_q29_dropout_batchnorm",
    "batch normalisation": "rdfia_cd_q29_dropout_batchnorm",
    "vanishing gradients": "hw3_q1_vanishing_gradients",
    "L1 and L2 regularisation": "hw3_q2_regularisation",
    "Gurmukhi digits": "hw3_q2_regularisation",
    "t-SNE map": "a1_q2_3_tsne",
    "triplet loss": "a1_q2_1_triplet_encoder",
    "frozen embeddings": "a1_q2_4_softmax_on_embeddings",
    "softmax regression": "a1_q1_softmax_regression",
    "Network B": "a1_q2_5_network_b",
    "learning rate schedule": "rdfia_cd_q26_schedules",
    "momentum": "rdfia_cd_q26_schedules",
    "data augmentation": "rdfia_cd_q22_augmentation",
    "ZCA whitening": "rdfia_cd_q19_standardization",
    "standardisation": "rdfia_cd_q19_standardization",
    "receptive field": "rdfia_cd_q1_theory",
    "overfitting": "rdfia_cd_q13_baseline_cnn",
    "support vector machine kernel": "rdfia_ab_svm",
    "AlexNet features": "a3_q4_alexnet_features",
    "network that never learned": "a3_q4_alexnet_features",
    "hidden units letters": "a3_q3_ocr_letters",
    "MNIST from scratch": "a3_q2_mnist_from_scratch",
    "mixing weights": "nndl_t6_mixing_weights",
    "Slurm cluster": "rerun",
}


def test_the_search_finds_the_right_page_first(browser, address):
    context = browser.new_context()
    page, wrong = context.new_page(), {}
    for question, wanted in QUESTIONS.items():
        page.goto(f"{address}/search.html?q={quote(question)}")
        page.wait_for_function("/found|did not match/.test(document.querySelector('#search-results').innerText)")
        links = page.eval_on_selector_all("ul.search li > a", "all => all.map(a => a.getAttribute('href'))")
        first = next((link for link in links if not link.startswith("glossary.html#")), "nothing")
        if Path(urlsplit(first).path).stem != wanted:
            wrong[question] = links[:3]
    context.close()
    assert not wrong


# ---- what a reader comes for ----


def test_the_best_accuracy_and_its_command_are_one_click_away(tab, address):
    tab.goto(f"{address}/index.html")
    tab.locator(".cu-next .sd-card:has(a[href='compare.html'])").click()
    tab.wait_for_url("**/compare.html")
    best = tab.locator("h3:has-text('ten classes') + .cu-scroll tbody tr").first
    said = best.inner_text()
    _, (first, *_) = comparison.read(Edition(), root() / "book" / "compare.yml", "accuracy")[0]
    assert first.text in said and f"reproduce run {first.notebook}" in said
    assert re.search(r"\d\d\.\d+ \[\d\d\.\d+, \d\d\.\d+\] %", said)
    values = tab.locator("h3:has-text('ten classes') + .cu-scroll tbody td:nth-child(2)").all_inner_texts()
    numbers = [float(re.search(r"[\d.]+", value)[0]) for value in values]
    assert numbers == sorted(numbers, reverse=True) and len(numbers) > 5


def test_whether_dropout_helps_stands_on_one_screen(tab, address):
    tab.goto(f"{address}/compare.html#what-helps")
    group = tab.locator("tbody:has(th:text-is('Dropout'))")
    group.scroll_into_view_if_needed()
    box = group.bounding_box()
    assert box["height"] < tab.viewport_size["height"]
    effects = group.locator(".cu-badge").all_inner_texts()
    assert len(effects) >= 2 and set(effects) <= {"helps", "hurts", "cannot tell"}


def test_how_the_reports_fared_stands_at_the_top_and_adds_up(tab, address):
    tab.goto(f"{address}/compare.html")
    table = tab.locator(".cu-grid").first
    assert table.bounding_box()["y"] + table.bounding_box()["height"] < tab.viewport_size["height"] * 1.2
    cells = table.locator("tbody tr").evaluate_all(
        "all => all.map(r => [...r.cells].slice(1).map(c => +c.innerText))"
    )
    *verdicts, everything = cells
    assert [sum(column) for column in zip(*verdicts, strict=True)] == everything
    assert sum(everything[:-1]) == everything[-1]


def test_what_was_wrong_about_alexnet_is_one_click_from_the_scoreboard(tab, address):
    tab.goto(f"{address}/scoreboard.html?find=alexnet")
    row = tab.locator("#cu-scoreboard tbody tr:visible").first
    row.locator("a").first.click()
    tab.wait_for_url("**/a3_q4_alexnet_features.html#claim-*")
    assert "divides it by itself" in tab.locator(".cu-short").inner_text()


def test_a_curve_tells_the_point_that_a_pointer_or_a_key_is_at(tab, address):
    tab.goto(f"{address}/curves.html")
    figure = tab.locator(".cu-laid-over").first
    figure.locator("svg").hover()
    told = figure.locator("output").inner_text()
    assert re.search(r"reported .+, here ", told)
    figure.focus()
    tab.keyboard.press("ArrowLeft")
    before = figure.locator("output").inner_text()
    assert before != told and "reported" in before
    assert not tab.trouble


IMAGES_SHOWN = """() => {
  const found = [];
  const walk = (root) => root.querySelectorAll("*").forEach((each) => {
    if (each.shadowRoot) walk(each.shadowRoot);
    const style = each.localName === "i" ? getComputedStyle(each) : {};
    if (style.backgroundImage?.startsWith("url(") && style.width === "32px") found.push(style.backgroundPosition);
  });
  walk(document);
  return found;
}"""


def test_a_map_opens_and_shows_the_image_under_the_pointer_and_those_nearest(tab, address):
    asked = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(f"{address}/chapters/a1_q2_3_tsne.html")
    assert not any("bokeh" in url for url in asked), "a megabyte that only a reader who asks for it needs"
    opened = tab.locator(".cu-map").nth(1)  # random labels: its points lie all over the map
    opened.get_by_role("button", name="Touch this map").click()
    canvas = opened.locator("canvas").first
    canvas.wait_for()
    tab.wait_for_timeout(1000)
    canvas.evaluate("canvas => canvas.scrollIntoView({ block: 'center', behavior: 'instant' })")
    box = canvas.bounding_box()
    tried = ((x / 24, y / 20) for y in range(6, 14) for x in range(4, 20))
    for x, y in tried:  # no point lies at a place known beforehand
        tab.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
        tab.wait_for_timeout(60)
        if shown := tab.evaluate(IMAGES_SHOWN):
            break
    points = len(shown) / (1 + 5)  # on a phone a finger may be on two of them
    assert points in (1, 2, 3) and len(set(shown)) >= 6
    assert not tab.trouble


def test_without_scripts_the_whole_scoreboard_shows(browser, address):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{address}/scoreboard.html")
    assert page.locator("#cu-scoreboard tbody tr:visible").count() == len(LISTED)
    context.close()


def test_in_the_dark_figures_and_cards_can_be_read(browser, address, pages):
    context = browser.new_context(color_scheme="dark")
    page = context.new_page()
    for name in (n for n in pages if n.startswith("chapters/") or n == "benchmarks.html"):
        page.goto(f"{address}/{name}")
        assert page.get_attribute("html", "data-theme") == "dark"
        styles = "all => all.map(e => [getComputedStyle(e).backgroundColor, getComputedStyle(e).filter])"
        for ground, effect in page.eval_on_selector_all("figure img", styles):
            assert (ground, effect) == ("rgb(255, 255, 255)", "none")
        for text in page.eval_on_selector_all(
            ".cu-card dd, .cu-ledger td", "all => all.map(e => getComputedStyle(e).color)"
        ):
            assert min(map(int, re.findall(r"\d+", text)[:3])) > 150, f"dark text {text} on dark ground in {name}"
    context.close()

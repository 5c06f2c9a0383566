"""The book's Sphinx extension: `jupyter-book build .` renders it with everything that is computed in place.

Pages lie in `book/`, chapters where the runs are that the book is made of (`Edition`). What a page shows of the
ledger comes from its directives (`parts.PARTS`) and the templates in `templates/`; nothing is copied or rewritten.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from weakref import WeakKeyDictionary

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment
from sphinx.errors import ExtensionError
from sphinx.project import Project
from sphinx.util.docutils import SphinxDirective

from cifar_utils.errors import CifarUtilsError

from .. import maps, vectors, versions
from ..cards import render
from . import curves, formulas, html_pages, lighter, share, solution_code, trainings_page
from .chapter_page import as_page, cell_anchors
from .docstrings import attributes_apart
from .edition import PROFILE_VARIABLE, Edition
from .parts import PARTS, Place

#: What a book of one's own runs says above every page.
BANNER = "Your own run at profile {profile}{sample}. The published book is another one: make book."

_CHAPTERS = "chapters/"
_editions: WeakKeyDictionary[Sphinx, Edition] = WeakKeyDictionary()
_CODE = [path for path in Path(__file__).parents[1].rglob("*") if path.suffix in (".py", ".j2")]


def setup(app: Sphinx) -> dict:
    """Register the extension."""
    # Addresses of pages begin below book/, while _config.yml and _toc.yml stay where Jupyter Book looks for them.
    app.srcdir = app.srcdir / "book"
    app.add_config_value("reproduce_profile", os.environ.get(PROFILE_VARIABLE, ""), "env", str)
    for name in PARTS:
        app.add_directive(name, Part)
    app.connect("config-inited", prepare, priority=950)  # behind the reading of _toc.yml, at 900
    app.connect("builder-inited", find_chapters)
    app.connect("source-read", show_present)
    app.connect("doctree-read", mark_cells)
    app.connect("autodoc-process-docstring", attributes_apart, priority=600)  # behind napoleon, at 500
    app.connect("html-page-context", finish_page, priority=900)  # behind those that add scripts
    app.connect("build-finished", finish_book)
    app.add_html_math_renderer("mathml", (formulas.visit_inline, None), (formulas.visit_block, None))
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}


class Part(SphinxDirective):
    """A generated part of a page, such as the scoreboard, or what came out for one report."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Fill the part's template; HTML stands as it is, Markdown is read like the rest of the page."""
        edition = _editions[self.env.app]
        _note_sources(self.env, edition.sources())
        try:
            template, values = PARTS[self.name](Place(edition, self._address, self._store), *self.arguments)
        except CifarUtilsError as error:
            raise self.error(str(error)) from error
        text = render(template, **values)
        if template.endswith(".html.j2"):
            return [nodes.raw("", text, format="html")]
        return self.parse_text_to_nodes(text)

    def _address(self, docname: str) -> str:
        return self.env.app.builder.get_relative_uri(self.env.docname, docname)

    def _store(self, name: str, png: bytes) -> str:
        path = Path(self.env.app.outdir).parent / name
        path.write_bytes(png)
        return "/" + os.path.relpath(path, self.env.srcdir)


def prepare(app: Sphinx, config: Config) -> None:
    """Find out which runs the book is made of; leave absent chapters out of the table of contents.

    Raises:
        ExtensionError: a chapter is in no table of contents or on no report's page, or a record cannot be read.
    """
    try:
        edition = _editions[app] = Edition(config.reproduce_profile)
        _check_listed(edition, set(config.external_site_map))
    except CifarUtilsError as error:
        raise ExtensionError(str(error)) from error
    _leave_out(config.external_site_map, edition.records)
    options = config.html_theme_options
    if repository := os.environ.get("GITHUB_REPOSITORY"):
        options["repository_url"] = f"https://github.com/{repository}"
    if edition.profile:
        on_sample = any(record["sample"] for record in edition.records.values())
        sample = ", on sample data: these numbers say nothing about the reports" if on_sample else ""
        options["announcement"] = BANNER.format(profile=edition.profile, sample=sample)


def _check_listed(edition: Edition, files: set[str]) -> None:
    planned = {entry.get("notebook") for plan in edition.plans.values() for entry in plan}
    for name in edition.records:
        if _CHAPTERS + name not in files:
            raise ExtensionError(f"Chapter {name} is not in _toc.yml; add chapters/{name} where it belongs.")
        if name not in planned:
            raise ExtensionError(f"Chapter {name} is on no report's page; add its part, about and notebook to the "
                                 f"list at the top of book/reports/{name.split('_')[0]}.md.")  # fmt: skip


def _leave_out(site_map, records: Iterable[str]) -> None:
    """Take the chapters that have no record out of a table of contents."""
    absent = {file for file in site_map if file.startswith(_CHAPTERS) and file.removeprefix(_CHAPTERS) not in records}
    for document in site_map.values():
        for tree in document.subtrees:
            tree.items = [item for item in tree.items if item not in absent]
        document.subtrees = [tree for tree in document.subtrees if tree.items]
    for file in absent:
        del site_map[file]


class Book(Project):
    """The pages of `book/`, with the chapters of an edition, wherever these lie."""

    def __init__(self, project: Project, edition: Edition):
        super().__init__(project.srcdir, project.source_suffix)
        self.restore(project)
        self.chapters = {_CHAPTERS + name: str(edition.notebook(name)) for name in edition.records}

    def discover(self, exclude_paths: Iterable[str] = (), include_paths: Iterable[str] = ("**",)) -> set[str]:
        """Find all pages."""
        super().discover([*exclude_paths, f"{_CHAPTERS}**"], include_paths)
        self.docnames.update(self.chapters)
        return self.docnames

    def doc2path(self, docname: str, absolute: bool) -> str:
        """Return the file that a page is read from, or what its path would be in the folder of pages."""
        if docname in self.chapters:
            return self.chapters[docname] if absolute else f"{docname}.ipynb"
        return super().doc2path(docname, absolute)


def find_chapters(app: Sphinx) -> None:
    """Let Sphinx read the chapters of the edition."""
    app.project = app.env.project = Book(app.project, _editions[app])


def show_present(app: Sphinx, docname: str, source: list[str]) -> None:
    """Read a chapter with the verdicts of today, and with a note where its notebook was changed since its run."""
    name = docname.removeprefix(_CHAPTERS)
    if name == docname:
        return
    edition = _editions[app]
    record, why = edition.records[name], edition.earlier.get(name)
    note = versions.earlier_version_note(record, why) if why else ""
    shown = as_page(json.loads(source[0]), record, edition.records, note)
    vectors.set_aside(shown["cells"], Path(app.outdir))
    source[0] = json.dumps(shown)
    app.env.temp_data["cell_anchors"] = cell_anchors(shown)
    _note_sources(app.env, [*edition.sources_of(name), *solution_code.sources()])


def mark_cells(app: Sphinx, doctree: nodes.document) -> None:
    """Give every code cell of a chapter an anchor."""
    anchors = app.env.temp_data.get("cell_anchors") or []
    for cell in doctree.findall(nodes.container) if anchors else ():
        if cell.get("nb_element") == "cell_code":
            cell["ids"].append(anchors[cell["cell_index"]])


def finish_page(app: Sphinx, page: str, _template: str, context: dict, doctree: nodes.document | None) -> None:
    """Put the last touches on a page's HTML."""
    if doctree is None or "html_theme.sidebar_secondary.remove" in (context.get("meta") or {}):
        context["metatags"] = f"{context.get('metatags', '')}\n{html_pages.WIDE}"
    if doctree is None or not context.get("body"):
        return
    body, title = solution_code.filled(html_pages.finished(context["body"])), context.get("title", "")
    picture = share.address(app.config.html_baseurl) + share.of_page(body)
    context["metatags"] = (
        f"{context.get('metatags', '')}\n{html_pages.head(title, html_pages.description(body), picture)}"
    )
    context["body"] = body + html_pages.colophon(title, _editions[app].records.get(page.removeprefix(_CHAPTERS)))
    if "<math" in body:  # its letters come with the page, so that no line moves when they arrive
        font = context["pathto"]("_static/fonts/math.woff2", 1)
        context["metatags"] += f'\n<link rel="preload" as="font" type="font/woff2" href="{font}" crossorigin />'


def finish_book(app: Sphinx, exception: Exception | None) -> None:
    """Write the trainings and the points of all curves as tables for a spreadsheet; send nothing that is not used."""
    if exception is None and app.builder.format == "html":
        edition, out = _editions[app], Path(app.outdir)
        tables = {
            trainings_page.FILE: trainings_page.as_csv(trainings_page.rows(edition)),
            curves.FILE: curves.as_csv(curves.of(edition.rows)),
        }
        for name, table in tables.items():
            (out / name).write_text(table, encoding="utf-8")
        lighter.lighten(out)
        shutil.copyfile(maps.script(), out / "_static" / "bokeh.min.js")
        (out / share.FILE).write_bytes(share.picture(edition.rows))


def _note_sources(env: BuildEnvironment, paths: Iterable[Path]) -> None:
    """Have the page that is being read rendered again when one of these files, or the code, has changed."""
    for path in [*paths, *_CODE]:
        env.note_dependency(str(path))

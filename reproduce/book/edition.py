"""Which runs a book is made of: the published chapters, or the runs of one profile on this machine."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path

import yaml

from cifar_utils.errors import RunError
from cifar_utils.paths import notebook_path, root

from .. import freshness
from ..cards import Row
from ..ledger import REPORTS
from ..params import PROFILES
from ..record import code_files
from . import scoreboard

#: The environment variable that asks for a book of one's own runs, at the profile that it names.
PROFILE_VARIABLE = "CIFAR_UTILS_PROFILE"


class Edition:
    """The executed chapters of one book, and what is known of them.

    Attributes:
        profile: the profile whose runs these are; empty for the published book.
        chapters: folder of executed notebooks.
        results: folder of their records, and of `benchmarks.json` where there is one.
        records: the record of every notebook that left one and is there, by the notebook's name.

    Args:
        profile: as above.

    Raises:
        RunError: there is no such profile, or a record is not JSON.
    """

    def __init__(self, profile: str = ""):
        if profile and profile not in PROFILES:
            raise RunError(f"There is no profile {profile!r}; expected one of {', '.join(PROFILES)}.")
        own = root() / "runs" / profile
        self.profile = profile
        self.chapters = own if profile else root() / "book" / "chapters"
        self.results = own if profile else root() / "results"
        found = scoreboard.read_records(self.results)
        self.records = {name: record for name, record in found.items() if self.notebook(name).exists()}

    def notebook(self, name: str) -> Path:
        """Return the path of a chapter's executed notebook."""
        return self.chapters / f"{name}.ipynb"

    def title(self, name: str) -> str:
        """Return a chapter's title."""
        first = next(cell for cell in self._read(name)["cells"] if cell["cell_type"] == "markdown")
        return "".join(first["source"]).partition("\n")[0].lstrip("# ")

    @cached_property
    def rows(self) -> list[Row]:
        """One row a claim, in the ledger's order."""
        return scoreboard.rows(self.records)

    @cached_property
    def earlier(self) -> dict[str, str]:
        """Of the chapters that are not current, why."""
        asked = {
            name: freshness.why_stale(record, executed=self._read(name)) for name, record in self.records.items()
        }
        return {name: why for name, why in asked.items() if why}

    def _read(self, name: str) -> dict:
        return json.loads(self.notebook(name).read_text(encoding="utf-8"))

    @cached_property
    def plans(self) -> dict[str, list[dict]]:
        """For each report, the parts that its page lists: `part`, `about` and, where it is written, `notebook`."""
        return {report: plan(report) for report in REPORTS}

    def sources(self) -> list[Path]:
        """Return the files that generated text depends on, besides the code that writes it."""
        pages = [page(report) for report in REPORTS] + [
            root() / "book" / name for name in ("compare.yml", "gallery.yml", "headlines.yml", "lead.yml")
        ]
        return [*sorted(self.results.glob("*.json")), *sorted((root() / "claims").glob("*.yml")), *pages]

    def sources_of(self, name: str) -> list[Path]:
        """Return the files that a chapter's page depends on, besides its executed notebook and the code."""
        record = self.records[name]
        files = [self.results / f"{name}.json", notebook_path(name), root() / "claims" / f"{record['report']}.yml",
                 root() / "params" / record["profile"] / f"{name}.yml", *code_files(name)]  # fmt: skip
        files += [root() / "results" / "trainings" / f"{key}.json" for key in record.get("trainings", {})]
        return [path for path in files if path.exists()]


def page(report: str) -> Path:
    """Return the path of a report's page."""
    return root() / "book" / "reports" / f"{report}.md"


def plan(report: str) -> list[dict]:
    """Return the list `chapters` of the front matter of a report's page.

    Raises:
        RunError: the page does not begin with one, or an entry lacks its part or what it is about.
    """
    text = page(report).read_text(encoding="utf-8")
    front = text.split("\n---\n", 1)[0].removeprefix("---\n") if text.startswith("---\n") else ""
    listed = (yaml.safe_load(front) or {}).get("chapters")
    if not listed or not all({"part", "about"} <= set(entry) for entry in listed):
        raise RunError(f"book/reports/{report}.md must begin with front matter that lists its chapters, each with "
                       f"its part and what it is about.")  # fmt: skip
    return listed

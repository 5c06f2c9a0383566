"""What the published literature says is judged like the reports, and counted apart from them."""

from __future__ import annotations

import json
import re

import pytest

from cifar_utils.paths import root
from reproduce.book import hero, parts, scoreboard
from reproduce.book.edition import Edition
from reproduce.cards import Row, render
from reproduce.evidence import sources
from reproduce.ledger import LITERATURE, STUDENTS, Measurement, load_reports
from reproduce.verdict import Verdict, judge

BEYOND = load_reports()["beyond"].claims


def agreeing(claim, by: float = 1) -> float:
    """Return a number that a claim agrees with: its own, or one that is greater or less `by` so much."""
    return (claim.value or 0) + by * {"greater": 1, "less": -1, "equal": 0}[claim.comparison]


class Made(Edition):
    """The published book, as if the chapter beyond the reports had found what its sources say."""

    @property
    def rows(self) -> list[Row]:
        """Return the published rows, and each claim of the literature with its own number as the measurement."""
        found = [row for row in scoreboard.rows(self.records) if not row.claim.is_of_literature]
        for claim in BEYOND:
            value = Measurement.of(agreeing(claim))
            found.append(Row(claim, value, judge(claim, value, sample=False), "full"))
        return found


class WithoutIt(Edition):
    """The published book, as if no chapter beyond the reports had been run."""

    def __init__(self):
        super().__init__()
        run = {claim.notebook for claim in BEYOND}
        self.records = {name: record for name, record in self.records.items() if name not in run}


@pytest.fixture(params=[Edition, Made, WithoutIt])
def edition(request):
    return request.param()


def part(edition: Edition, name: str, *arguments: str) -> str:
    template, values = parts.PARTS[name](parts.Place(edition, "{}.html".format, lambda *_: ""), *arguments)
    return render(template, **values)


def test_the_five_reports_are_five():
    assert STUDENTS == ("a1", "a3", "nndl", "rdfia", "hw3") and not set(STUDENTS) & set(LITERATURE)
    assert {claim.is_of_literature for claim in BEYOND} == {True}
    assert not any(claim.is_of_literature for report in STUDENTS for claim in load_reports()[report].claims)


def test_no_count_of_the_reports_knows_the_literature(edition):
    students = scoreboard.of_students(edition.rows)
    assert len(students) == sum(len(load_reports()[report].claims) for report in STUDENTS)
    told = re.findall(r"<b>(\d+) ", part(edition, "tiles"))
    assert sum(map(int, told)) == len(students)
    assert "beyond" not in part(edition, "by-report").lower()
    assert {dot.row.claim.report for dot in hero.dots(edition.rows)} <= set(STUDENTS)
    sentence = re.search(r"<!-- summary:begin -->\n(\d+) claims", (root() / "README.md").read_text(encoding="utf-8"))
    assert int(sentence[1]) == len(students)


def test_the_scoreboard_lists_the_literature_once_its_chapter_was_run():
    published, made, without = (part(book(), "scoreboard") for book in (Edition, Made, WithoutIt))
    filters = lambda html: json.loads(html.split('id="cu-filter-names">', 1)[1].split("</script>")[0])["report"]  # noqa: E731
    for shown in (published, made):
        assert set(filters(shown)) == {*STUDENTS, *LITERATURE}
        assert all(f'id="claim-{claim.id.replace(".", "-")}"' in shown for claim in BEYOND)
    assert set(filters(without)) == set(STUDENTS) and "claim-beyond" not in without


def test_its_own_page_says_what_it_is_and_what_came_out():
    assert part(Made(), "report-title", "beyond").strip().endswith(", from the published literature.")
    assert f"{len(BEYOND)} claims in the ledger" in part(Made(), "report-state", "beyond")
    tiles = part(Made(), "report-state", "beyond")
    assert f"verdict={Verdict.REPRODUCED.slug}" in tiles and "report=beyond" in tiles


def test_every_claim_of_the_literature_names_its_publication_and_its_row_links_there():
    assert {claim.source for claim in BEYOND} <= set(sources())
    html = part(Made(), "scoreboard")
    for claim in BEYOND:
        title, address = claim.link
        assert f'<a href="{address}">{title}</a>: {claim.where}' in html, claim.id
        assert "{" not in title and "\\" not in title
    students = [claim for report in STUDENTS for claim in load_reports()[report].claims]
    assert {claim.link for claim in students} == {("", "")}


def test_every_claim_of_the_literature_can_come_out_either_way():
    for claim in BEYOND:
        off = agreeing(claim, -1) + 2 * claim.tolerance * (claim.comparison == "equal")
        agrees = agreeing(claim)
        verdicts = [judge(claim, Measurement(value, value, value), sample=False) for value in (agrees, off)]
        assert verdicts[0] == Verdict.REPRODUCED and verdicts[1] in (Verdict.DIFFERS, Verdict.CORRECTED), claim.id

"""Curves of reports with ours over them: what is told of a place, and where it stands in the picture."""

import csv
import io

import pytest
from test_headlines import CURVE, row

from reproduce.book import curves
from reproduce.book.edition import Edition
from reproduce.cards import Row
from reproduce.verdict import Verdict


@pytest.fixture
def curve():
    return curves.Curve(row(((1, 51.0, 50.5, 51.5), (10, 60.0, 59.0, 61.0))))


def test_a_place_tells_both_numbers_and_its_own_verdict(curve):
    first, second, third = curve.places
    assert [place.verdict for place in curve.places] == [Verdict.REPRODUCED, Verdict.DIFFERS, None]
    assert curve.words(first) == "epoch 1: reported 50.0 %, here 51.0 [50.5, 51.5] %: reproduced"
    assert curve.words(third) == "epoch 20: reported 80.0 %; our run has no number there"
    assert curve.reached == [first, second] and third.within == 2.0


def test_everything_of_a_curve_lies_in_its_frame_the_larger_the_higher(curve):
    across, upwards = curve.ticks
    assert len(across) >= 3 and len(upwards) >= 3
    for place in curve.places:
        assert curves.LEFT <= curve.x(place.at) <= curves.WIDTH - curves.RIGHT
        for value in (place.reported - place.within, place.reported + place.within, place.low, place.high):
            assert value is None or curves.TOP <= curve.y(value) <= curves.HEIGHT - curves.BOTTOM
    assert curve.y(80) < curve.y(50) and curve.x(20) > curve.x(1)


def test_curves_of_which_nothing_was_run_are_left_out():
    assert curves.of([Row(CURVE)]) == []


def test_the_table_has_every_point_of_every_curve():
    shown = curves.of(Edition().rows)
    table = list(csv.DictReader(io.StringIO(curves.as_csv(shown))))
    assert len(shown) > 20 and len(table) == sum(len(curve.row.claim.points) for curve in shown)
    by_claim = {(line["claim"], float(line["place"])): line for line in table}
    for curve in shown:
        for at, value in curve.row.claim.points:
            assert float(by_claim[curve.row.claim.id, at]["reported"]) == value

"""The headline numbers of the README and the first page, and what the trainings cost."""

import json
from dataclasses import replace

import pytest

from cifar_utils.errors import LedgerError
from cifar_utils.measure.stats import summarise
from cifar_utils.paths import root
from cifar_utils.train.records import write_record
from reproduce.book import cost, headlines
from reproduce.book.edition import Edition
from reproduce.cards import Row
from reproduce.ledger import Claim, Measurement
from reproduce.verdict import Verdict, judge

CURVE = Claim(
    id="r.q1.curve", notebook="r_q1_one", where="Figure 1", says="It rises", kind="measured",
    points={1: 50.0, 10: 70.0, 20: 80.0}, along="epoch", unit="%", within=2.0, because="reading the figure",
)  # fmt: skip


def row(points, claim=CURVE, full_scale=True):
    found = Measurement(None, n=3, full_scale=full_scale, points=points)
    return Row(claim, found, judge(claim, found, sample=False), "quick")


def told(tmp_path, rows, **entry):
    path = tmp_path / "headlines.yml"
    path.write_text(json.dumps([{"about": "accuracy", "claim": "r.q1.curve"} | entry]))
    return headlines.read(rows, path)


def test_of_a_curve_the_last_place_that_was_reached_is_told(tmp_path):
    (one,) = told(tmp_path, [row(((1, 51.0, 50.5, 51.5), (10, 60.0, 59.0, 61.0)))])
    assert (one.reported, one.reproduced, one.note) == ("70.0 %", "60.0 [59.0, 61.0] %", "at epoch 10 of 20")
    assert one.verdict == Verdict.DIFFERS, "that of the number told"
    link = "[accuracy](book/chapters/r_q1_one.ipynb) (at epoch 10 of 20)"
    line = f"| 70.0 % | {link} | 60.0 \\[59.0, 61.0\\] % | ≠ differs |"
    assert headlines.as_markdown([one]).splitlines()[-1] == line
    (one,) = told(tmp_path, [Row(CURVE)])
    assert (one.reported, one.reproduced, one.verdict) == ("80.0 %", "—", Verdict.NOT_RUN)


def test_a_single_seed_is_told(tmp_path):
    value = replace(CURVE, points=(), along="", value=80.0)
    for found, note in ((Measurement.of(summarise([79.0])), "one run"), (Measurement.of(79.0), "")):
        (one,) = told(tmp_path, [Row(value, found, judge(value, found, sample=False), "quick")])
        assert one.note == note


def test_a_headline_names_a_claim_and_nothing_else(tmp_path):
    with pytest.raises(LedgerError, match=r"r\.q1\.other is no claim"):
        told(tmp_path, [Row(CURVE)], claim="r.q1.other")
    with pytest.raises(LedgerError, match="expected about and claim"):
        told(tmp_path, [Row(CURVE)], value=80)


def test_every_report_has_a_headline():
    edition, path = Edition(), root() / "book" / "headlines.yml"
    shown = headlines.read(edition.rows, path)
    assert {each.row.claim.report for each in shown} == {"a1", "a3", "nndl", "rdfia", "hw3"}
    assert {each.row.claim.report for each in headlines.read(edition.rows, path, literature=True)} == {"beyond"}


def test_cost_adds_up_and_a_shared_training_counts_once(tmp_path, monkeypatch):
    monkeypatch.setenv("CIFAR_UTILS_ROOT", str(tmp_path))
    env = {"device": "CPU (x, 1 threads)"}
    for key, seconds, device in (("a" * 16, 60.0, env), ("b" * 16, 120.0, {"device": "GPU"})):
        record = {"key": key, "recipe": {"batch": 10}, "history": {"iterations": 50, "seconds": seconds},
                  "operations": 3_000, "environment": device}  # fmt: skip
        write_record(tmp_path / "results" / "trainings" / f"{key}.json", record)
    one, both = {"trainings": {"a" * 16: 50.0}}, {"trainings": dict.fromkeys(("a" * 16, "b" * 16), 50.0)}
    edition = type("E", (), {"profile": "", "records": {"one": one, "both": both, "none": {}}})()
    again = {**record, "history": {"iterations": 50, "seconds": 7.0}}  # trained here, too
    write_record(tmp_path / "runs" / "trainings" / ("b" * 16) / "record.json", again)
    assert cost.trainings_of(both, own=True)[1]["history"]["seconds"] == 7
    rows, total = cost.by_chapter(edition)
    assert [(name, each.trainings, each.passes) for name, each in rows] == [("one", 1, 500), ("both", 2, 1_000)]
    assert (total.trainings, total.passes, total.operations["GPU"]) == (2, 1_000, 3_000)
    assert cost.in_words(both) == "2: 2 min on GPU, 60 s on CPU (x, 1 thread)" and cost.in_words({}) == ""


def test_claims_wait_for_operations_at_the_rates_that_devices_reached():
    total = cost.Cost()
    for device, part, seconds, operations in (
        ("GPU", "net", 100.0, 1e15), ("GPU", "other", 100.0, 3e15), ("GPU", "short", 1.0, 1e9),
        ("slow GPU", "net", 1e4, 1e15), ("CPU (x)", "net", 1e3, 1e13),
    ):  # fmt: skip
        total.add({"recipe": {"batch": 1, "model": {"part": part}}, "history": {"iterations": 1, "seconds": seconds},
                   "operations": operations, "environment": {"device": device}})  # fmt: skip
    assert total.fastest() == ["GPU", "CPU (x)"]
    assert total.rate("GPU", "net") == 1e13
    assert total.rate("GPU", "short") == total.rate("GPU", "unheard of") == pytest.approx(4e15 / 201, rel=1e-3)
    waits = {"trainings": 3, "operations": {"net": 2e15, "other": 3e15}, "more": True}
    records = {"r_q1_one": {"waits": waits}, "r_q2_none": {}}
    small, done = Row(CURVE, None, Verdict.NOT_FULL_SCALE), Row(CURVE, None, Verdict.REPRODUCED)
    (one,) = cost.waiting(type("E", (), {"records": records, "rows": [small, done]})(), total)
    assert (one.claims, one.trainings, one.operations) == ([small], 3, 5e15)
    assert one.seconds == pytest.approx({"GPU": 200 + 100, "CPU (x)": 5e5}, rel=1e-6)
    assert cost.waiting(type("E", (), {"records": records, "rows": [done]})(), total) == []


def test_every_claim_without_a_verdict_is_told_what_it_waits_for():
    edition = Edition()
    _, total = cost.by_chapter(edition)
    told = [claim.claim.id for each in cost.waiting(edition, total) for claim in each.claims]
    assert sorted(told) == sorted(r.claim.id for r in edition.rows if r.verdict == Verdict.NOT_FULL_SCALE)

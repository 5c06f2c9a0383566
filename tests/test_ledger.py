from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections import Counter
from dataclasses import asdict, fields, replace

import jsonschema
import pytest
import yaml

from cifar_utils.errors import LedgerError
from cifar_utils.measure.stats import Summary, summarise
from cifar_utils.paths import root
from reproduce import schema
from reproduce.book import scoreboard
from reproduce.ledger import (
    KINDS,
    REPORTS,
    Claim,
    Measurement,
    load_claims,
    load_reports,
)
from reproduce.show import show, show_found, show_reported
from reproduce.verdict import Verdict, judge

BASE = {"id": "a1.q1.accuracy", "where": "Table 1", "says": "It is 38 %", "kind": "measured", "value": 38.0}
RANGE = {"because": "as near as we can tell"}


def claim(**changes) -> Claim:
    because = RANGE if changes.get("within") else {}
    return Claim(**{**BASE, "notebook": "a1_x", **because, **changes})


def file_of(*entries, scale=..., **top) -> dict:
    """Return the content of a report's file, all claims in one notebook; what is `...` is left out."""
    group = {k: v for k, v in {"scale": scale, "claims": list(entries)}.items() if v is not ...}
    raw = {"title": "A report", "course": "A course", "notebooks": {"a1_x": group}, **top}
    return {k: v for k, v in raw.items() if v is not ...}


def write(folder, *entries, file="a1.yml", **top):
    (folder / file).write_text(yaml.safe_dump(file_of(*entries, **top)))
    load_reports.cache_clear()


# ---- claims ------------------------------------------------------------------------------------

CURVE = {"points": {1: 38.0, 10: 60.0, 20: 70.0}, "along": "epoch", "value": None, "within": 2, **RANGE}
MALFORMED = [
    ({"id": "a1.accuracy"}, "the id must be report.part.question.name"),
    ({"id": "A1.q1.accuracy"}, "the id must be"),
    ({"id": "a1.q1.q2.q3.accuracy"}, "the id must be"),
    ({"id": "a1.q1.accuracy "}, "the id must be"),
    ({"kind": "measurement"}, "kind is 'measurement'; expected one of measured, direction"),
    ({"comparison": "more"}, "comparison is 'more'; expected one of equal, greater, less"),
    ({"within": -1, **RANGE}, "within is -1; expected a number of 0 or more, or a share such as '10 %'"),
    ({"within": "1e-3", **RANGE}, "within is '1e-3'; expected a number"),
    ({"within": "10%", **RANGE}, "within is '10%'; expected a number of 0 or more, or a share such as '10 %'"),
    ({"within": True, **RANGE}, "within is True; expected a number"),
    ({"within": "10 %", "value": 0, **RANGE}, "within is '10 %' of a value of 0; give a number in the claim's unit"),
    ({"within": 2}, "a tolerance needs its reason; add because"),
    (RANGE, "because gives the reason of a tolerance, and there is none; add within or leave it out"),
    ({"value": "1e-3"}, "value is '1e-3'; expected a number"),
    ({"value": True}, "value is True; expected a number"),
    ({"value": None}, "a measured claim needs the report's value"),
    ({"kind": "setting", "value": None}, "a setting claim needs the report's value"),
    ({"kind": "direction", "value": None}, "a direction 'equal' needs within"),
    ({"where": " "}, "where is empty"),
    ({"says": ""}, "says is empty"),
    ({"says": None}, "says is empty"),
    ({"says": 38}, "says is 38; expected text"),
    ({"asks": 38}, "asks is 38; expected text"),
    ({"says": "... and 38 %"}, r"says begins with '\.\.\.'; expected a sentence that stands alone"),
    ({"fitted": "yes"}, "fitted is 'yes'; expected true or false"),
    ({"kind": "setting", "fitted": True}, "a setting cannot be fitted; it holds or does not"),
    ({"points": {1: 38.0, 2: 40.0}}, "points and along, which says what their places count, come together"),
    ({"along": "epoch"}, "points and along, which says what their places count, come together"),
    ({**CURVE, "points": {1: 38.0}}, "points needs two places or more"),
    ({**CURVE, "points": {2: 38.0, 1: 40.0}}, "points needs two places or more, the first one first"),
    ({**CURVE, "points": {1: "38", 2: 40.0}}, "expected numbers by their places"),
    ({**CURVE, "value": 38}, "a claim with points is a measured one with a tolerance"),
    ({**CURVE, "kind": "direction"}, "a claim with points is a measured one with a tolerance"),
]


@pytest.mark.parametrize(("changes", "message"), MALFORMED)
def test_malformed_claims(changes, message):
    with pytest.raises(LedgerError, match=message):
        Claim(**{**BASE, "notebook": "a1_x", **changes})


def test_a_claim_without_notebook():
    with pytest.raises(LedgerError, match="notebook is empty"):
        Claim(**BASE, notebook="")


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([{**BASE, "tolerance": 1}], "a1.q1.accuracy: unknown field 'tolerance'; expected .*within"),
        ([{**BASE, "notebook": "a1_x"}], "a1.q1.accuracy: unknown field 'notebook'"),
        ([{k: v for k, v in BASE.items() if k != "where"}], "a1.q1.accuracy: field 'where' is missing"),
        ([{k: v for k, v in BASE.items() if k != "id"}], "number 1 of a1.yml: field 'id' is missing"),
        ([BASE, "a1.q1.x"], "number 2 of a1.yml: found str; expected fields with a colon"),
        ([BASE, BASE], "a1.q1.accuracy stands twice"),
        ([{**BASE, "id": "a3.q1.accuracy"}], "a3.q1.accuracy stands in a1.yml; expected a3.yml"),
        ([BASE, {**BASE, "id": "a1.q1.x", "kind": "guess"}], "a1.q1.x: kind is 'guess'"),
    ],
)
def test_malformed_files(tmp_path, entries, message):
    write(tmp_path, *entries)
    with pytest.raises(LedgerError, match=message):
        load_reports(tmp_path)


@pytest.mark.parametrize("field", ["title", "course", "notebooks"])
def test_a_file_without_its_head(tmp_path, field):
    write(tmp_path, BASE, **{field: ...})
    with pytest.raises(LedgerError, match=f"a1.yml: field '{field}' is missing"):
        load_reports(tmp_path)


@pytest.mark.parametrize(
    ("notebooks", "message"),
    [
        ([BASE], "a1.yml, notebooks: found list; expected fields with a colon"),
        ({"a1_x": [BASE]}, "a1.yml, a1_x: found list; expected fields"),
        ({"a1_x": {"scale": "20 epochs"}}, "a1.yml, a1_x: field 'claims' is missing"),
        (
            {"a1_x": {"claims": [BASE], "scales": 1}},
            "a1_x: unknown field 'scales'; expected scale, settings, claims",
        ),
        ({"a1_x": {"claims": [BASE]}, "a1_y": {"claims": [BASE]}}, "a1.q1.accuracy stands twice"),
    ],
)
def test_malformed_groups(tmp_path, notebooks, message):
    write(tmp_path, notebooks=notebooks)
    with pytest.raises(LedgerError, match=message):
        load_reports(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title: A\ntitle: B\n", "a1.yml, line 2: 'title' stands twice"),
        ("notebooks:\n  a1_x:\n    claims:\n  a1_x:\n    claims:\n", "a1.yml, line 4: 'a1_x' stands twice"),
        ("title: A: B\n", "a1.yml, line 1: mapping values are not allowed"),
        ("title: 'A\n", "a1.yml, line "),
        ("- title\n", "a1.yml: found list; expected fields with a colon"),
    ],
)
def test_what_is_no_yaml_or_says_a_thing_twice(tmp_path, text, message):
    (tmp_path / "a1.yml").write_text(text)
    load_reports.cache_clear()
    with pytest.raises(LedgerError, match=message):
        load_reports(tmp_path)


def test_files_that_belong_to_no_report_or_are_empty(tmp_path):
    write(tmp_path, file="a2.yml")
    with pytest.raises(LedgerError, match="a2.yml belongs to no report; expected one of a1, a3"):
        load_reports(tmp_path)
    (tmp_path / "a2.yml").unlink()
    (tmp_path / "a3.yml").write_text("")
    load_reports.cache_clear()
    with pytest.raises(LedgerError, match="a3.yml: "):
        load_reports(tmp_path)


def test_reports_are_loaded_in_the_books_order(tmp_path):
    write(tmp_path, {**BASE, "id": "rdfia.cd.q10.x"}, file="rdfia.yml")
    write(tmp_path, BASE)
    write(tmp_path, file="nndl.yml", notebooks=None)
    found = load_reports(tmp_path)
    assert list(found) == ["a1", "nndl", "rdfia"]
    assert found["a1"].claims == (Claim(**BASE, notebook="a1_x"),) and found["nndl"].claims == ()
    assert found["rdfia"].claims[0].report == "rdfia"


def test_an_experiment_has_its_notebooks_scale_unless_it_names_its_own(tmp_path):
    exact = {**BASE, "kind": "derivation"}
    entries = [
        BASE,
        {**BASE, "scale": "one image"},
        {**BASE, "scale": "none"},
        exact,
        {**exact, "scale": "one image"},
    ]
    write(tmp_path, *[{**e, "id": f"a1.q1.c{i}"} for i, e in enumerate(entries)], scale="20 epochs")
    assert [c.scale for c in load_reports(tmp_path)["a1"].claims] == ["20 epochs", "one image", "", "", "one image"]


@pytest.mark.parametrize(
    ("changes", "tolerance"),
    [({}, 0), ({"within": 2}, 2), ({"within": "10 %"}, 3.8), ({"within": "2.5 %", "value": -200}, 5)],
)
def test_a_tolerance_is_a_number_or_a_share_of_the_value(changes, tolerance):
    assert claim(**changes).tolerance == pytest.approx(tolerance)


def test_the_real_claims_load():
    load_reports.cache_clear()
    reports = load_reports()
    assert tuple(reports) == REPORTS
    assert all(r.title and r.course for r in reports.values())
    claims = load_claims()
    assert len(claims) == sum(len(r.claims) for r in reports.values()) > 0
    assert all(c.id.startswith(f"{c.report}.") and c.kind in KINDS for c in claims.values())
    assert all(c.notebook.startswith(f"{c.report}_") for c in claims.values())


def test_no_two_claims_of_a_chapter_say_and_ask_the_same():
    asked = Counter((c.notebook, c.says, c.asks) for c in load_claims().values())
    assert [said for said, n in asked.items() if n > 1] == []


def test_claims_are_read_without_torch_and_without_pydantic():
    code = ("import sys; from reproduce.ledger import load_claims; load_claims(); "
            "print([m for m in ('torch', 'pydantic', 'jsonschema', 'scipy') if m in sys.modules])")  # fmt: skip
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


# ---- schema ------------------------------------------------------------------------------------


def is_valid(raw: dict) -> bool:
    return jsonschema.Draft202012Validator(schema.schema()).is_valid(raw)


def test_the_schema_beside_the_claims_is_what_the_model_gives():
    said = (root() / "claims/schema.json").read_text(encoding="utf-8")
    assert said == schema.text(), "run: python -m reproduce.schema > claims/schema.json"
    jsonschema.Draft202012Validator.check_schema(schema.schema())


@pytest.mark.parametrize("report", REPORTS)
def test_every_file_keeps_to_the_schema_and_names_it_to_editors(report):
    text = (root() / f"claims/{report}.yml").read_text(encoding="utf-8")
    assert text.startswith("# yaml-language-server: $schema=schema.json\n")
    jsonschema.Draft202012Validator(schema.schema()).validate(yaml.safe_load(text))


@pytest.mark.parametrize(("changes", "message"), MALFORMED)
def test_the_schema_refuses_what_a_claim_refuses(changes, message):
    if "first one first" in message:
        return  # a schema knows no order
    entry = {k: v for k, v in {**BASE, **changes}.items() if not (k == "value" and v is None)}
    assert is_valid(file_of(BASE)) and not is_valid(file_of(entry))


def test_the_schema_takes_what_a_claim_takes_and_refuses_unknown_and_missing_fields():
    full = {
        **BASE,
        "unit": "%",
        "comparison": "less",
        "within": "10 %",
        **RANGE,
        "asks": "x",
        "scale": "y",
        "fitted": True,
    }
    nothing = {**BASE, "kind": "direction", "comparison": "equal", "within": 1, **RANGE}
    for entry in (full, nothing, {k: v for k, v in nothing.items() if k != "value"}, {**BASE, "kind": "setting"}):
        assert is_valid(file_of(entry, scale="20 epochs")) and Claim(**entry, notebook="a1_x")
    assert is_valid(file_of(notebooks=None)) and is_valid(file_of(notebooks={"a1_x": {"claims": None}}))
    for raw in (
        file_of(title=...),
        file_of(more=1),
        file_of(notebooks={"a1_x": {}}),
        file_of({**BASE, "tolerance": 1}),
    ):
        assert not is_valid(raw)
    for name in ("id", "where", "says", "kind", "value"):
        assert not is_valid(file_of({k: v for k, v in BASE.items() if k != name}))


def test_an_editor_is_told_of_every_field():
    entry = schema.schema()["properties"]["notebooks"]["additionalProperties"]["properties"]["claims"]["items"]
    assert set(entry["properties"]) | {"notebook"} == {f.name for f in fields(Claim)}
    assert all(p["description"].endswith(".") and len(p["description"]) > 20 for p in entry["properties"].values())


# ---- verdicts ----------------------------------------------------------------------------------

MEASURED = claim(within=2)  # 36 to 40 agrees
AT_LEAST = claim(comparison="greater")
AT_MOST = claim(comparison="less")
ABOUT_AT_LEAST = claim(comparison="greater", within=2)
ABOUT_AT_MOST = claim(comparison="less", within=2)
UP = claim(kind="direction", value=None, comparison="greater")
DOWN = claim(kind="direction", value=None, comparison="less")
NONE = claim(kind="direction", value=None, within=1)
EXACT = claim(kind="derivation", value=30730)
CLOSE = claim(kind="derivation", value=0, within=1e-6)
SETTING = claim(kind="setting", value=256)

CASES = [
    (MEASURED, (38,), "reproduced"),
    (MEASURED, (40,), "reproduced"),  # touching the tolerance
    (MEASURED, (36,), "reproduced"),
    (MEASURED, (40.01,), "differs"),  # one seed, outside
    (MEASURED, (35.9, 30, 42), "not resolved"),
    (MEASURED, (41, 40, 42), "not resolved"),  # the interval touches the tolerance
    (MEASURED, (41, 40.01, 42), "differs"),
    (MEASURED, (35, 34, 36), "not resolved"),
    (MEASURED, (35, 34, 35.99), "differs"),
    (MEASURED, (39, 37, 41), "reproduced"),  # the mean counts, and the interval is no wider than the tolerance
    (MEASURED, (39, 20, 60), "not resolved"),  # it could be anything
    (MEASURED, (45, 30, 60), "not resolved"),  # the tolerance lies inside the interval
    (MEASURED, (math.nan,), "differs"),
    (MEASURED, (math.inf,), "differs"),
    (claim(value=0.3, within=0.1), (0.4,), "reproduced"),  # 0.4 - 0.3 > 0.1 in floating point
    (claim(value=0, within=0), (0,), "reproduced"),
    (AT_LEAST, (38.1,), "reproduced"),
    (AT_LEAST, (38,), "differs"),  # more than, not at least
    (AT_LEAST, (37, 35, 39), "not resolved"),
    (AT_LEAST, (37, 36, 37.9), "differs"),
    (AT_MOST, (37.9,), "reproduced"),
    (AT_MOST, (38,), "differs"),
    (AT_MOST, (39, 37, 41), "not resolved"),
    (AT_MOST, (39, 38.1, 41), "differs"),
    (ABOUT_AT_LEAST, (36.5,), "reproduced"),
    (ABOUT_AT_LEAST, (35.5,), "differs"),
    (ABOUT_AT_MOST, (39.5,), "reproduced"),
    (ABOUT_AT_MOST, (40.5,), "differs"),
    (UP, (2, 1, 3), "reproduced"),
    (UP, (2, 0, 4), "not resolved"),  # the interval touches zero
    (UP, (2, -1, 5), "not resolved"),
    (UP, (-1, -3, 1), "not resolved"),
    (UP, (-2, -3, -1), "differs"),
    (UP, (2,), "not resolved"),  # one seed
    (UP, (-2,), "not resolved"),
    (UP, (math.nan,), "differs"),
    (DOWN, (-2, -3, -1), "reproduced"),
    (DOWN, (-2, -3, 0), "not resolved"),
    (DOWN, (2, 1, 3), "differs"),
    (claim(kind="direction", comparison="greater"), (40, 39, 41), "reproduced"),  # a threshold of 38
    (claim(kind="direction", comparison="greater"), (36, 35, 37), "differs"),
    (NONE, (0.1, -0.5, 0.7), "reproduced"),
    (NONE, (0, -1, 1), "reproduced"),  # touching the tolerance on both sides
    (NONE, (0.5, -0.5, 1.5), "not resolved"),
    (NONE, (0, -5, 5), "not resolved"),
    (NONE, (3, 2, 4), "differs"),
    (NONE, (0,), "not resolved"),
    (EXACT, (30730,), "reproduced"),
    (EXACT, (30720,), "corrected"),
    (EXACT, (math.nan,), "corrected"),
    (CLOSE, (9e-7,), "reproduced"),
    (CLOSE, (2e-6,), "corrected"),
    (SETTING, (256,), "reproduced"),
    (SETTING, (128,), "corrected"),
]


@pytest.mark.parametrize(("said", "found", "verdict"), CASES)
def test_verdicts(said, found, verdict):
    assert judge(said, Measurement(*found), sample=False) == verdict
    assert judge(said, Measurement(*found), sample=True) == "sample data"
    scaled_down = replace(Measurement(*found), full_scale=False)
    exact = said.kind in ("derivation", "setting")  # these hold at any scale
    assert judge(said, scaled_down, sample=False) == (verdict if exact else "not run at full scale")


def test_every_verdict_can_be_reached():
    reached = {verdict for *_, verdict in CASES} | {"sample data", "not run at full scale", "fitted", "not run"}
    assert reached == set(Verdict)


@pytest.mark.parametrize(("said", "found", "verdict"), CASES)
def test_what_helped_to_choose_its_setting_is_fitted_however_well_it_agrees(said, found, verdict):
    chosen = replace(Measurement(*found), fitted=True)
    if not said.can_be_fitted:
        assert judge(said, chosen, sample=False) == verdict
        with pytest.raises(LedgerError, match=f"a {said.kind} cannot be fitted; it holds or does not"):
            replace(said, fitted=True)
        return
    for claimed, measured in ((said, chosen), (replace(said, fitted=True), Measurement(*found))):
        assert judge(claimed, measured, sample=False) == "fitted"
        assert judge(claimed, measured, sample=True) == "sample data"
        assert judge(claimed, replace(measured, full_scale=False), sample=False) == "not run at full scale"


def test_every_verdict_has_a_sign_a_rank_and_a_colour_of_its_own():
    css = (root() / "book/_static/style.css").read_text()
    colours = [re.search(rf"\.{v.style} {{ (.*?) }}", css)[1] for v in Verdict]
    for each in ([v.sign for v in Verdict], [v.rank for v in Verdict], [v.meaning for v in Verdict], colours):
        assert len(set(each)) == len(Verdict)
    assert all(len(v.sign) == 1 and v.meaning.endswith(".") for v in Verdict)
    assert set(re.findall(r"\.(cu-[a-z-]+) { --cu-ink", css)) == {v.style for v in Verdict}


def test_the_page_on_verdicts_names_every_verdict_that_a_rule_gives_and_every_field_of_a_claim():
    page = (root() / "book/verdicts.md").read_text(encoding="utf-8")
    rules = page.partition("## What decides")[2]
    assert [v for v in Verdict if v is not Verdict.NOT_RUN and f"*{v}*" not in " ".join(rules.split())] == []
    assert [
        name for name in ("Says", "Asks", "Scale", "Within, because", "Fitted") if f"\n{name}\n: " not in page
    ] == []
    assert "```{verdicts}" in page, "the list of verdicts is made from the enum"


def test_a_verdict_is_the_string_that_records_hold():
    assert json.loads(json.dumps({"verdict": Verdict.NOT_FULL_SCALE})) == {"verdict": "not run at full scale"}
    assert Verdict("not run at full scale") is Verdict.NOT_FULL_SCALE and f"{Verdict.DIFFERS}" == "differs"
    assert Verdict.NOT_RESOLVED.signed == "? not resolved" and Verdict.NOT_RESOLVED.slug == "not-resolved"


def test_what_published_records_hold_can_be_read():
    for path in [p for p in (root() / "results").glob("*.json") if p.stem != "benchmarks"]:
        for found in json.loads(path.read_text())["measurements"].values():
            known = {k: v for k, v in found.items() if k in {f.name for f in fields(Measurement)}}
            assert Verdict(found["verdict"]) and Measurement(**known).n >= 1


def test_measurement_of_numbers_and_summaries():
    assert Measurement.of(3) == Measurement(3.0)
    several = Measurement.of(summarise([1.0, 2.0, 3.0]), full_scale=False, note="why")
    assert several.value == 2 and several.n == 3 and several.low < 2 < several.high
    assert several.method == "95 % t interval over 3 seeds" and several.note == "why" and not several.full_scale
    one = Measurement.of(summarise([4.0]))
    assert (one.low, one.high, one.n) == (None, None, 1)
    assert judge(UP, one, sample=False) == "not resolved"


@pytest.mark.parametrize("accuracy", [38.0, 50.0])
def test_one_seed_of_many_resolves_nothing_where_an_exact_number_does(accuracy):
    exact = "reproduced" if accuracy == 38 else "differs"
    assert judge(MEASURED, Measurement.of(accuracy), sample=False) == exact
    one = Measurement.of(summarise([accuracy]))
    assert judge(MEASURED, one, sample=False) == "not resolved"
    curve = replace(MEASURED, value=None, points=((1, 38.0), (2, 38.0)), along="epoch")
    along = Measurement.of({place: summarise([accuracy]) for place in (1, 2)})
    assert judge(curve, along, sample=False) == "not resolved"


# ---- text --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (38, "%", "38.0 %"), (38.27, "%", "38.3 %"), (0.5, "%", "0.50 %"), (-0.25, "%", "−0.25 %"), (0, "%", "0.0 %"),
        (30730, "", "30,730"), (1_000_000.0, "images", "1,000,000 images"), (7, "epochs", "7 epochs"),
        (-0.002, "points", "0.00 points"),
        (0.12345, "", "0.123"), (1.2345, "", "1.23"), (123.45, "", "123"), (1234.5, "", "1,234"),
        (999.96, "", "1,000"), (2258852723359.4, "times", "2.3·10¹² times"), (60_954_656, "", "60,954,656"),
        (1.5e-5, "", "1.5·10⁻⁵"), (-2.0e-7, "s", "−2.0·10⁻⁷ s"), (None, "%", "—"),
        (1, "pixels wide", "1 pixel wide"), (1.0, "classes", "1 class"), (1, "times", "1.00 times"),
        (1, "ms", "1 ms"),
        (math.nan, "", "diverged"), (math.inf, "%", "diverged"), (-3.5, "", "−3.50"),
    ],
)  # fmt: skip
def test_show(value, unit, text):
    assert show(value, unit) == text


def test_show_found_writes_the_interval_like_the_mean():
    percent = claim(unit="%")
    assert show_found(percent, Measurement(38.26)) == "38.3 %"
    assert show_found(percent, Measurement(38.26, 37.1, 39.44)) == "38.3 [37.1, 39.4] %"
    assert show_found(percent, Measurement(0.5, -0.1, 1.1)) == "0.50 [−0.10, 1.10] %"
    assert show_found(claim(), Measurement(2.5, 2.4567, 12)) == "2.50 [2.46, 12.00]"
    assert show_found(claim(unit="passes"), Measurement(5.12)) == "5.12 passes"
    as_stored = {"value": 38.26, "low": 37.1, "high": 39.44, "n": 3, "method": "", "full_scale": True, "note": ""}
    assert show_found(percent, as_stored) == "38.3 [37.1, 39.4] %"


def test_show_reported():
    assert show_reported(claim(unit="%")) == "38.0 %"
    assert show_reported(claim(unit="%", comparison="greater")) == "more than 38.0 %"
    assert show_reported(claim(comparison="less", value=10)) == "less than 10"
    assert show_reported(replace(UP, unit="%")) == "more than 0 %"
    assert show_reported(replace(NONE, unit="%")) == "no effect (±1.0 %)"


# ---- along a curve -------------------------------------------------------------------------------------


ALONG = [
    ({1: (38.5,), 10: (61, 60, 62), 20: (69, 68, 70)}, "reproduced", "3 of 3 points agree, up to epoch 20"),
    ({1: (38.5,), 10: (61, 60, 62)}, "reproduced", "2 of 2 points agree, up to epoch 10"),  # a shorter run
    ({1: (38.5,)}, "not run at full scale", "1 of 1 points agree, up to epoch 1"),
    ({}, "not run at full scale", "no point reached; the first is epoch 1"),
    ({1: (38,), 10: (61, 60, 62), 20: (75, 74, 76)}, "differs", "2 of 3 points agree, up to epoch 20"),
    ({1: (38,), 10: (61, 55, 67)}, "not resolved", "1 of 2 points agree, up to epoch 10"),  # wider than the tolerance
    ({1: (38,), 10: (63, 61, 65)}, "not resolved", "1 of 2 points agree, up to epoch 10"),
    ({1: (38,), 10: (math.nan,)}, "differs", "it diverged"),
    ({1: (38,), 3: (0,), 10: (60,)}, "reproduced", "2 of 2"),  # the report says nothing of 3
]


@pytest.mark.parametrize(("points", "verdict", "text"), ALONG)
def test_a_curve_is_judged_at_every_point_that_the_run_reached(points, verdict, text):
    curve = claim(**CURVE, unit="%")
    exact_or = lambda values: summary(*values) if len(values) > 1 else values[0]  # noqa: E731
    found = Measurement.of({x: exact_or(values) for x, values in points.items()})
    assert judge(curve, found, sample=False) == verdict and judge(curve, found, sample=True) == "sample data"
    assert text in show_found(curve, found)
    as_stored = json.loads(json.dumps(asdict(found)))
    assert judge(curve, Measurement(**as_stored), sample=False) == verdict
    assert judge(replace(curve, fitted=True), found, sample=False) == "fitted"


def summary(mean: float, low: float = math.nan, high: float = math.nan) -> Summary:
    return Summary(mean, 1.0, low, high, 1 if math.isnan(low) else 3, "t")


def test_a_curves_text_has_its_ends_and_its_farthest_point():
    curve = claim(**CURVE, unit="%")
    assert show_reported(curve) == "38.0 % at epoch 1, 70.0 % at 20 (3 points)"
    found = Measurement.of({1: 37.0, 10: 61.5})
    assert show_found(curve, found) == "2 of 2 points agree, up to epoch 10; farthest +1.5 points at 10"
    # they agree, whatever that is worth
    assert show_found(replace(curve, fitted=True), found) == show_found(curve, found)
    assert show_found(curve, replace(found, full_scale=False)) == show_found(curve, found)
    wide = Measurement.of({1: summary(38.2, 30, 46), 10: 61.9})
    assert "1 of 2 points agree" in show_found(curve, wide)
    assert show_found(curve, wide).endswith("farthest of the others +0.20 points at 1")


# ---- where settings come from ---------------------------------------------------------------------------


STATED = {"what": "batch size", "value": "128", "from": "stated", "where": "section 2"}
FOUND = {**STATED, "from": "published", "where": "cell 4", "source": "rdfia_code", "certainty": "certain"}


def with_settings(folder, *settings) -> None:
    group = {"a1_x": {"settings": list(settings), "claims": [BASE]}}
    write(folder, notebooks=group)


def test_settings_stand_with_their_notebook(tmp_path):
    with_settings(tmp_path, STATED, FOUND)
    stated, found = load_reports(tmp_path)["a1"].settings["a1_x"]
    assert (stated.origin, stated.link) == ("stated", ("", "")) and found.where == "cell 4"
    assert found.link[1].startswith("https://github.com/")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"value": 128}, "value is 128; expected text"),
        ({"from": "guessed"}, "origin is 'guessed'; expected one of stated, published, inferred"),
        ({"from": "inferred"}, "published, and nothing else, names its source"),
        ({"source": ""}, "published, and nothing else, names its source"),
        ({"certainty": ""}, "says its certainty"),
        ({"certainty": "sure"}, "certainty is 'sure'; expected one of certain, likely, open"),
        ({"when": "then"}, "unknown field 'when'"),
    ],
)
def test_malformed_settings(tmp_path, changes, message):
    with_settings(tmp_path, {**FOUND, **changes})
    with pytest.raises(LedgerError, match=message):
        load_reports(tmp_path)


def test_every_source_of_the_ledger_stands_in_the_bibliography():
    used = [s for report in load_reports().values() for of in report.settings.values() for s in of if s.source]
    assert all(setting.link[1] for setting in used)


# ---- the same thing said twice ---------------------------------------------------------------------------


def test_a_claim_repeats_another_one_of_the_ledger(tmp_path):
    again = {**BASE, "id": "a1.q2.again"}
    write(tmp_path, BASE, {**again, "repeats": BASE["id"]})
    assert load_reports(tmp_path)["a1"].claims[1].repeats == BASE["id"]
    for nothing in ("a1.q1.nowhere", "a1.q2.again"):
        write(tmp_path, BASE, {**again, "repeats": nothing})
        with pytest.raises(LedgerError, match=f"a1.q2.again repeats {nothing}, which is no other claim"):
            load_reports(tmp_path)


def test_claims_that_speak_of_the_same_thing_do_not_contradict_each_other():
    rows = {row.claim.id: row for row in scoreboard.rows(scoreboard.read_records(root() / "results"))}
    against = {"differs", "corrected"}
    for row in rows.values():
        if row.claim.repeats:
            verdicts = {row.verdict, rows[row.claim.repeats].verdict}
            assert not ("reproduced" in verdicts and verdicts & against), row.claim.id

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from conftest import PARAMETERS

from cifar_utils.data import standin as sample
from cifar_utils.errors import LedgerError, ParameterError
from cifar_utils.measure import plots
from cifar_utils.measure.stats import summarise
from reproduce import cells, chapter, ledger, record, scale, source
from reproduce.chapter import RECORD_MIME, start

NAME = "a1_q1_test"


class Handle:
    def __init__(self, page):
        self.page = page

    def update(self, shown):
        self.page.append(("update", shown, {}))


@pytest.fixture
def page(project, monkeypatch):
    """What the notebook displays: (data or object, metadata) in order."""
    shown = []

    def display(thing, metadata=None, raw=False, display_id=None):
        shown.append(("raw" if raw else "object", thing, metadata or {}))
        return Handle(shown) if display_id else None

    monkeypatch.setattr(chapter, "display", display)
    return shown


def namespace(**changes) -> dict:
    return {"profile": "smoke", "data": "sample", "device": "cpu", "seeds": 1, "lr": 0.1, "rates": [0.1],
            "augment": False, "limit": None, **changes}  # fmt: skip


def begin(**changes) -> chapter.Chapter:
    return start(NAME, namespace(**changes), "What does it reach?")


# ---- parameters --------------------------------------------------------------------------------


def test_start_converts_what_papermill_hands_over_as_text(page):
    names = namespace(lr="1e-3", rates=["1e-2", 1], limit="5")
    run = start(NAME, names, "?")
    assert names["lr"] == 0.001 and names["rates"] == [0.01, 1.0] and names["limit"] == 5
    assert run.params["lr"] == 0.001 and list(run.params) == list(namespace())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": "three"}, "Parameter seeds is 'three'"),
        ({"seeds": 1.5}, "Parameter seeds is 1.5"),
        ({"lr": None}, "Parameter lr is None"),
        ({"augment": "perhaps"}, "Parameter augment is 'perhaps'"),
        ({"profile": "quik"}, "profile is 'quik'; expected one of .*quick"),
        ({"device": "gpu"}, "device is 'gpu'"),
    ],
)
def test_start_refuses_wrong_types_and_impossible_values(page, changes, message):
    with pytest.raises(ParameterError, match=message):
        begin(**changes)


def test_start_refuses_cuda_without_a_gpu(page, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ParameterError, match="no GPU"):
        begin(device="cuda")


@pytest.fixture
def kernel(page):
    """Run cells as a kernel does, with the history that it keeps; return its globals."""
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell()

    def run(*cells):
        for cell in cells:
            shell.run_cell(cell, store_history=True).raise_error()
        return shell.user_ns

    return run


SETUP = f"""\
import numpy as np
from reproduce import chapter
run = chapter.start({NAME!r}, globals(), "?")
"""


@pytest.mark.parametrize(
    ("injected", "message"),
    [
        ("sedes = 3\n", "no parameter 'sedes'. Did you mean 'seeds'"),
        ("lr = 0.1\nextra = None\n", "no parameter 'extra'"),
        ("np = 3\n", "no parameter 'np'"),  # the setup cell imports over it
    ],
)
def test_what_papermill_sets_must_be_declared(kernel, injected, message):
    with pytest.raises(ParameterError, match=message):
        kernel(PARAMETERS, "# Parameters\n" + injected, SETUP)
    assert kernel("# Parameters\nseeds = 3\n", SETUP)["run"].params["seeds"] == 3  # mended in the open notebook


def test_cells_can_be_run_again_in_any_order(kernel):
    made = kernel(PARAMETERS, "# Parameters\nseeds = 2\n", SETUP, "one_each = [3, 4]\nsedes, text = 1, 'x'")
    assert made["run"].params["seeds"] == 2
    assert kernel("lr = 0.5", SETUP)["run"].params["lr"] == 0.5
    again = kernel(PARAMETERS, SETUP)["run"]
    assert again.params == {**namespace(), "rates": [0.1, 0.2]}


def test_a_setup_cell_run_before_the_parameters_says_what_to_run_first(kernel):
    with pytest.raises(
        ParameterError, match="Parameter profile has no value yet; run the notebook's parameters cell"
    ):
        kernel(SETUP)


def test_a_notebook_that_is_not_there(page):
    with pytest.raises(ParameterError, match="no notebook 'a1_q9'"):
        start("a1_q9", namespace(), "?")


# ---- card, data, stamp -------------------------------------------------------------------------


def test_the_header_card_says_what_runs(page):
    begin(seeds=3)
    kind, card, _ = page[0]
    assert kind == "object"
    for text in ("A report", "What does it reach?", "smoke", "sample data", "3", "CPU", "0123456789", "running …"):
        assert text in card._repr_html_()


def test_load_keeps_the_provenance(page):
    run = begin()
    found = run.load("circles", validation=20)
    assert found.is_sample and len(found.val) == 20
    record = run.record()
    assert record["data"]["circles"]["sample"] is True and record["data"]["circles"]["sizes"]["val"] == 20


def test_weights_that_were_read_stand_in_the_record(page):
    run = begin()
    run.uses({})  # random weights came from no file
    run.uses({"name": "weights of squeezenet_16bit", "source": "verified file x.pth, rounded to 16 bits"})
    assert [d["source"] for d in run.record()["data"].values()] == ["verified file x.pth, rounded to 16 bits"]


def test_a_set_loaded_twice_is_recorded_twice(page):
    run = begin()
    run.load("cifar10")
    run.load("cifar10", train_images=100)
    run.load("cifar10")
    sizes = {key: found["sizes"]["train"] for key, found in run.record()["data"].items()}
    assert sizes == {"cifar10": sample.SIZES[0], "cifar10, 100 training images": 100}


def test_figures_are_stamped_on_sample_data_and_where_scaled_down(page):
    begin()
    assert plots._stamp == "sample data"
    run = begin(data="real")
    assert plots._stamp == ""
    with run.scale(images=5_000, of={"images": 50_000}):
        assert plots._stamp == "scaled down: 5,000 images instead of 50,000"
    assert plots._stamp == ""
    many = {f"amount_of_kind_{i}": 10 for i in range(8)}
    with run.scale(**dict.fromkeys(many, 1), of=many):  # a line of this would not fit above a figure
        lines = plots._stamp.split("\n")
        assert len(lines) > 2 and max(map(len, lines)) <= scale.STAMP_WIDTH and "instead of" in plots._stamp


# ---- reporting ---------------------------------------------------------------------------------


def glued(page) -> dict:
    prefix = "application/papermill.record/"
    found = {}
    for kind, data, metadata in page:
        if kind == "raw" and "scrapbook" in metadata:
            assert metadata["scrapbook"]["mime_prefix"] == prefix
            (mime,) = data
            assert mime == f"{prefix}text/plain"
            found[metadata["scrapbook"]["name"]] = data[mime]
    return found


def test_report_glues_text_and_verdict(page):
    run = begin(data="real")
    run.report("a1.q1.weights", 30730)
    run.report("a1.q1.accuracy", summarise([38.2, 38.5, 38.8]), note="three seeds")
    run.glue("passes", "5.12")
    assert glued(page) == {
        "a1.q1.weights": "'30,730'", "a1.q1.weights.verdict": "'reproduced'",
        "a1.q1.accuracy": "'38.5 [37.8, 39.2] %'", "a1.q1.accuracy.verdict": "'reproduced'", "passes": "'5.12'",
    }  # fmt: skip


def test_one_seed_has_no_interval_and_the_page_says_so(page):
    run = begin(seeds=1)
    found = summarise([1.0])
    run.glue("gain", f"{found.mean:+.1f} points [{found.low:+.1f}, {found.high:+.1f}]")
    run.report("a1.q1.accuracy", found)
    assert glued(page)["gain"] == "'+1.0 points'" and run.record()["numbers"]["gain"] == "+1.0 points"
    run.report("a1.q1.weights", 30730)
    run.finish()
    assert "one run of a kind has no interval" in page[0][1]._repr_html_()
    assert "1 seed, no interval" in page[-1][1]["text/html"]


def test_report_of_a_claim_that_is_not_this_notebooks(page):
    run = begin()
    with pytest.raises(LedgerError, match="a1.q1.speed is not a claim of notebook a1_q1_test.*a1.q1.accuracy"):
        run.report("a1.q1.speed", 3)


def test_finish_needs_every_claim(page):
    run = begin()
    run.report("a1.q1.weights", 30730)
    with pytest.raises(LedgerError, match="did not report a1.q1.accuracy"):
        run.finish()


def test_sample_data_and_scaled_down_runs_earn_no_verdict(page):
    run = begin()
    run.report("a1.q1.accuracy", 38)
    assert glued(page)["a1.q1.accuracy.verdict"] == "'sample data'"
    run = begin(data="real")
    with run.scale(images=1_000, of={"images": 50_000}):
        run.report("a1.q1.accuracy", 38)
    run.report("a1.q1.weights", 30720)
    verdicts = {k: m["verdict"] for k, m in run.record()["measurements"].items()}
    assert verdicts == {"a1.q1.accuracy": "not run at full scale", "a1.q1.weights": "corrected"}


def test_the_record_is_complete_json_and_lies_in_the_last_output(page):
    run = begin(data="real", lr="1e-3")
    run.report("a1.q1.weights", 30730)
    run.report("a1.q1.accuracy", summarise([38.0]), note="one seed")
    run.finish()
    kind, shown, _ = page[-1]
    assert kind == "raw" and "reproduced" in shown["text/html"]
    assert shown["text/plain"].splitlines()[0].split() == ["a1.q1.weights", "reproduced"]
    record = json.loads(json.dumps(shown[RECORD_MIME], allow_nan=False))
    assert record["notebook"] == NAME and record["report"] == "a1" and record["profile"] == "smoke"
    assert record["parameters"] == {**namespace(data="real"), "lr": 0.001} and record["sample"] is False
    assert set(record) >= {
        "question",
        "environment",
        "data",
        "code",
        "started",
        "duration_s",
        "measurements",
        "numbers",
    }
    assert set(record["environment"]) >= {"torch", "device", "threads", "commit", "python"}
    assert record["environment"]["commit"] == "0123456789" and record["duration_s"] >= 0
    measured = record["measurements"]["a1.q1.accuracy"]
    assert measured["value"] == 38 and measured["low"] is None and measured["note"] == "one seed"
    assert measured["verdict"] == "not resolved" and measured["text"] == "38.0 %"  # another seed may differ
    assert record["numbers"]["a1.q1.accuracy"] == "38.0 %"
    assert "running …" not in page[-2][1]._repr_html_() and page[-2][0] == "update"


def test_a_diverged_measurement_is_told_as_such(page):
    run = begin(data="real")
    run.report("a1.q1.accuracy", math.nan)
    found = json.loads(json.dumps(run.record(), allow_nan=False))["measurements"]["a1.q1.accuracy"]
    assert found["text"] == "diverged" and found["verdict"] == "differs" and found["value"] is None


# ---- values in prose ---------------------------------------------------------------------------


def test_glue_writes_values_by_one_spec_or_by_their_own(page):
    run = begin()
    gain = summarise([1.0, 1.4, 1.2])
    run.glue("+.1f points", gain=gain, other=-0.52)
    run.glue(images=50_000, best=0.1, tried=[0.1, 1e-5], who="Adam", share=(0.123, ".0%"), loss=(gain, "mean .2f"))
    run.glue("by.a.name", 1234)
    run.glue("old", f"{gain.mean:.1f} %")
    assert {name: text.strip("'") for name, text in glued(page).items()} == {
        "gain": "+1.2 [0.7, 1.7] points", "other": "−0.5 points", "images": "50,000", "best": "0.1",
        "tried": "0.1, 10⁻⁵", "who": "Adam", "share": "12 %", "loss": "1.20", "by.a.name": "1,234", "old": "1.2 %",
    }  # fmt: skip
    assert run.record()["numbers"]["gain"] == "+1.2 [0.7, 1.7] points"


def test_tuples_of_names_are_lists_and_not_values_with_a_spec(page):
    run = begin()
    run.glue(pair=("cat", "dog"), sizes=(16, 32), empty=())
    assert set(glued(page).items()) == {("pair", "'cat, dog'"), ("sizes", "'16, 32'"), ("empty", "'none'")}


@pytest.mark.parametrize("given", [(), ("points",), (3,), ("a", 1, 2)])
def test_glue_without_values_is_refused(page, given):
    with pytest.raises(ParameterError, match="expected values by name, behind one spec or none"):
        begin().glue(*given)


def test_parameters_glue_themselves_unless_the_chapter_has_a_text_for_the_name(page):
    run = begin(seeds=3, lr=1e-5, rates=[0.1, 1.0])
    run.glue(limit="all")
    run.report({"a1.q1.weights": 30730, "a1.q1.accuracy": 38})
    assert "lr" not in glued(page)
    run.finish()
    names = [m["scrapbook"]["name"] for kind, _, m in page if kind == "raw" and m]
    assert len(names) == len(set(names))  # myst-nb warns of what is glued twice
    found = glued(page)
    assert (found["seeds"], found["lr"], found["rates"], found["limit"], found["augment"]) == (
        "'3'", "'10⁻⁵'", "'0.1, 1'", "'all'", "'no'",
    )  # fmt: skip
    assert page[-1][1][RECORD_MIME]["numbers"]["lr"] == "10⁻⁵"


def test_several_claims_in_one_report(page):
    run = begin(data="real")
    run.report({"a1.q1.weights": 30730, "a1.q1.accuracy": (summarise([38.2, 38.5, 38.8]), "three")}, note="both")
    found = run.record()["measurements"]
    assert [found[key]["note"] for key in ("a1.q1.weights", "a1.q1.accuracy")] == ["both", "three"]
    assert {m["verdict"] for m in found.values()} == {"reproduced"}
    run.report({"a1.q1.weights": 30730, "a1.q1.accuracy": 38}, note={"a1.q1.weights": "with biases"})
    found = run.record()["measurements"]
    assert [found[key]["note"] for key in ("a1.q1.weights", "a1.q1.accuracy")] == ["with biases", ""]
    with pytest.raises(LedgerError, match="a1.q1.speed is not a claim"):
        run.report({"a1.q1.speed": 1})


# ---- scale -------------------------------------------------------------------------------------


def sized(**changes) -> chapter.Chapter:
    return start(NAME, namespace(**changes), "?", scale={"images": 50_000, "epochs": 20})


def test_a_block_says_how_large_an_experiment_is_and_gives_back_what_was(page):
    run = sized(data="real")
    small, full = run.scale(images=2_000, epochs=3), run.scale(images=50_000, epochs=30)
    assert (small.is_full, full.is_full, full.words) == (False, True, "50,000 images, 30 epochs")
    told = "2,000 images, 3 epochs instead of 50,000 and 20"
    with full:
        run.report("a1.q1.accuracy", 38)
        with small:
            assert not run.full_scale and plots._stamp == f"scaled down: {told}"
        assert run.full_scale and plots._stamp == ""
    assert run.record()["measurements"]["a1.q1.accuracy"]["verdict"] == "reproduced"
    for _ in range(2):  # in one cell and in the next
        with small:
            run.report("a1.q1.accuracy", 38)
        assert run.full_scale and plots._stamp == ""
    record = run.record()
    found = record["measurements"]["a1.q1.accuracy"]
    assert (found["verdict"], found["scale"]) == ("not run at full scale", told)
    assert record["scale"] == {"images": 50_000, "epochs": 20}


def test_an_error_in_a_block_gives_back_what_was(page):
    run = sized(data="real")
    with pytest.raises(ZeroDivisionError), run.scale(epochs=1):
        raise ZeroDivisionError
    assert run.full_scale and plots._stamp == ""


def test_sample_data_stay_stamped_as_such(page):
    run = sized()
    with run.scale(epochs=1):
        assert plots._stamp == "sample data"
    with run.scale(epochs=20):
        assert plots._stamp == "sample data"


@pytest.mark.parametrize(
    ("here", "words"),
    [
        ({"images": 50_000, "epochs": 3}, "3 epochs instead of 20"), ({"epochs": 1}, "1 epoch instead of 20"),
        ({"epochs": 20}, "20 epochs"), ({}, ""), ({"layers": [8, 4]}, "layers 8, 4 instead of 16, 8"),
        ({"layers": [16, 8]}, "layers 16, 8"), ({"width": 32.5}, "width 32.5 instead of 64"),
        ({"epochs": 3, "layers": [8], "images": 10},
         "3 epochs, 10 images instead of 20 and 50,000; layers 8 instead of 16, 8"),
        ({"images": 1, "epochs": 1, "width": 1}, "1 image, 1 epoch, width 1 instead of 50,000, 20 and 64"),
    ],
)  # fmt: skip
def test_the_words_of_a_scale_are_made_from_its_numbers(page, here, words):
    assert sized().scale(of={"layers": [16, 8], "width": 64}, **here).words == words


def test_an_experiment_may_have_a_scale_of_its_own(page):
    run = sized(data="real")
    assert run.scale(epochs=5, of={"epochs": 5}).is_full and not run.scale(epochs=5).is_full
    assert run.scale(steps=5, of={"steps": 9}).words == "5 steps instead of 9"
    with pytest.raises(ParameterError, match=r"given 'steps'.*not declared \(images, epochs\).*of=dict\(steps"):
        run.scale(steps=5)


def test_an_experiment_reported_outside_of_any_scale_is_refused_where_the_report_has_one(page):
    run = sized(data="real")
    run.report("a1.q1.weights", 30730)  # a derivation is exact at any scale
    with pytest.raises(LedgerError, match=r"a1.q1.accuracy is an experiment's.*run.scale\(images=..., epochs=...\)"):
        run.report("a1.q1.accuracy", 38)
    with run.scale():
        run.report("a1.q1.accuracy", 38)
    assert run.record()["measurements"]["a1.q1.accuracy"]["verdict"] == "reproduced"


# ---- the cell of a claim, the source of a function ---------------------------------------------


def test_a_claims_measurement_names_the_cell_that_reported_it_last():
    def glue(name):
        return {"output_type": "display_data", "data": {}, "metadata": {"scrapbook": {"name": name}}}

    found = {"measurements": {"a1.q1.a": {}, "a1.q1.b": {}, "a1.q1.c": {}}}
    executed = {"cells": [
        {"id": "text", "cell_type": "markdown"}, {"id": "one", "outputs": [glue("a1.q1.a"), glue("a1.q1.b")]},
        {"id": "two", "outputs": [glue("a1.q1.b"), {"output_type": "stream", "text": "x"}]},
        {"id": "end", "outputs": [{"data": {RECORD_MIME: {"measurements": {}}}}]},
    ]}  # fmt: skip
    cells.note_cells(executed, found)
    assert [m["cell"] for m in found["measurements"].values()] == ["one", "two", None]
    assert executed["cells"][-1]["outputs"][0]["data"][RECORD_MIME] == found


def documented(x: int) -> int:
    """Return one more.

    At length, with `x = "quoted"`.
    """

    class Inner:
        r"""A \\section."""

        def none(self):
            return 0

    return x + 1  # as it says


def test_a_functions_source_stands_on_the_page_with_one_line_of_its_docstring(page, monkeypatch):
    monkeypatch.setattr(source, "display", lambda shown, raw: page.append(shown))
    chapter.source(documented, Handle.update)
    (shown,) = page
    code = shown["text/plain"]
    assert "At length" not in code and '    """Return one more."""\n\n    class Inner:' in code
    assert 'r"""A \\\\section."""' in code and "return x + 1  # as it says" in code
    assert "\n\ndef update(self, shown):" in code
    compile(code, "shown", "exec")
    html = shown["text/html"]
    assert f'<a href="../api.html#{__name__}.Handle.update">' in html
    assert "<style" not in html and str(source.__file__) not in html and "pre-wrap" in html
    assert '<span class="k">def</span>' in html  # coloured by the page's own style sheet


def test_what_is_private_is_described_with_its_class():
    public, private = (source._link(f"cifar_utils.models.dynamic.Block.{name}") for name in ("forward", "_by_parts"))
    assert "#cifar_utils.models.dynamic.Block.forward" in public
    assert '#cifar_utils.models.dynamic.Block"' in private


# ---- code --------------------------------------------------------------------------------------


def test_a_result_depends_on_the_modules_that_its_notebook_reaches(page, project):
    package, path = project / "cifar_utils", project / "notebooks" / f"{NAME}.ipynb"
    (package / "kinds").mkdir()
    texts = {
        "code.py": "def f():\n    from . import deep\n",
        "deep.py": "from .kinds import x\n",
        "kinds/__init__.py": "from .one import x\nfrom .two import w\n",
        "kinds/two.py": "w = 2\n",  # the room's face hands it on too; nobody asks for it
        "kinds/one.py": "from ..top import y\nx = y\n",
        "top.py": "import numpy\ny = 1\n",
        "apart.py": "z = 1\n",
    }
    for file, text in texts.items():
        (package / file).write_text(text)
    path.write_text(path.read_text().replace("print(1)", "import cifar_utils.code\\nfrom reproduce import chapter"))
    found = {p.relative_to(package).as_posix() for p in record.code_files(NAME)}
    assert found == {"code.py", "deep.py", "kinds/one.py", "top.py"}
    before = record.code_fingerprint(NAME)
    (package / "apart.py").write_text("z = 2\n")
    assert record.code_fingerprint(NAME) == before
    (package / "top.py").write_text('"""Why."""\nimport numpy\ny = 1  # a comment\n')
    assert record.code_fingerprint(NAME) == before
    (package / "top.py").write_text("y = 2\n")
    assert record.code_fingerprint(NAME) != before


def test_a_fingerprint_ignores_prose(page, project):
    before = chapter.code_fingerprint(NAME)
    path = project / "notebooks" / f"{NAME}.ipynb"
    content = json.loads(path.read_text())
    content["cells"].append({"cell_type": "markdown", "metadata": {}, "source": ["Prose."]})
    path.write_text(json.dumps(content))
    assert chapter.code_fingerprint(NAME) == before


# ---- curves, settings, sentences ------------------------------------------------------------------------


MORE = """      - id: a1.q1.curve
        where: figure 2
        says: The accuracy rises from 30 to 38 %.
        kind: measured
        points: {1: 30.0, 10: 38.0}
        along: epoch
        unit: "%"
        within: 2
        because: read from the figure
"""
SETTINGS = """    settings:
      - {what: rate, value: "0.1", from: stated, where: section 2}
    claims:
"""


@pytest.fixture
def with_curve(project):
    path = project / "claims" / "a1.yml"
    path.write_text(path.read_text().replace("    claims:\n", SETTINGS, 1).rstrip("\n") + "\n" + MORE)
    ledger.load_reports.cache_clear()
    return project


def test_a_curve_is_reported_by_the_places_that_the_run_reached(page, with_curve):
    run = begin(data="real")
    assert run.points("a1.q1.curve") == {1: 30.0, 10: 38.0} and run.record()["printed"] == {
        "a1.q1.curve": [[1, 30.0], [10, 38.0]]
    }
    run.report({"a1.q1.curve": ({1: 31.0, 10: summarise([37.0, 37.5, 38.0])}, "three seeds")})
    stored = run.record()["measurements"]["a1.q1.curve"]
    assert stored["verdict"] == "reproduced" and stored["note"] == "three seeds"
    assert glued(page)["a1.q1.curve"].startswith("'2 of 2 points agree, up to epoch 10; farthest")
    with pytest.raises(LedgerError, match="a1.q1.curve was reported as float; expected values by epoch"):
        run.report("a1.q1.curve", 38.0)
    with pytest.raises(LedgerError, match="a1.q1.accuracy was reported as dict; expected one value"):
        run.report("a1.q1.accuracy", {1: 38.0})
    with pytest.raises(LedgerError, match=r"a1.q1.accuracy has no points"):
        run.points("a1.q1.accuracy")


def test_settings_are_a_table_with_where_they_come_from(page, with_curve):
    begin().settings()
    shown = page[-1][1]["text/html"]
    assert "<b>rate</b>" in shown and "<b>stated</b>: section 2" in shown


def test_a_run_that_contradicts_a_sentence_says_so_on_real_data(page):
    run = begin(data="real")
    before = len(page)
    run.check("dropout helps", 1 > 0)
    assert len(page) == before
    run.check("width <helps>", np.bool_(False))
    assert "The text says: width &lt;helps&gt;. It is not so" in page[-1][1]._repr_html_()
    assert run.record()["checks"] == {"dropout helps": True, "width <helps>": False}
    on_sample = begin()
    before = len(page)
    on_sample.check("dropout helps", False)
    assert len(page) == before

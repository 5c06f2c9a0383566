from __future__ import annotations

import json
import math

import pytest
import torch
from conftest import PARAMETERS

from cifar_utils.data import standin as sample
from cifar_utils.errors import LedgerError, ParameterError, RunError
from cifar_utils.measure import plots
from cifar_utils.measure.stats import summarise
from reproduce import chapter, record
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
    run.scaled_down("5,000 images")
    assert plots._stamp == "scaled down: 5,000 images" and not run.full_scale
    run.at_full_scale()
    assert plots._stamp == "" and run.full_scale
    run = begin()
    run.scaled_down("fewer epochs")
    assert plots._stamp == "sample data"


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
    run.report("a1.q1.accuracy", summarise([38.0, 38.5, 39.0]), note="three seeds")
    run.glue("passes", "5.12")
    assert glued(page) == {
        "a1.q1.weights": "'30,730'", "a1.q1.weights.verdict": "'reproduced'",
        "a1.q1.accuracy": "'38.5 [37.3, 39.7] %'", "a1.q1.accuracy.verdict": "'reproduced'", "passes": "'5.12'",
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
    run.scaled_down("1,000 images")
    run.report("a1.q1.accuracy", 38)
    run.at_full_scale()
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
    assert measured["verdict"] == "reproduced" and measured["text"] == "38.0 %"
    assert record["numbers"]["a1.q1.accuracy"] == "38.0 %"
    assert "running …" not in page[-2][1]._repr_html_() and page[-2][0] == "update"


def test_a_diverged_measurement_is_told_as_such(page):
    run = begin(data="real")
    run.report("a1.q1.accuracy", math.nan)
    found = json.loads(json.dumps(run.record(), allow_nan=False))["measurements"]["a1.q1.accuracy"]
    assert found["text"] == "diverged" and found["verdict"] == "differs" and found["value"] is None


# ---- files -------------------------------------------------------------------------------------


def test_checkpoint_paths_depend_on_parameters_and_code(page, project, monkeypatch):
    assert begin().checkpoint("seed0") is None  # outside the runner nothing is left behind
    monkeypatch.setenv("CIFAR_UTILS_RUN_DIR", str(project / "runs"))
    first = begin().checkpoint("seed0")
    assert first == begin().checkpoint("seed0") and first.name == "seed0.safetensors"
    assert first.is_relative_to(project / "runs" / "checkpoints" / NAME)
    assert begin().checkpoint("seed1") != first
    assert begin(lr=0.2).checkpoint("seed0").parent != first.parent
    path = project / "notebooks" / f"{NAME}.ipynb"
    path.write_text(path.read_text().replace("print(1)", "print(2)"))
    assert begin().checkpoint("seed0").parent != first.parent


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


def test_artifacts_pass_from_notebook_to_notebook(page, project, monkeypatch):
    run = begin()
    with pytest.raises(
        RunError, match="needs w.bin of a1_q0 at profile smoke; run it first: python -m reproduce run"
    ):
        run.artifact("w.bin", of="a1_q0")
    for base in (None, project / "elsewhere"):
        if base:
            monkeypatch.setenv("CIFAR_UTILS_RUN_DIR", str(base))
        path = run.artifact("w.bin")
        path.write_bytes(b"1")
        assert run.artifact("w.bin", of=NAME) == path
        assert path.is_relative_to(base or project / "runs" / "smoke")
    # a run with parameters of its own lies elsewhere, and reads what the profile's runs left
    monkeypatch.setenv("CIFAR_UTILS_RUN_DIR", str(project / "runs" / "smoke+lr=0.5"))
    assert run.artifact("w.bin", of=NAME) == project / "runs/smoke/artifacts" / NAME / "w.bin"

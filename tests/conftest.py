"""What the tests share: a project of their own, and whether the real data is here."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import matplotlib
import pytest
import torch

from cifar_utils.data.sets import Split
from cifar_utils.files import DATASETS
from reproduce import ledger
from reproduce.book.pdf import BROWSERS

matplotlib.use("Agg")


def pytest_configure(config):
    config.addinivalue_line("markers", "real_data: reads the five real data sets in $CIFAR_UTILS_DATA")


def pytest_collection_modifyitems(items):
    folder = os.environ.get("CIFAR_UTILS_DATA")
    files = [f for source in DATASETS.values() for f in source.files]
    if not folder:
        reason = "CIFAR_UTILS_DATA is not set"
    elif missing := [f for f in files if not (Path(folder) / f).exists()]:
        reason = f"CIFAR_UTILS_DATA has no {missing[0]}"
    else:
        return
    for item in items:
        if "real_data" in item.keywords:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True)
def _quiet_globals():
    """Use one thread, which a busy machine slows least, and give global settings back as they were."""
    from matplotlib import pyplot as plt

    from cifar_utils.measure import plots

    state, threads, show = torch.get_rng_state(), torch.get_num_threads(), plots.show
    torch.set_num_threads(1)
    with matplotlib.rc_context():
        yield
    plots.stamp("")
    plots.show = show  # a chapter shows its figures as vectors, too
    plt.close("all")
    torch.set_rng_state(state)
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def browser():
    """One Chromium for all tests of a process: Playwright cannot be started a second time beside the first."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as p:
        path = next(filter(None, map(shutil.which, BROWSERS)), None) or p.chromium.executable_path
        if not path or not Path(path).exists():
            pytest.skip("no Chromium on this machine; the checks of the HTML itself have run")
        instance = p.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        yield instance
        instance.close()


@pytest.fixture
def no_download(monkeypatch):
    """Make every download fail as it does without a network."""

    def refuse(*_args, **_kwargs):
        raise OSError("no network in this test")

    import pooch
    import torchvision.datasets.utils as tv

    monkeypatch.setattr(pooch, "retrieve", refuse)
    monkeypatch.setattr(tv, "_urlretrieve", refuse)


@pytest.fixture
def official(tmp_path, monkeypatch):
    """Stand-ins of the data sets at addresses of this machine; gives the list of what was asked for."""
    from stand_ins import official_places

    with official_places(tmp_path, monkeypatch) as asked:
        yield asked


@pytest.fixture
def images() -> Split:
    """Sixty random 3x12x10 images of ten classes."""
    g = torch.Generator().manual_seed(3)
    x = torch.randint(256, (60, 3, 12, 10), dtype=torch.uint8, generator=g)
    return Split(x, torch.arange(60) % 10)


def notebook(parameters: str, *cells: str) -> dict:
    """Return a notebook of a tagged parameters cell and code cells."""

    def code(source: str, tags: tuple = ()) -> dict:
        return {"cell_type": "code", "metadata": {"tags": list(tags)}, "source": source.splitlines(True),
                "outputs": [], "execution_count": None}  # fmt: skip

    cells = [code(parameters, ("parameters",)), *map(code, cells)]
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


PARAMETERS = """\
profile: str = "smoke"  # how much to run
data: str = "sample"  # real or sample
device: str = "cpu"  # where
seeds: int = 1  # how many
lr: float = 0.1  # step size
rates: list[float] = [0.1, 0.2]  # grid
augment: bool = False
limit: int | None = None  # most images
"""

CLAIMS = """\
title: "A report"
course: "A course"
notebooks:
  a1_q1_test:
    scale: "20 epochs"
    claims:
      - id: a1.q1.accuracy
        where: "Table 1"
        says: "The accuracy is 38 %"
        asks: "on the test images"
        kind: measured
        value: 38
        unit: "%"
        within: 1
        because: "printed in whole per cent"
      - id: a1.q1.weights
        where: "Question 1"
        says: "There are 30,730 weights"
        kind: derivation
        value: 30730
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project folder with one notebook, its parameters and claims, in the place of the real one."""
    for folder in ("notebooks", "claims", "params/quick", "cifar_utils"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "notebooks" / "a1_q1_test.ipynb").write_text(json.dumps(notebook(PARAMETERS, "print(1)")))
    (tmp_path / "claims" / "a1.yml").write_text(CLAIMS)
    (tmp_path / "cifar_utils" / "code.py").write_text("x = 1\n")
    (tmp_path / "params" / "quick" / "a1_q1_test.yml").write_text("profile: quick\ndata: real\nlr: 1e-3\n")
    monkeypatch.setenv("CIFAR_UTILS_ROOT", str(tmp_path))
    monkeypatch.setenv("CIFAR_UTILS_COMMIT", "0123456789")
    ledger.load_reports.cache_clear()
    yield tmp_path
    ledger.load_reports.cache_clear()

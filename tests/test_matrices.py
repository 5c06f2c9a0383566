"""Confusion matrices that open: what a page gets, counted in another way and seen in its picture."""

import base64
import io
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import confusion_matrix

from cifar_utils.errors import ParameterError
from cifar_utils.measure import plots
from reproduce import matrices, sheets
from reproduce.book.chapter_page import _opened_apart

NAMES = ("a<b", "cat", "dog")


@pytest.fixture
def shown(monkeypatch):
    found = []
    monkeypatch.setattr(matrices, "display", found.append)

    def show(true, predicted, images=None, **more):
        images = torch.zeros(len(true), 3, 8, 8, dtype=torch.uint8) if images is None else images
        matrices.openable(true, predicted, NAMES, images, "A matrix", **more)
        html = found[-1].data
        return html, json.loads(re.search(r'<script type="application/json">(.*?)</script>', html, re.S)[1])

    return show


@pytest.fixture
def answers():
    g = torch.Generator().manual_seed(0)
    return torch.randint(3, (200,), generator=g), torch.randint(3, (4, 200), generator=g)


def test_counts_are_those_of_scikit_learn(shown, answers):
    true, predicted = answers
    assert shown(true, predicted[0])[1]["counts"] == confusion_matrix(true, predicted[0]).tolist()
    of_all = sum(confusion_matrix(true, each) for each in predicted)
    assert shown(true, predicted)[1]["counts"] == of_all.tolist()


def test_a_cells_images_are_the_first_that_it_counts_with_the_networks_that_say_so(shown, answers):
    true, predicted = answers
    _, told = shown(true, predicted)
    shares = [(true == int(i)) & (predicted == int(j)).any(0) for i, j in (key.split(",") for key in told["cells"])]
    assert [number for number, _ in told["cells"].values()] == [int(own.sum()) for own in shares]
    for key, (number, some) in told["cells"].items():
        i, j = map(int, key.split(","))
        said = [int((predicted[:, k] == j).sum()) for k in range(200) if true[k] == i]
        assert [networks for _, networks in some] == [n for n in said if n][: matrices.MOST[0]]
        assert len(some) == min(number, matrices.MOST[0])


def test_a_place_on_the_sheet_has_an_image_of_its_own_class(shown, answers):
    true, predicted = answers
    images = (80 * true + 40).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 8, 8)
    html, told = shown(true, predicted, images)
    address = re.search(r'data-sheet="data:image/webp;base64,([^"]+)"', html)[1]
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(address))).convert("L"), float)
    for key, (_, some) in told["cells"].items():
        for place, _ in some:
            row, column = divmod(place, sheets.ROW)
            own = picture[8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
            assert abs(own.mean() - (80 * int(key[0]) + 40)) < 12


def test_images_that_weigh_too_much_are_fewer_in_every_cell(shown, answers):
    true, predicted = answers
    noise = torch.randint(256, (200, 3, 8, 8), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    whole = len(shown(true, predicted[0], noise)[0])
    html, told = shown(true, predicted[0], noise, weight=3000)
    most = {len(some) for _, some in told["cells"].values()}
    assert len(most) == 1 and most.pop() in matrices.MOST[1:-1] and len(html) < whole - 1000
    assert sum(number for number, _ in told["cells"].values()) == 200


def test_the_reports_own_matrix_stands_beside(shown, answers):
    printed = matrices.Printed(np.array([[5, 2], [1, 7]]), ("no", "yes"), "The report's.")
    _, told = shown(answers[0], answers[1], printed=printed)
    assert told["printed"] == {"counts": [[5, 2], [1, 7]], "names": ["no", "yes"], "note": "The report's."}
    assert shown(*answers)[1]["printed"] is None


def test_a_matrix_says_what_figures_are_stamped_with(shown, answers):
    before = plots.stamp("sample data")
    html, _ = shown(*answers)
    plots.stamp(before)
    assert "Open this matrix: A matrix (sample data)</button>" in html
    assert "Open this matrix: A matrix</button>" in shown(*answers)[0]


def test_names_cannot_end_the_script(monkeypatch, answers):
    found = []
    monkeypatch.setattr(matrices, "display", found.append)
    names = ("</script><b>", "cat", "dog")
    matrices.openable(*answers, names, torch.zeros(200, 3, 8, 8, dtype=torch.uint8), "A matrix")
    assert found[0].data.count("</script>") == 1


def test_what_does_not_belong_together_is_refused(shown):
    with pytest.raises(ParameterError, match="do not belong"):
        shown(torch.tensor([0, 1]), torch.tensor([0, 1, 2]))
    with pytest.raises(ParameterError, match="Class 3 has no name"):
        shown(torch.tensor([0, 1]), torch.tensor([0, 3]))


def test_matrices_stand_below_the_figure_of_their_cell_outside_its_caption(shown, answers):
    html = {"output_type": "display_data", "metadata": {}, "data": {"text/html": shown(*answers)[0]}}
    png = {"output_type": "display_data", "metadata": {}, "data": {"image/png": ""}}
    cell = {"cell_type": "code", "id": "7", "metadata": {"mystnb": {"figure": {"caption": "A figure"}}}, "source": "",
            "outputs": [png, html]}  # fmt: skip
    figure, below = _opened_apart(cell)
    assert (figure["outputs"], below["outputs"]) == ([png], [html]) and "mystnb" not in below["metadata"]

"""What a training will take is told before it begins: from records read once, and from operations on shapes."""

import json
import shutil
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from cifar_utils.flops import grouped_convolutions
from cifar_utils.train import Adam, Part, Recipe, rungs
from cifar_utils.train import training as one
from cifar_utils.train.foresight import operations_of_step, steps
from cifar_utils.train.recipe import SGD
from cifar_utils.train.store import Store
from reproduce import speeds

TANH = Recipe(
    "cifar10", Part("tanh", hidden=8), SGD(0.05), batch=64, epochs=2, prepare="channels", sample=True,
    evaluate=("val", "test"),
)  # fmt: skip
RDFIA = Recipe("cifar10", Part("rdfia"), SGD(0.1), batch=32, epochs=1, augment=(Part("crop", pixels=4), "flip"),
               sample=True)  # fmt: skip
DYNAMIC = Recipe("cifar10", Part("dynamic", width=2, k=3), Adam(), batch=16, epochs=1, sample=True)
CONVOLUTIONS = Recipe("cifar10", Part("encoder", width=2), Adam(), batch=16, epochs=1, sample=True)


@pytest.fixture
def kept(tmp_path):
    return Store(tmp_path / "trainings")


def test_a_grouped_convolution_costs_its_gradients_what_it_costs_itself():
    x = torch.zeros(1, 32, 9, 9, requires_grad=True)
    layer = torch.nn.Conv2d(32, 64, 3, stride=2, groups=4)
    for inside in (True, False):
        with grouped_convolutions() if inside else nullcontext(), FlopCounterMode(display=False) as forward:
            y = layer(x)
        with grouped_convolutions() if inside else nullcontext(), FlopCounterMode(display=False) as backward:
            y.sum().backward()
        assert forward.get_total_flops() == 2 * 64 * 16 * 8 * 9  # outputs times what each sums
        times = backward.get_total_flops() / forward.get_total_flops()
        # when PyTorch's own count is mended, this module can go
        assert times == 2 if inside else times == 1 + 4


@pytest.mark.parametrize("recipe", [TANH, RDFIA, DYNAMIC, CONVOLUTIONS], ids=lambda r: r.model.name)
def test_operations_on_shapes_are_those_that_a_training_counts(recipe):
    (trained,) = one.train_many([(recipe, 0)], torch.device("cpu"), steps=2)
    assert operations_of_step(recipe) == pytest.approx(trained.history.operations / 2, rel=1e-6)


def test_a_network_whose_operations_cannot_be_counted_on_shapes_has_none():
    in_numpy = Recipe("mnist", Part("dense", sizes=(784, 4, 10)), SGD(0.1), loop="numpy", epochs=1, sample=True)
    assert operations_of_step(in_numpy) is None


def test_steps_are_counted_without_data():
    assert steps(TANH.but(images=100)) == 4
    assert steps(TANH.but(epochs=None, iterations=7)) == 7


def test_a_slow_step_is_told_by_its_operations_and_not_waited_for(kept, monkeypatch):
    monkeypatch.setattr(speeds, "matrix_product_rate", lambda device: 2.0 * operations_of_step(TANH))
    monkeypatch.setattr(one, "train_many", lambda *a, **k: pytest.fail("a step was waited for"))
    assert speeds.Speeds(kept).seconds(TANH) == pytest.approx(steps(TANH))


def test_a_slow_step_is_counted_even_when_no_time_to_measure_is_left(kept, monkeypatch):
    monkeypatch.setattr(speeds, "matrix_product_rate", lambda device: 2.0 * operations_of_step(TANH))
    monkeypatch.setattr(speeds, "MEASURING", 0.0)
    known = speeds.Speeds(kept)
    known.known[known._shape(TANH.but(batch=16).canonical())] = 1e-9  # what a guess would be led by
    assert known.seconds(TANH) == pytest.approx(steps(TANH))


def test_operations_are_those_of_a_training_on_any_machine(kept, monkeypatch):
    training = kept.get(TANH.but(epochs=8), 0)
    known = speeds.Speeds(kept)
    a_step = training.record["operations"] / training.record["history"]["iterations"]
    monkeypatch.setattr("cifar_utils.environment.machine", lambda device: "another")
    monkeypatch.setattr(speeds, "operations_of_step", lambda recipe: pytest.fail("counted though it is known"))
    elsewhere, shape = speeds.Speeds(kept), known._shape(TANH.canonical())
    assert shape in known.known and shape not in elsewhere.known
    assert elsewhere.counts[speeds._counted_as(TANH.canonical())] == a_step
    assert elsewhere.seconds(TANH) > 0


def test_a_guess_goes_by_another_machine_of_the_same_kind(kept, monkeypatch):
    record = kept.get(TANH.but(epochs=8), 0).record
    took = record["history"]["seconds"] / record["history"]["iterations"]
    monkeypatch.setattr("cifar_utils.environment.machine", lambda device: "another")
    known = speeds.Speeds(kept, at_once=True)
    assert known.seconds(TANH) == pytest.approx(took * steps(TANH)) and known.is_guess(TANH)
    assert known.seconds(TANH.but(batch=16)) == pytest.approx(took / TANH.batch * 16 * steps(TANH.but(batch=16)))


def test_a_guess_goes_by_operations_at_a_rate_of_the_same_network(kept, monkeypatch):
    monkeypatch.setattr(speeds, "MEASURING", 0.0)
    known = speeds.Speeds(kept)
    known._rates = {"tanh": [(operations_of_step(TANH), 1e9)]}
    assert known.seconds(TANH) == pytest.approx(operations_of_step(TANH) / 1e9 * steps(TANH)) and known.is_guess(TANH)


def test_smaller_images_in_the_first_epochs_are_counted(kept):
    recipe = rungs.fast_network(3, widths=(4, 8, 8), batch=32, sides=(24,)).but(sample=True)
    sides = lambda *pixels: recipe.but(draw=recipe.draw.but(sides=pixels))  # noqa: E731
    smaller, larger = (operations_of_step(sides(*[each] * 3)) for each in (24, 32))
    assert smaller < 0.7 * larger and larger == operations_of_step(recipe.but(draw=recipe.draw.but(sides=())))
    assert operations_of_step(recipe) == pytest.approx((smaller + 2 * larger) / 3)
    record = kept.get(recipe, 0).record
    an_epoch = record["history"]["iterations"] / 3  # a last, smaller batch is left out
    assert record["operations"] == record["history"]["operations"]
    assert record["operations"] == pytest.approx(an_epoch * (smaller + 2 * larger), rel=1e-6)


def test_rates_are_those_of_trainings_of_the_same_network(kept):
    training = kept.get(TANH.but(epochs=8), 0)
    known = speeds.Speeds(kept)
    assert known._rate(TANH.but(batch=32), 1e6) == pytest.approx(
        training.record["operations"] / training.record["history"]["seconds"]
    )


def test_of_these_the_rates_count_whose_steps_are_about_as_large(kept):
    known = speeds.Speeds(kept)
    known._rates = {"tanh": [(1e6, 1e9), (1.5e6, 2e9), (1e9, 5e10), (1e3, 1e7)], "rdfia": [(3e9, 1e12)]}
    assert known._rate(TANH, 1e6) == 1.5e9
    assert known._rate(TANH, 1e10) == 5e10
    assert known._rate(TANH.but(model="another"), 3e9) == 1e12


def test_heads_are_kept_and_a_changed_record_is_read_again(kept, monkeypatch):
    for seed in range(3):
        kept.get(TANH, seed)
    first = kept.heads()
    assert [head.epochs for head in first] == [2] * 3
    monkeypatch.setattr("cifar_utils.train.index.read_record", lambda path: pytest.fail("read though unchanged"))
    assert Store(kept.root).heads() == first
    monkeypatch.undo()
    (kept.folder(first[0].key) / "record.json").write_text("{half", encoding="utf-8")
    assert Store(kept.root).heads() == first[1:]


def test_a_store_reached_by_two_paths_has_one_index(kept, tmp_path, monkeypatch):
    kept.get(TANH, 0)
    kept.heads()
    (tmp_path / "linked").symlink_to(kept.root)
    monkeypatch.setattr("cifar_utils.train.index.read_record", lambda path: pytest.fail("read again"))
    (head,) = Store(tmp_path / "linked").heads()
    assert head.path == str(tmp_path / "linked" / head.key / "record.json")


def test_committed_records_have_an_index_of_their_own(kept, tmp_path):
    kept.get(TANH, 0)
    (own,) = kept.heads()
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        copy = tmp_path / name / f"{own.key}.json"
        shutil.copy(own.path, copy)
        (head,) = Store(tmp_path / "empty", copy.parent).heads()
        assert head.path == str(copy)
    told = [json.loads(path.read_text(encoding="utf-8")) for path in (tmp_path / "empty").glob("index-*.json")]
    assert [set(each) for each in told] == [{f"{own.key}.json"}] * 2


@pytest.mark.parametrize("text", ["", "{half", "[]", '{"a": [1]}', '{"a": [1, {"key": 2}]}'])
def test_a_damaged_index_is_made_again(kept, text):
    kept.get(TANH, 0)
    found = kept.heads()
    index = kept.root / "index.json"
    index.write_text(text, encoding="utf-8")
    assert Store(kept.root).heads() == found
    assert set(json.loads(index.read_text(encoding="utf-8"))) == {f"{found[0].key}/record.json"}


def test_an_index_that_cannot_be_written_costs_only_time(kept, tmp_path):
    kept.get(TANH, 0)
    index = kept.root / "index.json"
    index.unlink(missing_ok=True)
    index.mkdir()  # root may write everywhere, but not over a folder
    assert len(Store(kept.root).heads()) == 1
    assert not list(kept.root.glob("*.part"))


def test_the_rate_of_a_product_is_two_operations_a_multiplication_in_the_best_of_three_times(monkeypatch):
    taken = (0.125, 1.0, 0.25, 0.5)  # the first is not counted
    clock = iter([moment for i, seconds in enumerate(taken) for moment in (10 * i, 10 * i + seconds)])
    monkeypatch.setattr(speeds, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    assert speeds.matrix_product_rate(torch.device("cpu"), 16) == 2 * 16**3 / 0.25

"""What is measured on a trained network is kept in its record, and the network is needed once."""

import pytest
import torch

from cifar_utils import fingerprint
from cifar_utils.errors import ParameterError
from cifar_utils.train import Part, Recipe, measures, test_time
from cifar_utils.train.records import read_record, write_record
from cifar_utils.train.store import Needs, Store
from reproduce import queue, trainings, waits

BASE = Recipe("cifar10", Part("tanh", hidden=8), batch=64, epochs=2, evaluate=(), final=("test",), sample=True)
OUTSIDE = 3


@pytest.fixture
def taken(monkeypatch):
    """The seeds of the trainings on which the measure `mirrored` was taken, in order."""
    seeds = []
    monkeypatch.setattr(measures, "MEASURES", {})
    measures.register("mirrored")(mirrored)
    find = measures._find
    monkeypatch.setattr(measures, "_find", lambda name: noting(find(name), seeds))
    monkeypatch.setattr(measures, "code_of", lambda name: measures._code_of(find(name)))
    return seeds


def noting(function, seeds):
    return lambda training: seeds.append(training.seed) or function(training)


def mirrored(training):
    right = [(training.model(x.flip(-1)).argmax(1) == y).sum() for x, y in training.batches(training.data.test)]
    return [(100 * sum(right) / len(training.data.test)).item(), torch.rand(()).item()]


def test_a_measure_is_taken_once_and_needs_no_network_again(tmp_path, taken):
    store = Store(tmp_path / "trainings", tmp_path / "published")
    pairs = [(BASE, 0), (BASE, 1)]
    first = store.get_many(pairs, measures=["mirrored"])
    values = [measures.of(each, "mirrored") for each in first]
    again = mirrored(first[0])
    told = first[0].record["measured"]["mirrored"]
    assert (
        set(told) == {"value", "code", "taken", "machine", "commit"} and told["taken"] >= first[0].record["started"]
    )
    assert values[0][0] == pytest.approx(again[0]) and taken == [0, 1]
    for each in first:
        each.state.unlink()
    found = store.get_many(pairs, measures=["mirrored"])
    assert [measures.of(each, "mirrored") for each in found] == values and taken == [0, 1]
    assert [each.record["started"] for each in found] == [each.record["started"] for each in first]
    for each in first:  # a clone has the committed records alone
        write_record(store.published / f"{each.record['key']}.json", read_record(each.folder / "record.json"))
    clone = Store(tmp_path / "clone", store.published)
    assert [measures.of(each, "mirrored") for each in clone.get_many(pairs, measures=["mirrored"])] == values
    assert taken == [0, 1] and not list(clone.root.glob("*/state-*"))


def test_a_measure_changes_no_key_and_no_random_number(tmp_path, taken):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    store = Store(tmp_path / "trainings")
    done = store.get(BASE, 0)
    torch.manual_seed(7)
    measured = store.get(BASE, 0, measures=["mirrored"])
    assert torch.equal(torch.rand(3), expected)
    without = {name: value for name, value in measured.record.items() if name != "measured"}
    assert without == done.record and taken == [0]


def test_a_measure_whose_code_was_changed_is_taken_again_on_the_network_or_on_one_trained_again(tmp_path, taken):
    store = Store(tmp_path / "trainings")
    old = store.get(BASE, 0, measures=["mirrored"])

    @measures.register("mirrored")
    def upright(training):
        return len(training.data.test)

    assert store.find(BASE, 0, measures=("mirrored",)).record == old.record  # its network is here
    assert measures.of(store.get(BASE, 0, measures=["mirrored"]), "mirrored") == len(old.data.test)
    assert taken == [0, 0]
    old.state.unlink()
    measures.register("mirrored")(mirrored)
    assert store.find(BASE, 0, measures=("mirrored",)) is None and store.find(BASE, 0) is not None
    again = store.get(BASE, 0, measures=["mirrored"])
    assert again.state and measures.of(again, "mirrored")[0] == measures.of(old, "mirrored")[0]


def test_one_of_several_that_is_missing_is_taken_and_the_others_stay(tmp_path, taken):
    store = Store(tmp_path / "trainings")
    first = store.get(BASE, 0, measures=["mirrored"])

    @measures.register("layers")
    def layers(training):
        return len(list(training.model.modules()))

    both = store.get(BASE, 0, measures=["layers", "mirrored"])
    assert taken == [0, 0] and measures.of(both, "layers") > 1
    assert measures.of(both, "mirrored") == measures.of(first, "mirrored")


def test_what_cannot_be_measured_is_said_in_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(measures, "MEASURES", {**measures.MEASURES})
    store = Store(tmp_path / "trainings")
    with pytest.raises(ParameterError, match="no measure called 'vews'; expected one of views"):
        store.get(BASE, 0, measures=["vews"])

    @measures.register("thrice")
    def thrice(training):
        return [OUTSIDE for _ in range(3)]

    with pytest.raises(ParameterError, match="thrice uses OUTSIDE.*inside of it, or import it"):
        store.get(BASE, 0, measures=["thrice"])
    assert not list(store.root.glob("*/record.json"))  # said before anything is trained
    with pytest.raises(
        ParameterError, match=r"no measure 'views'; ask for it: run.train\(arms, measures=\['views'\]\)"
    ):
        measures.of(store.get(BASE, 0), "views")


def test_a_measure_of_the_package_counts_its_file_and_what_that_imports_and_no_more():
    used = fingerprint.used_files(["from cifar_utils.train.test_time import by_views"], without=measures.AROUND)
    assert {path.name for path in used} == {"device.py", "test_time.py"}
    assert measures.code_of("views") != measures._code_of(mirrored)


def test_needs_of_two_chapters_are_joined():
    joined = Needs(True, measures=("a", "b")) | Needs(scores=True, measures=["b", "c"])  # a chapter writes a list
    assert joined == Needs(True, True, ("a", "b", "c"))


def test_the_queue_measures_what_a_chapter_asks_for_and_a_page_waits_no_longer(tmp_path, monkeypatch):
    jobs = [trainings.Job("some_chapter", "base", BASE, seed, Needs(measures=("views",))) for seed in (0, 1)]
    kept = Store(tmp_path / "trainings")
    monkeypatch.setattr(queue, "store", lambda device=None: kept)
    monkeypatch.setattr(queue, "plan", lambda name, profile: (jobs, False))
    queue.work_on("smoke", ["some_chapter"], jobs[0].key)
    found = kept.find(BASE, 0)
    assert len(measures.of(found, "views")) == 3
    assert waits._is_enough(jobs[0], found) and not waits._is_enough(jobs[1], None)
    found.record["measured"]["views"]["code"] = "that of another time"
    assert not waits._is_enough(jobs[0], found)


def test_one_two_and_six_views_are_those_of_airbench(tmp_path):
    class FirstPixels(torch.nn.Module):
        """Scores are four pixels, so that a mean of views can be told from their own."""

        def forward(self, x):
            return x[:, 0, :2, :2].flatten(1)

    x = torch.rand(5, 3, 32, 32)
    one, two, six = test_time.scores_of_views(pixels := FirstPixels(), x)
    mirrored = pixels(x.flip(-1))
    assert torch.equal(one, pixels(x)) and torch.allclose(two, (pixels(x) + mirrored) / 2)
    padded = torch.nn.functional.pad(x, [1] * 4, mode="reflect")
    up, down = padded[..., :32, :32], padded[..., 2:, 2:]
    moved = sum(pixels(each) + pixels(each.flip(-1)) for each in (up, down)) / 4
    assert torch.allclose(six, (two + moved) / 2)


def test_views_are_shares_of_the_test_set_and_the_first_is_the_networks_own(tmp_path):
    found = Store(tmp_path / "trainings").get(BASE.but(prepare="channels", epochs=8), 0, measures=["views"])
    values = measures.of(found, "views")
    assert values[0] == pytest.approx(found.accuracy("test")) and all(0 <= value <= 100 for value in values)

"""Trainings are made once, found again, never half there, never counted twice, and never shown when stale."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from cifar_utils.errors import ParameterError, RunError
from cifar_utils.train import Adam, Part, Recipe, parts
from cifar_utils.train import training as one
from cifar_utils.train.recipe import SGD, differences, from_canonical
from cifar_utils.train.records import is_current, read_record, write_record
from cifar_utils.train.store import Needs, Store

HERE = Path(__file__).parent.parent

BASE = Recipe(
    "cifar10", Part("tanh", hidden=8), SGD(0.05), batch=64, epochs=3, prepare="channels", sample=True,
    evaluate=("train", "val", "test"),
)  # fmt: skip


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "trainings", tmp_path / "published")


def copy_of(store: Store, tmp_path: Path, name: str = "other") -> Store:
    return Store(tmp_path / name, store.published)


def test_a_recipe_comes_back_from_its_canonical_form():
    start = BASE.but(epochs=None, iterations=7, augment=(Part("crop", pixels=4), "flip"))
    recipe = BASE.but(start=start, optimizer=Adam(1e-3, betas=(0.9, 0.99)), model=Part("tanh", hidden=8, std=0.1))
    assert from_canonical(json.loads(json.dumps(recipe.canonical()))) == recipe
    assert from_canonical(recipe.canonical()).key(3) == recipe.key(3)


def test_keys_differ_where_recipes_or_seeds_do_and_nowhere_else():
    others = [BASE.but(batch=32), BASE.but(optimizer=SGD(0.1)), BASE.but(epochs=4), BASE.but(prepare="scale")]
    assert len({BASE.key(0), BASE.key(1), *(r.key(0) for r in others)}) == 6
    assert BASE.but(optimizer=SGD(1)).key(0) == BASE.but(optimizer=SGD(1.0)).key(0)
    assert BASE.but(draw="passes", schedule=None).key(0) == BASE.key(0)
    assert Recipe("cifar10", "rdfia", epochs=1).key(0) == "f6baac834c7ceff5"  # what is stored stays found


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"epochs": None}, "either epochs or iterations"),
        ({"epochs": 0}, "epochs of a recipe is 0"),
        ({"batch": 2.5}, "batch of a recipe is 2.5"),
        ({"evaluate": ("dev",)}, "names 'dev'"),
        ({"final": ("val:x",)}, "names 'val:x'"),
        ({"learning_rate": 1}, "no 'learning_rate'"),
    ],
)
def test_an_impossible_recipe_is_refused_in_a_sentence(changes, sentence):
    with pytest.raises(ParameterError, match=sentence):
        BASE.but(**changes)


def test_unknown_parts_are_named_with_a_suggestion(store):
    with pytest.raises(ParameterError, match="no model called 'tanhh'.*Did you mean 'tanh'"):
        store.get(BASE.but(model="tanhh"), 0)
    with pytest.raises(ParameterError, match="cannot be made.*hiden"):
        store.get(BASE.but(model=Part("tanh", hiden=8)), 0)


def test_an_arm_says_how_it_differs_from_its_base():
    assert differences(BASE.but(optimizer=SGD(0.1), epochs=5), BASE) == {"optimizer": "SGD (lr 0.1)", "epochs": "5"}


def test_a_training_is_made_once_and_gives_what_fit_gives(store, monkeypatch):
    first = store.get(BASE, 1)
    assert first.record["final"]["val"]["accuracy"] == pytest.approx(first.history.last("val"))
    alone = one.train(BASE, 1, torch.device("cpu"))
    assert first.history.train_loss == pytest.approx(alone.history.train_loss, rel=1e-6)
    monkeypatch.setattr(Store, "_train", lambda *_, **__: pytest.fail("trained a second time"))
    again = store.get(BASE, 1, weights=True)
    assert again.record == first.record
    assert again.measure(again.data.val) == pytest.approx(again.accuracy("val"))
    hits = again.scores("val").argmax(1) == again.data.val.y
    assert 100 * hits.double().mean().item() == pytest.approx(again.accuracy("val"))


def test_a_longer_training_contains_the_shorter_one(store, monkeypatch, tmp_path):
    long = store.get(BASE.but(epochs=5), 0)
    short = copy_of(store, tmp_path).get(BASE, 0)
    found = store.find(BASE, 0)
    assert found.history.train_loss == short.history.train_loss == long.history.train_loss[:3]
    assert found.record["final"] == {n: pytest.approx(v) for n, v in short.record["final"].items()}
    assert found.history.iterations == short.history.iterations
    assert store.find(BASE, 0, weights=True) is None  # its weights went on
    assert store.find(BASE, 1) is None
    cycle = Part("one cycle")
    store.get(BASE.but(schedule=cycle, epochs=4), 0)
    assert store.find(BASE.but(schedule=cycle), 0) is None  # its rate went another way


def test_a_store_is_read_once_for_many_trainings_and_again_for_what_another_process_wrote(store, monkeypatch):
    longer = store.get(BASE.but(epochs=4), 0)
    read, reads = Store.heads, []
    monkeypatch.setattr(Store, "heads", lambda self: reads.append(self) or read(self))
    found = store.find_many((BASE, seed, Needs()) for seed in range(50))
    assert found[0].history.train_loss == longer.history.train_loss[:3] and found[1:] == [None] * 49
    assert reads == [store]
    Store(store.root).get(BASE.but(epochs=4), 1)
    assert store.find(BASE, 1).record["seed"] == 1 and store.find(BASE, 2) is None


def test_a_longer_training_goes_on_from_the_shorter_one(store, tmp_path, monkeypatch):
    whole = copy_of(store, tmp_path).get(BASE.but(epochs=6), 0)
    store.get(BASE.but(epochs=1), 0)
    store.get(BASE, 0)
    assert [head.epochs for head in store.shorter(BASE.but(epochs=6), 0)] == [1, 3]
    assert store.shorter(BASE.but(epochs=1), 0) == store.shorter(BASE.but(epochs=6), 1) == []
    seen, fit = [], one.fit
    monkeypatch.setattr(one, "fit", lambda *a, **k: seen.append(k["checkpoint"].exists()) or fit(*a, **k))
    longer = store.get(BASE.but(epochs=6), 0)
    assert seen == [True]
    assert longer.history.train_loss == whole.history.train_loss and longer.record["final"] == whole.record["final"]


CHILD = """
import sys
sys.path.insert(0, {here!r})
from pathlib import Path
from tests.test_store import BASE, Store
store = Store(Path({folder!r}))
print("up", flush=True)
done = store.get(BASE.but(epochs={epochs}), 0)
print("trained", done.record["started"], flush=True)
"""


def child(folder: Path, epochs: int) -> subprocess.Popen:
    code = CHILD.format(here=str(HERE), folder=str(folder), epochs=epochs)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def test_a_killed_training_goes_on_to_the_same_numbers(tmp_path):
    process = child(tmp_path / "killed", 400)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "killed").glob("*/state-*.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    recipe = BASE.but(epochs=400)
    killed = Store(tmp_path / "killed")
    assert killed.find(recipe, 0) is None  # half a training is none
    resumed, whole = killed.get(recipe, 0), Store(tmp_path / "whole").get(recipe, 0)
    assert resumed.history.train_loss == whole.history.train_loss
    assert resumed.record["final"] == whole.record["final"]


def test_two_processes_train_it_once(tmp_path):
    both = [child(tmp_path / "shared", 60) for _ in range(2)]
    told = [p.communicate(timeout=120)[0].splitlines() for p in both]
    assert [lines[0] for lines in told] == ["up", "up"]
    assert told[0][1] == told[1][1]  # one record, of one training
    assert len(list((tmp_path / "shared").glob("*/record.json"))) == 1


def test_a_training_that_another_process_makes_is_left_to_it(store):
    with store.alone(BASE.key(0)):
        taken = subprocess.run(
            [sys.executable, "-c", CHILD.format(here=str(HERE), folder=str(store.root), epochs=3)
             .replace("store.get(BASE.but(epochs=3), 0)", "store.get(BASE, 0, wait=False)")
             .replace('"trained", done.record["started"]', "done")],
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
    assert taken.stdout.splitlines() == ["up", "None"]


def test_a_full_disk_loses_nothing(store, monkeypatch, tmp_path):
    full = OSError(errno.ENOSPC, "No space left on device")

    def refuse(*_, **__):
        raise full

    with monkeypatch.context() as m:
        m.setattr(Path, "write_text", refuse)
        with pytest.raises(RunError, match="No space left.*make room"):
            store.get(BASE, 0)
    assert store.find(BASE, 0) is None and not list(store.root.glob("*/*.part"))
    assert store.get(BASE, 0).history.train_loss == copy_of(store, tmp_path).get(BASE, 0).history.train_loss


@pytest.mark.parametrize("lost", ["record.json", "half a record", "weights", "half the weights"])
def test_a_store_copied_half_counts_only_what_is_whole(store, lost):
    before = store.get(BASE, 0)
    folder = store.folder(BASE.key(0))
    state = before.state
    if lost == "record.json":
        (folder / lost).unlink()
    elif lost == "half a record":
        text = (folder / "record.json").read_text()
        (folder / "record.json").write_text(text[: len(text) // 2])
    elif lost == "weights":
        state.unlink()
    else:
        state.write_bytes(state.read_bytes()[:100])
    if "record" in lost:
        assert store.find(BASE, 0) is None
    elif lost == "weights":
        assert store.find(BASE, 0) and store.find(BASE, 0, weights=True) is None
    again = store.get(BASE, 0, weights=lost == "weights")
    assert again.record["final"] == before.record["final"]


def test_a_tampered_record_does_not_count(store, capsys):
    store.get(BASE, 0)
    path = store.folder(BASE.key(0)) / "record.json"
    record = json.loads(path.read_text())
    record["final"]["test"]["accuracy"] = 0.99
    path.write_text(json.dumps(record))
    assert store.find(BASE, 0) is None and "changed after it was written" in capsys.readouterr().err
    assert store.get(BASE, 0).accuracy("test") < 90


def test_a_committed_record_serves_without_weights(store, tmp_path):
    done = store.get(BASE, 0)
    write_record(store.published / f"{done.record['key']}.json", done.record)
    clone = copy_of(store, tmp_path)
    assert clone.get(BASE, 0).record == done.record
    with pytest.raises(RunError, match="weights=True"):
        clone.get(BASE, 0).model  # noqa: B018
    assert clone.get(BASE, 0, weights=True).measure(done.data.val) == done.accuracy("val")


def test_harmless_changes_of_code_are_noted_and_others_make_a_training_stale(store, monkeypatch, capsys):
    register = parts.register("model", "wobbly")
    build = parts.PARTS["model"]["tanh"]
    register(lambda data: build(data, hidden=8))
    recipe = BASE.but(model="wobbly")
    first = store.get(recipe, 0)
    register(lambda data, spare=0: build(data, hidden=8))  # other code, the same network
    assert not is_current(first.record)
    again = store.get(recipe, 0)
    assert again.record["started"] == first.record["started"]
    kept = read_record(store.folder(recipe.key(0)) / "record.json")
    assert is_current(kept) and len(kept["verified"]) == 1
    register(lambda data, spare=0: build(data, hidden=9))  # another network
    assert not is_current(kept)
    changed = store.get(recipe, 0)
    assert "stale" in capsys.readouterr().err and is_current(changed.record)
    assert changed.history.train_loss != first.history.train_loss
    del parts.PARTS["model"]["wobbly"]


def test_a_network_can_start_from_another_training(store):
    encoder = Recipe("cifar10", Part("encoder", width=2, dim=4, dropout=0.0), Adam(1e-3), 32, iterations=1,
                     loss="batch-hard", sample=True, evaluate=(), final=())  # fmt: skip
    recipe = encoder.but(model=Part("network b", width=2, dim=4, dropout=0.0), loss="cross-entropy", start=encoder,
                         final=("val",))  # fmt: skip
    begun, _, _ = one.begin(
        recipe, 0, one.dataset(recipe, torch.device("cpu")), torch.device("cpu"), store._with_weights
    )
    theirs = store.get(encoder, 0, weights=True).model.state_dict()
    assert all(torch.equal(begun.encoder.state_dict()[k], v) for k, v in theirs.items())
    assert store.get(recipe, 0).record["final"]["val"]["accuracy"] >= 0


def test_a_file_written_while_a_process_runs_does_not_change_what_it_says_it_ran():
    code = (
        "import sys; from pathlib import Path\n"
        f"sys.path.insert(0, {str(HERE)!r})\n"
        "from cifar_utils import fingerprint\n"
        "from cifar_utils.train import training as one\n"
        "from tests.test_store import BASE\n"
        "path = Path(one.__file__)\n"
        "read = Path.read_text\n"
        "Path.read_text = lambda self, *a, **k: 'x = (' if self.suffix == '.py' else read(self, *a, **k)\n"
        "print(one.code_of(BASE))\n"
    )
    edited = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert edited.stdout.split() == [one.code_of(BASE)], edited.stderr

"""What is saved while training: killed runs continue to the same bits, and no damage is silent or in the way."""

from __future__ import annotations

import errno
import functools
import json
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from small_training import Net, run, same, weights
from torch import nn

from cifar_utils.data.batches import training_batches
from cifar_utils.data.sets import Split
from cifar_utils.errors import RunError
from cifar_utils.files import tensor_files
from cifar_utils.train import checkpoint as ckpt
from cifar_utils.train import loop as train


class Killed(BaseException):
    """Stands for a kernel that is killed: nothing but a finally clause runs."""


def run_killed_after(monkeypatch, epoch, *args, **options):
    """Run until the checkpoint of `epoch` epochs is written and another epoch is under way."""
    original, calls = train.ckpt.save, []

    def save(*a):
        original(*a)
        calls.append(a)

    monkeypatch.setattr(train.ckpt, "save", save)
    step = torch.optim.Optimizer.zero_grad

    def zero_grad(self, *a, **k):
        if len(calls) == epoch and torch.rand(()) < 0.5:  # somewhere in the next epoch
            raise Killed
        return step(self, *a, **k)

    monkeypatch.setattr(torch.optim.Optimizer, "zero_grad", zero_grad)
    try:
        with pytest.raises(Killed):
            run(*args, **options)
    finally:
        monkeypatch.undo()
    assert len(calls) == epoch


@pytest.mark.parametrize(
    ("optimizer", "schedule", "killed", "options"),
    [
        ("sgd", "none", 1, {}),
        ("momentum", "milestones", 1, {}),
        ("momentum", "milestones", 3, {"clip_norm": 0.5}),
        ("adam", "cosine", 2, {"every_step": True}),
        ("adam", "step", 4, {"schedule_every": "step"}),
        ("rmsprop", "lambda", 2, {"patience": 4}),
        ("momentum", "sequence", 3, {}),
        ("momentum", "none", 3, {"iterations": 22}),
        ("momentum", "none", 2, {"autocast": torch.bfloat16}),
    ],
)
def test_a_killed_run_continues_to_the_same_bits(
    images, tmp_path, monkeypatch, optimizer, schedule, killed, options
):  # fmt: skip
    options = {"optimizer": optimizer, "schedule": schedule, **options}
    expected, history = run(images, **options)
    path = tmp_path / "deep" / "run.safetensors"
    run_killed_after(monkeypatch, killed, images, checkpoint=path, **options)
    torch.manual_seed(12345)  # whatever the new process did before
    model, continued = run(images, checkpoint=path, **options)
    assert torch.equal(weights(model), weights(expected))
    assert same(continued, history)
    assert sorted(p.name for p in path.parent.iterdir()) == ["run.safetensors"]
    # and once more: a finished run is read, not repeated
    model, third = run(images, checkpoint=path, **options)
    assert torch.equal(weights(model), weights(expected)) and third == continued


def test_early_stopping_counts_over_a_kill(images, tmp_path, monkeypatch):
    losses = [3.0, 2.0, 2.5, 2.2, 2.1, 2.0, 1.0]
    path = tmp_path / "run.safetensors"

    def scripted(after):
        values = iter(losses[after:])
        monkeypatch.setattr(train, "evaluate", lambda *a: (next(values), 0.5))

    scripted(0)
    run(images, epochs=3, patience=4, checkpoint=path)
    scripted(3)
    _, history = run(images, epochs=7, patience=4, checkpoint=path)
    assert history.outcome == "stopped early" and history.evaluations["val"]["loss"] == losses[:6]
    _, history = run(images, epochs=7, patience=4, checkpoint=path)
    assert history.outcome == "stopped early" and history.epochs == 6


def test_a_longer_run_continues_a_finished_one_and_a_shorter_one_reads_it(images, tmp_path):
    path = tmp_path / "run.safetensors"
    expected, history = run(images, epochs=5)
    run(images, epochs=3, checkpoint=path)
    model, longer = run(images, epochs=5, checkpoint=path)
    assert torch.equal(weights(model), weights(expected)) and same(longer, history)
    _, shorter = run(images, epochs=2, checkpoint=path)
    assert shorter.outcome == "finished" and shorter.epochs == 5
    _, odd = run(images, iterations=25, checkpoint=path)
    assert odd.iterations == 25
    _, odd = run(images, iterations=27, checkpoint=path)
    assert odd.iterations == 27 and odd.outcome == "finished"


def test_a_checkpoint_of_a_longer_killed_run(images, tmp_path, monkeypatch):
    path = tmp_path / "run.safetensors"
    run_killed_after(monkeypatch, 4, images, epochs=6, checkpoint=path)
    _, history = run(images, epochs=2, checkpoint=path)
    assert history.outcome == "finished" and history.epochs == 4


def test_a_checkpoint_is_plain_safetensors(images, tmp_path):
    path = tmp_path / "run.safetensors"
    model, history = run(images, epochs=2, optimizer="adam", schedule="step", checkpoint=path)
    assert [p.name for p in tmp_path.iterdir()] == ["run.safetensors"]
    with safe_open(path, framework="pt") as f:
        keys = set(f.keys())
        assert torch.equal(f.get_tensor("model.layers.1.weight"), model.layers[1].weight)
        assert set(f.metadata()) == {"meta", "sum"}
    assert {"generator.batches", "generator.cpu", "optimizer.0.exp_avg", "optimizer.0.step"} <= keys
    assert {k.split(".")[0] for k in keys} == {"model", "optimizer", "generator"}


def test_a_run_killed_while_writing_leaves_the_last_whole_file(images, tmp_path, monkeypatch):
    path = tmp_path / "run.safetensors"
    run(images, epochs=2, checkpoint=path)
    before = path.read_bytes()

    def half(draft, _content):
        with open(draft, "wb") as f:
            f.write(before[:100])
        raise Killed

    monkeypatch.setattr(tensor_files.Path, "write_bytes", half)
    with pytest.raises(Killed):
        run(images, epochs=3, checkpoint=path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    model, _ = run(images, epochs=3, checkpoint=path)
    assert torch.equal(weights(model), weights(run(images, epochs=3)[0]))
    assert [p.name for p in tmp_path.iterdir()] == ["run.safetensors"]


def test_a_full_or_read_only_disk_is_one_sentence_and_keeps_the_last_whole_checkpoint(images, tmp_path, monkeypatch):
    path = tmp_path / "run.safetensors"
    run(images, epochs=2, checkpoint=path)
    before = path.read_bytes()

    def refuse(draft, content):
        with open(draft, "wb") as f:
            f.write(content[:100])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tensor_files.Path, "write_bytes", refuse)
    with pytest.raises(RunError, match="run.safetensors could not be written into .*No space left.*run again"):
        run(images, epochs=3, checkpoint=path)
    monkeypatch.undo()
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
    model, _ = run(images, epochs=3, checkpoint=path)
    assert torch.equal(weights(model), weights(run(images, epochs=3)[0]))
    file = tmp_path / "file"
    file.write_text("")  # no folder can be made in it, not even by root
    with pytest.raises(RunError, match="could not be written into"):
        run(images, epochs=1, checkpoint=file / "run.safetensors")


def other_content(change, path):
    """Write a whole checkpoint anew, with `change` made to its arrays and its text."""
    arrays, texts = tensor_files.read(path)
    meta = json.loads(texts["meta"])
    change(arrays, meta)
    tensor_files.write(path, arrays, {"meta": json.dumps(meta)})


def flipped(path):
    content = bytearray(path.read_bytes())
    content[-5] ^= 4
    path.write_bytes(content)


def shortened(arrays, _):
    arrays["generator.cpu"] = arrays["generator.cpu"][:9]


DAMAGE = {
    "empty": lambda path: path.write_bytes(b""),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "random": lambda path: path.write_bytes(np.random.default_rng(0).bytes(5000)),
    "one bit": flipped,
    "no sum": lambda path: save_file({"x": torch.zeros(2)}, path),
    "no text": lambda path: tensor_files.write(path, tensor_files.read(path)[0], {}),
    "no JSON": lambda path: tensor_files.write(path, tensor_files.read(path)[0], {"meta": "{"}),
    "no history": lambda path: other_content(lambda _, meta: meta.pop("history"), path),
    "no generator": lambda path: other_content(lambda arrays, _: arrays.pop("generator.batches"), path),
    "short generator": lambda path: other_content(shortened, path),
    "no optimizer": lambda path: other_content(lambda _, meta: meta.update(groups=[]), path),
    "architecture": lambda path: other_content(lambda arrays, _: arrays.pop("model.layers.1.weight"), path),
}  # fmt: skip


@pytest.fixture
def two_epochs():
    return made_once()


@functools.cache  # and not a fixture of the module, which would be made with another number of threads
def made_once():
    """Return a whole checkpoint, to damage copies of, the images of its training, and weights an epoch later."""
    g = torch.Generator().manual_seed(3)
    images = Split(torch.randint(256, (60, 3, 12, 10), dtype=torch.uint8, generator=g), torch.arange(60) % 10)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.safetensors"
        run(images, epochs=2, checkpoint=path)
        return path.read_bytes(), images, weights(run(images, epochs=3)[0])


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_named_and_put_aside_and_the_run_starts_anew(two_epochs, damage, tmp_path, capsys):
    whole, images, expected = two_epochs
    path = tmp_path / "run.safetensors"
    path.write_bytes(whole)
    DAMAGE[damage](path)
    content = path.read_bytes()
    model, history = run(images, epochs=3, checkpoint=path)
    assert torch.equal(weights(model), expected) and history.epochs == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("run.safetensors ") and "run.safetensors.damaged, and its training starts anew" in line
    assert (tmp_path / "run.safetensors.damaged").read_bytes() == content
    assert run(images, epochs=3, checkpoint=path)[1] == history  # the new one is whole
    assert not capsys.readouterr().err


def test_a_checkpoint_of_another_architecture_is_put_aside(two_epochs, tmp_path, capsys):
    whole, images, _ = two_epochs
    for k, net in enumerate((lambda: Net(hidden=17), lambda: nn.Sequential(nn.Flatten(), nn.Linear(360, 10)))):
        path = tmp_path / f"{k}.safetensors"
        path.write_bytes(whole)
        model, _ = run(images, net=net, epochs=1, checkpoint=path)
        assert torch.equal(weights(model), weights(run(images, net=net, epochs=1)[0]))
        assert f"{k}.safetensors holds weights of another architecture" in capsys.readouterr().err


def test_arrays_come_back_as_they_were_however_they_lie_in_memory(tmp_path):
    grid = np.arange(24.0).reshape(2, 3, 4)
    arrays = {"c": grid, "columns first": np.asfortranarray(grid), "turned": grid.transpose(2, 0, 1),
              "every second": grid[:, ::2], "one": np.array(3, np.int64), "none": np.zeros((0, 3)),
              "bytes": np.arange(5, dtype=np.uint8), "yes": np.array([True, False])}  # fmt: skip
    tensor_files.write(tmp_path / "x.safetensors", arrays, {"a": "ä", "b": ""})
    found, texts = tensor_files.read(tmp_path / "x.safetensors")
    assert texts == {"a": "ä", "b": ""} and found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array, strict=True)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_killed_convolutional_network_continues_to_the_same_bits(images, tmp_path, layout, capsys):
    def trained(epochs, **options):
        train.seed_everything(0)
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(320, 10))
        net.to(memory_format=layout)
        batches = training_batches(images, 16, channels_last=layout is torch.channels_last)
        train.fit(net, batches, torch.optim.Adam(net.parameters()), epochs=epochs, **options)
        return weights(net)

    path = tmp_path / "run.safetensors"
    trained(1, checkpoint=path)
    assert torch.equal(trained(3, checkpoint=path), trained(3))
    assert not capsys.readouterr().err


def test_a_machine_out_of_memory_keeps_its_checkpoint(two_epochs, tmp_path, monkeypatch):
    whole, images, _ = two_epochs
    path = tmp_path / "run.safetensors"
    path.write_bytes(whole)

    def full(*_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(ckpt, "restore", full)
    with pytest.raises(torch.OutOfMemoryError):
        run(images, epochs=3, checkpoint=path)
    assert path.read_bytes() == whole


def test_weights_alone_are_read_from_a_whole_checkpoint_and_from_no_damaged_one(two_epochs, tmp_path):
    whole, images, _ = two_epochs
    path = tmp_path / "w.safetensors"
    path.write_bytes(whole)
    model = Net()
    ckpt.weights_of(path, model)
    assert torch.equal(weights(model), weights(run(images, epochs=2)[0]))
    flipped(path)
    with pytest.raises(RunError, match="w.safetensors is damaged .*run again what wrote it"):
        ckpt.weights_of(path, model)

"""The count of operations: right by hand, the same after a kill, and without effect on any number."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import nn

from cifar_utils import operations
from cifar_utils.data.batches import Batches
from cifar_utils.data.sets import Split
from cifar_utils.models.deep import Setting
from cifar_utils.models.rdfia import RdfiaNet
from cifar_utils.scratch import network as scratch
from cifar_utils.scratch import one_hidden as scratch_loop
from cifar_utils.train import deep_stack
from cifar_utils.train import stacked as sweep
from cifar_utils.train.loop import fit


def spent(run) -> int:
    before = operations.total()
    run()
    return operations.total() - before


def small(images, seed=0, **options):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(360, 7), nn.ReLU(), nn.Linear(7, 10))
    batches = Batches(images, 25, seed=seed)  # 60 images: steps of 25, 25 and 10
    return fit(model, batches, torch.optim.SGD(model.parameters(), 0.1, momentum=0.9), **options)


#: Forward and back to the weights through both layers, back to the inputs through the second alone.
BY_HAND = 2 * (2 * 360 * 7 + 3 * 7 * 10)


def test_a_dense_network_costs_what_its_products_do(images):
    histories = []
    assert spent(lambda: histories.append(small(images, epochs=3))) == histories[0].operations == 3 * 60 * BY_HAND
    assert operations.of_dense([360, 7, 10]) == BY_HAND


def test_a_convolution_costs_its_kernel_at_every_output_place(images):
    conv = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1, bias=False), nn.Flatten(), nn.Linear(5 * 12 * 10, 10))
    batches = Batches(images, 60)
    history = fit(conv, batches, torch.optim.SGD(conv.parameters(), 0.1), epochs=1)
    by_hand = 60 * 2 * (2 * 5 * 120 * 27 + 3 * 600 * 10)  # convolution: forward and to its weights
    assert history.operations == by_hand


def test_a_run_that_was_cut_off_counts_as_one_that_was_not(images, tmp_path):
    file = tmp_path / "c.safetensors"
    small(images, epochs=1, checkpoint=file)
    assert spent(lambda: small(images, epochs=3, checkpoint=file)) == 3 * 60 * BY_HAND


def test_networks_trained_together_cost_as_much_as_one_by_one(images):
    build = lambda: nn.Sequential(nn.Linear(360, 7), nn.ReLU(), nn.Linear(7, 10))  # noqa: E731
    together = spent(lambda: sweep.fit(build, images, seeds=[0, 1], lr=0.1, batch_size=25, epochs=2))
    assert together == 2 * 2 * 60 * BY_HAND
    deep = lambda: deep_stack.fit(  # noqa: E731
        [Setting("relu", 0)], images, images, images, seeds=[0, 1], epochs=2, batch_size=20, widths=(7,)
    )
    assert spent(deep) == 2 * 2 * 60 * BY_HAND


def test_networks_in_numpy_count_themselves(images):
    x, y = images.x.flatten(1).numpy().astype(np.float32), images.y.numpy()
    assert spent(lambda: scratch.Network([360, 7, 10]).loss(x, y)) == 60 * BY_HAND
    assert spent(lambda: scratch.Network([360, 7, 10]).loss(x, y, training=False)) == 0
    ink = (x > 128).astype(float)
    settings = scratch_loop.Settings(hidden=7, lr=0.1, epochs=2)
    by_hand = 2 * 7 * (4 * int(ink.sum()) + 6 * 60 * 10)
    assert spent(lambda: scratch_loop.train(settings, ink, y, ink, y)) == by_hand


@pytest.mark.parametrize("autocast", [None, torch.bfloat16])
def test_counting_changes_no_number(images, monkeypatch, autocast):
    large = Split(torch.randint(256, (8, 3, 32, 32), dtype=torch.uint8), torch.arange(8))

    def weights():
        torch.manual_seed(0)
        model = RdfiaNet(10)
        fit(model, Batches(large, 4, seed=0), torch.optim.SGD(model.parameters(), 0.1), epochs=2, autocast=autocast)
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    counted = weights()

    @contextmanager
    def nothing(*_):
        yield

    monkeypatch.setattr(operations.StepCounter, "step", nothing)
    assert torch.equal(counted, weights())

"""Measure the package against what it replaces and write results/benchmarks.json.

Ours and the baseline are measured in turn, so that a slow minute of the machine hits both; each
number is the median of five rounds after a warm-up, or the lower quartile of many.
`python -m benchmarks.run` takes about ten minutes on two quiet cores; `--small` tries the script
out in a minute and writes nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch._inductor.config
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode
from torchvision import datasets, transforms

from benchmarks.airbench import fast_vs_airbench, fast_vs_airbench_muon
from benchmarks.pairs import in_turn, row
from cifar_utils import environment
from cifar_utils.data.batches import Batches, training_batches
from cifar_utils.data.sets import Split, load
from cifar_utils.device import autocast_dtype, pick_device
from cifar_utils.errors import DataError
from cifar_utils.files.sources import candidates
from cifar_utils.models.encoder import Encoder, NetworkB
from cifar_utils.models.fast import FastNet
from cifar_utils.models.rdfia import RdfiaNet
from cifar_utils.paths import root
from cifar_utils.train import SGD, Part, Recipe, Store, evaluate, fit, seed_everything
from cifar_utils.train import stacked as sweep
from cifar_utils.train.muon import Muon
from reproduce.kernels import KEEP_MEMORY

BATCH = 128
STATS = (torch.tensor([0.4914, 0.4822, 0.4465]), torch.tensor([0.2470, 0.2435, 0.2616]))


def synthetic(count: int, seed: int = 0) -> Split:
    """Return random images and labels of CIFAR-10's shape."""
    g = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (count, 3, 32, 32), dtype=torch.uint8, generator=g)
    return Split(images, torch.randint(10, (count,), generator=g))


class ArrayImages(torch.utils.data.Dataset):
    """torchvision's CIFAR10 over arrays: a PIL image and its transform for each item."""

    def __init__(self, images: np.ndarray, labels: list[int], transform):
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index):
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


def training_images(count: int, transform) -> tuple[Split, torch.utils.data.Dataset, str]:
    """Return the same `count` images for both loaders, and which they are."""
    try:
        train = load("cifar10", validation=0, download=False).train
    except DataError:
        split = synthetic(count)
        arrays = split.x.permute(0, 2, 3, 1).contiguous().numpy()
        return split, ArrayImages(arrays, split.y.tolist(), transform), f"{count:,} synthetic images"
    folder = next(f for f in candidates(None) if (f / "cifar-10-batches-py").exists())
    dataset = datasets.CIFAR10(folder, train=True, transform=transform)
    if count < len(train):
        return train[:count], torch.utils.data.Subset(dataset, range(count)), f"{count:,} images of CIFAR-10"
    return train, dataset, f"{len(train):,} images of CIFAR-10"


def loader_vs_dataloader(count: int = 50_000) -> dict:
    """Images a second of a pass over the training set: crop 4, flip, normalise, batches of 128."""
    transform = transforms.Compose([
        transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(), transforms.ToTensor(),
        transforms.Normalize(*(s.tolist() for s in STATS)),
    ])  # fmt: skip
    split, dataset, which = training_images(count, transform)
    batches = Batches(split, BATCH, crop=4, flip=True, stats=STATS)
    loaders = {
        workers: DataLoader(dataset, BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0)
        for workers in (0, 2)
    }

    def consume(source) -> Callable[[], None]:
        def work() -> None:
            seen = 0
            for x, y in source:
                assert x.dtype == torch.float32
                seen += len(y)
            assert seen == len(split)

        return work

    seconds = in_turn({"ours": consume(batches)} | {str(w): consume(loader) for w, loader in loaders.items()})
    rate = {name: len(split) / value for name, value in seconds.items()}
    best = max(("0", "2"), key=rate.get)
    note = (
        f"{which}; random crop with padding 4, flip, normalisation, float32 batches of {BATCH}; the DataLoader "
        f"reached {rate['0']:,.0f} img/s with no workers and {rate['2']:,.0f} with two. At least 25 was wanted."
    )
    return row("loader_vs_dataloader", rate["ours"], rate[best], "img/s", note)


def training_step(model: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor,
                  autocast: torch.dtype | None = None) -> None:  # fmt: skip
    """Make one bare step: forward, loss, backward, update."""
    with torch.autocast("cpu", autocast, enabled=autocast is not None):
        scores = model(x)
    loss = F.cross_entropy(scores.float(), y)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def overhead(network: Callable[[], tuple[nn.Module, torch.optim.Optimizer]], batches: Batches, count: int,
             autocast: torch.dtype | None = None) -> tuple[float, float]:  # fmt: skip
    """Return milliseconds a step of `train.fit` on `batches`, and of a bare step that repeats one of them.

    A few percent are to be seen, on machines where two equal models differ by more: so there are many short
    rounds, and what counts is their lower quartile, since others on the machine can only slow a round down.
    """
    x, y = next(iter(batches))
    looped, loop_optimizer = network()
    model, optimizer = network()

    def bare() -> None:
        model.train()
        for _ in range(batches.steps):
            training_step(model, optimizer, x, y, autocast)

    def loop() -> None:
        fit(looped, batches, loop_optimizer, epochs=1, autocast=autocast)

    def lower_quartile(values: list[float]) -> float:
        return statistics.quantiles(values, n=4)[0]

    seconds = in_turn({"loop": loop, "bare": bare}, count=count, typical=lower_quartile)
    return tuple(1000 * seconds[k] / batches.steps for k in ("loop", "bare"))


def step_overhead(count: int = 60, steps: int = 8) -> dict:
    """Milliseconds a step of `train.fit`, batches and bookkeeping included, over a bare step."""
    batches = Batches(synthetic(10_000), BATCH, crop=4, flip=True, stats=STATS, steps=steps)

    def network():
        seed_everything(0)
        model = RdfiaNet()
        return model, torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    note = (
        f"RdfiaNet, SGD with momentum, batches of {BATCH} random images, lower quartiles of {count} rounds of "
        f"{steps} steps in turn; the bare step (forward, loss, backward, update) repeats one batch, the loop makes a "
        "cropped and flipped batch each time and keeps its history. At most 1.05 was wanted."
    )
    return row("step_overhead", *overhead(network, batches, count), "ms/step", note)


def encoder(layout: torch.memory_format = torch.channels_last,
            width: int = 16) -> tuple[nn.Module, torch.optim.Optimizer]:  # fmt: skip
    """Return A1's Network B, with a quarter of its channels by default, and Adam."""
    seed_everything(0)
    model = NetworkB(Encoder(width=width)).to(memory_format=layout)
    return model, torch.optim.Adam(model.parameters(), lr=9e-4)


def encoder_overhead(count: int = 60, steps: int = 8) -> dict:
    """The same of A1's encoder, as its chapters train it."""
    batches = Batches(synthetic(10_000), BATCH, crop=4, flip=True, stats=STATS, channels_last=True, steps=steps)
    note = (
        f"A1's encoder with 16 channels and a linear layer, Adam, batches of {BATCH}, channels_last and bfloat16, "
        f"lower quartiles of {count} rounds of {steps} steps in turn. At most 1.03 was wanted."
    )
    return row("encoder_overhead", *overhead(encoder, batches, count, torch.bfloat16), "ms/step", note)


def over_peak(name: str, network: Callable[[], tuple[nn.Module, torch.optim.Optimizer]], slices: int, note: str,
              batch: int = BATCH, side: int = 2_048) -> dict:  # fmt: skip
    """Operations a second of a bare training step, over those of a matrix product of the same number format."""
    amp = autocast_dtype("auto", torch.device("cpu"))
    (model, optimizer), y = network(), synthetic(batch).y
    x = torch.randn(batch, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    step = partial(training_step, model, optimizer, x, y, amp)
    with FlopCounterMode(display=False) as counter:
        step()
    a, b = torch.randn(2, side, side, dtype=amp or torch.float32)
    seconds = in_turn({"step": step, "product": lambda: a @ b}, slices)
    done = {"step": counter.get_total_flops(), "product": 2 * side**3}
    rate = {name: count * slices / seconds[name] for name, count in done.items()}
    precision = str(amp or torch.float32).removeprefix("torch.")
    told = f"{note}, batches of {batch}, {precision}; the product is of {side:,} by {side:,} numbers."
    return row(name, rate["step"] / 1e9, rate["product"] / 1e9, "10⁹ operations/s", told)


def small_network_over_peak(slices: int = 8) -> dict:
    """How much of the processor's peak RDFIA's network reaches."""

    def network():
        seed_everything(0)
        model = RdfiaNet().to(memory_format=torch.channels_last)
        return model, torch.optim.SGD(model.parameters(), lr=0.1)

    return over_peak("small_network_over_peak", network, slices, "RDFIA's network; at least 0.8 was wanted")


def encoder_over_peak(batch: int = 512) -> dict:
    """How much of the processor's peak A1's encoder reaches, at the report's own width and batch."""
    note = "A1's encoder with the report's 64 channels; at least 0.75 was wanted"
    return over_peak("encoder_over_peak", partial(encoder, width=64), 1, note, batch)


def fast_network_over_peak(batch: int = 2_000) -> dict:
    """How much of the processor's peak the fast network reaches, at the published width and batch."""

    def network():
        seed_everything(0)
        model = FastNet().to(memory_format=torch.channels_last)
        return model, Muon(model.parameters(), lr=0.24)

    return over_peak("fast_network_over_peak", network, 1, "The fast network and Muon, as published", batch)


def encoder_formats(slices: int = 6) -> dict:
    """Images a second of the encoder's training step: channels_last and bfloat16 against neither."""
    y = synthetic(3 * BATCH).y
    work = {}
    for layout in (torch.contiguous_format, torch.channels_last):
        for autocast in (None, torch.bfloat16):
            model, optimizer = encoder(layout)
            x = torch.randn(3 * BATCH, 3, 32, 32).contiguous(memory_format=layout)
            work[layout, autocast] = partial(training_step, model, optimizer, x, y, autocast)
    rate = {k: slices * len(y) / v for k, v in in_turn(work, slices).items()}
    plain, both = rate[torch.contiguous_format, None], rate[torch.channels_last, torch.bfloat16]
    note = (
        f"A1's encoder with 16 channels, batches of {len(y)}; channels_last alone reached "
        f"{rate[torch.channels_last, None]:,.0f} img/s, bfloat16 alone "
        f"{rate[torch.contiguous_format, torch.bfloat16]:,.0f}. The chapters use both where the device computes "
        "bfloat16 natively."
    )
    return row("encoder_formats", both, plain, "img/s", note)


def encoder_compile(slices: int = 4, steps: int = 5) -> dict | None:
    """Images a second of the same step through `torch.compile`, against without; None where no C++ compiler is."""
    if shutil.which(os.environ.get("CXX", "g++")) is None:
        return None
    torch._inductor.config.force_disable_caches = True  # what an earlier run has compiled would hide the price
    y, work, first = synthetic(BATCH).y, {}, {}
    x = torch.randn(BATCH, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    for name in ("compiled", "as it is"):
        model, optimizer = encoder()
        model = torch.compile(model) if name == "compiled" else model
        step = partial(training_step, model, optimizer, x, y, torch.bfloat16)
        started = time.perf_counter()
        step()
        first[name] = time.perf_counter() - started
        work[name] = lambda step=step: [step() for _ in range(steps)]
    seconds = {k: v / (slices * steps) for k, v in in_turn(work, slices).items()}
    saved, compiling = seconds["as it is"] - seconds["compiled"], first["compiled"]
    pays = f"it pays after {compiling / saved:,.0f} steps" if saved > 0 else "its step is slower, too"
    note = (
        f"A1's encoder with 16 channels, batches of {BATCH}, channels_last and bfloat16; ours is the compiled one. "
        f"Compiling takes {compiling:.0f} s, once for each shape of batch, and {pays}; a training of the quick "
        "profile has about 400. The chapters do not compile."
    )
    return row("encoder_compile", BATCH / seconds["compiled"], BATCH / seconds["as it is"], "img/s", note)


def sweep_vs_loop(count: int = 20, epochs: int = 10) -> dict:
    """Networks trained a second: small MLPs trained together by `sweep.fit`, and one by one by `train.fit`."""
    seeds, rates = list(range(count)), [0.01 * (i + 1) for i in range(count)]
    g = torch.Generator().manual_seed(0)
    points = Split(torch.randn(200, 2, generator=g), torch.randint(2, (200,), generator=g))

    def network() -> nn.Sequential:
        return nn.Sequential(nn.Linear(2, 10), nn.Tanh(), nn.Linear(10, 2))

    def together() -> None:
        sweep.fit(network, points, seeds=seeds, lr=rates, batch_size=10, epochs=epochs)

    def one_by_one() -> None:
        for seed, rate in zip(seeds, rates, strict=True):
            seed_everything(seed)
            model = network()
            fit(model, Batches(points, 10, seed=seed), torch.optim.SGD(model.parameters(), lr=rate), epochs=epochs)

    seconds = in_turn({"together": together, "one by one": one_by_one})
    note = (
        f"{count} tanh networks of 2-10-2 units on 200 points, batches of 10, {epochs} epochs, each with its own "
        "seed, learning rate and order, as in the Circles chapter. At least 3 was wanted."
    )
    return row("sweep_vs_loop", count / seconds["together"], count / seconds["one by one"], "networks/s", note)


def sweep_vs_loop_digits(count: int = 20, images: int = 5_000) -> dict:
    """The same on digits, where arithmetic weighs more and the saving is in the shared first layer."""
    g = torch.Generator().manual_seed(0)
    digits = Split(torch.randn(images, 784, generator=g), torch.randint(10, (images,), generator=g))

    def network() -> nn.Sequential:
        return nn.Sequential(nn.Linear(784, 32), nn.Tanh(), nn.Linear(32, 10))

    def together() -> None:
        sweep.fit(network, digits, seeds=list(range(count)), lr=0.03, batch_size=32, epochs=1, order="shared")

    def one_by_one() -> None:
        for seed in range(count):
            seed_everything(seed)
            model = network()
            fit(model, Batches(digits, 32, seed=0), torch.optim.SGD(model.parameters(), lr=0.03), epochs=1)

    seconds = in_turn({"together": together, "one by one": one_by_one})
    note = (
        f"{count} tanh networks of 784-32-10 units on {images:,} random digits, batches of 32 that all share, "
        "one epoch. At least 3 was wanted."
    )
    return row("sweep_vs_loop_digits", count / seconds["together"], count / seconds["one by one"], "networks/s", note)


def import_time() -> dict:
    """Seconds of a fresh interpreter that imports the package, over one that imports torch."""

    def importing(code: str) -> Callable[[], object]:
        return lambda: subprocess.run([sys.executable, "-c", code], check=True, cwd=root())

    seconds = in_turn({
        "ours": importing("import cifar_utils.data, cifar_utils.train, cifar_utils.models"),
        "torch": importing("import torch"),
    })  # fmt: skip
    note = "cifar_utils.data, .train and .models against torch alone, fresh interpreters. At most 1.2 was wanted."
    return row("import_time", seconds["ours"], seconds["torch"], "s", note)


def store_overhead(steps: int = 120, epochs: int = 2) -> dict:
    """Seconds of a training through the store, over those of the same training by `fit` and nothing else."""
    recipe = Recipe("cifar10", "rdfia", SGD(0.1), batch=64, epochs=epochs, prepare="channels", sample=True,
                    draw=Part("passes", steps=steps), evaluate=("val",), final=("val",))  # fmt: skip
    data = load("cifar10", data="sample")

    def through_the_store() -> None:
        with tempfile.TemporaryDirectory() as folder:
            Store(Path(folder)).get(recipe, 0)

    def by_fit() -> None:
        seed_everything(0)
        model = RdfiaNet(len(data.classes)).to(memory_format=torch.channels_last)
        batches = training_batches(data.train, 64, steps=steps, channels_last=True, seed=0)
        held = Batches.for_evaluation(data.val, batches)
        descent = torch.optim.SGD(model.parameters(), lr=0.1)
        fit(model, batches, descent, epochs=epochs, evaluate_on={"val": held})
        evaluate(model, held)

    seconds = in_turn({"store": through_the_store, "fit": by_fit})
    note = (
        f"RDFIA's network, batches of 64, {epochs} epochs of {steps} steps, measured on held-out images; with the "
        "checkpoint after each epoch, the scores and the record. At most 1.02 was wanted."
    )
    return row("store_overhead", seconds["store"], seconds["fit"], "s", note)


def table(rows: list[dict]) -> str:
    """Return the results as text."""
    lines = [f"{'':<22}{'ours':>12}{'baseline':>12}{'ratio':>9}  unit"]
    for r in rows:
        digits = 0 if r["ours"] >= 1000 else 2
        lines.append(
            f"{r['name']:<22}{r['ours']:>12,.{digits}f}{r['baseline']:>12,.{digits}f}{r['ratio']:>9.3f}  {r['unit']}"
        )
    return "\n".join(lines)


MEASURES = (
    import_time, store_overhead, step_overhead, encoder_overhead, small_network_over_peak, encoder_over_peak,
    fast_network_over_peak, encoder_formats, encoder_compile, sweep_vs_loop,
    sweep_vs_loop_digits, loader_vs_dataloader, fast_vs_airbench,
    fast_vs_airbench_muon,
)  # fmt: skip


def main() -> None:
    """Run what is asked for, print it and write the file."""
    parser = argparse.ArgumentParser(description="Measure cifar_utils against what it replaces.")
    parser.add_argument("--small", action="store_true", help="try the script out with small sizes; write nothing")
    parser.add_argument("--only", choices=[m.__name__ for m in MEASURES],
                        help="measure one, and write it beside the others")  # fmt: skip
    parser.add_argument("--out", type=Path, default=root() / "results" / "benchmarks.json")
    options = parser.parse_args()
    if missing := {k: v for k, v in KEEP_MEMORY.items() if k not in os.environ}:
        # glibc reads these at the start of a process; both sides of every pair run as the runner's kernels do
        os.execve(sys.executable, [sys.executable, "-m", "benchmarks.run", *sys.argv[1:]], {**os.environ, **missing})
    sizes = {"loader_vs_dataloader": 5_000, "store_overhead": 3, "step_overhead": 2, "encoder_overhead": 2,
             "small_network_over_peak": 1, "encoder_over_peak": 8, "fast_network_over_peak": 8, "encoder_formats": 1,
             "encoder_compile": 1, "sweep_vs_loop": 4, "sweep_vs_loop_digits": 4,
             "fast_vs_airbench": 1, "fast_vs_airbench_muon": 1}  # fmt: skip
    sizes = sizes if options.small else {}
    rows = []
    for measure in MEASURES:
        if options.only in (None, measure.__name__):
            found = measure(*([sizes[measure.__name__]] if measure.__name__ in sizes else []))
            if found is None:
                print(f"{measure.__name__}: left out, what it needs is not here", flush=True)
                continue
            rows.append(found)
            print(table(rows[-1:]), flush=True)
            if not options.small:
                keep(options.out, found)
    print("\n" + table(rows))
    if not options.small:
        print(f"wrote {options.out}")


def keep(path: Path, found: dict) -> None:
    """Put one result into the file, beside those of the other benchmarks: a run that is cut short loses nothing.

    Each says where and when it was measured; those that are no benchmark any more go.
    """
    kept = json.loads(path.read_text(encoding="utf-8"))["benchmarks"] if path.exists() else []
    when = datetime.now(UTC).strftime("%Y-%m-%d")
    found = found | {"date": when, "environment": environment.describe(pick_device("cpu"))}
    by_name = {pair["name"]: pair for pair in [*kept, found]}
    order = [name for measure in MEASURES if (name := measure.__name__) in by_name]
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps({"benchmarks": [by_name[n] for n in order]}, indent=2) + "\n", encoding="utf-8")
    draft.replace(path)


if __name__ == "__main__":
    main()

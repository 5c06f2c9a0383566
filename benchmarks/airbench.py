"""The fast network beside the code that it comes from, Jordan's airbench, on one processor.

Its scripts are fetched while measuring, checked by their sums, and adapted to a processor in memory; none is kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import torch

from benchmarks.pairs import in_turn, row
from cifar_utils.data.sets import load
from cifar_utils.device import autocast_dtype
from cifar_utils.errors import DataError
from cifar_utils.train import rungs
from cifar_utils.train.training import train

COMMIT = "f1c599c4af24aca803e3e65a6a7e52a502e09d0e"
PLACE = f"https://raw.githubusercontent.com/KellerJordan/cifar10-airbench/{COMMIT}/"
BATCH, EPOCHS, SMALLER = 2_000, 8, 3  # of ours, and the epochs in which it shows smaller images


class Stopwatch:
    """Stands in for `torch.cuda.Event` on a processor, where nothing has to be waited for.

    Attributes:
        intervals: seconds of everything that was timed, in order.
    """

    intervals: ClassVar[list[float]] = []

    def __init__(self, enable_timing: bool = True):
        self.at = 0.0

    def record(self) -> None:
        """Take the time."""
        self.at = time.perf_counter()

    def elapsed_time(self, other: Stopwatch) -> float:
        """Return the milliseconds from here to another."""
        self.intervals.append(other.at - self.at)
        return 1e3 * self.intervals[-1]


@dataclass(frozen=True)
class Published:
    """A published script.

    Attributes:
        path: in its repository.
        sum: SHA-256 of its text.
        batch, steps: images a step, and steps of a whole training.
        changes: what is to be replaced so that it runs one epoch on a processor, besides what all scripts need.
        arguments: of its function `main`, made from the module.
    """

    path: str
    sum: str
    batch: int
    steps: int
    changes: Mapping[str, str]
    arguments: Callable[[ModuleType], tuple]


MUON = Published(
    "airbench94_muon.py", "704e29251a5207d8aed8a35adf13f772ff386b90a712aaddc2a28854385b536e", 2_000, 200,
    {"@torch.compile\n": "", "ceil(8 * len(train_loader))": "ceil(1 * len(train_loader))"},
    lambda module: (0, module.CifarNet().to(memory_format=torch.channels_last)),
)  # fmt: skip
DESCENT = Published(
    "legacy/airbench94.py", "0b155e0ff0e696bc01ae136654ddae88a24cd053cd2b4313d44548c29ed6c91d", 1_024, 476,
    {"'train_epochs': 9.9": "'train_epochs': 1", ".cuda()": "", "torch.device(gpu)": "torch.device('cpu')"},
    lambda module: (0,),
)  # fmt: skip


def script(published: Published) -> str | None:
    """Return a script from the folder $AIRBENCH, or else from the network; None where neither has it."""
    folder = os.environ.get("AIRBENCH")
    try:
        place = Path(folder, published.path).as_uri() if folder else PLACE + published.path
        with urllib.request.urlopen(place, timeout=20) as file:
            text = file.read()
    except OSError as error:
        print(f"{published.path} cannot be had ({error}); $AIRBENCH may name a clone.", file=sys.stderr)
        return None
    if hashlib.sha256(text).hexdigest() != published.sum:
        raise SystemExit(f"{published.path} is not that of commit {COMMIT[:7]}: its sum is another.")
    return text.decode()


def on_a_processor(published: Published, text: str, number: torch.dtype) -> ModuleType:
    """Return a script as a module: on the CPU, in this number format, uncompiled, one epoch, timed by the clock."""
    everywhere = {
        'torch.device("cuda")': 'torch.device("cpu")',
        ".half()": f".to({number})",
        "torch.cuda.Event(": "Stopwatch(",
        "torch.cuda.synchronize()": "pass",
    }
    for old, new in (everywhere | dict(published.changes)).items():
        if old in published.changes and old not in text:
            raise SystemExit(f"{published.path} has no {old!r} to adapt.")
        text = text.replace(old, new)
    module = ModuleType(Path(published.path).stem)
    module.__dict__["Stopwatch"] = Stopwatch
    exec(compile(text, published.path, "exec"), module.__dict__)
    module.evaluate = lambda *_, **__: 0.0  # test images are left out
    return module


def an_epoch(published: Published, module: ModuleType) -> Callable[[], float]:
    """Return one epoch of a script, which returns its seconds."""
    arguments = published.arguments(module)

    def work() -> float:
        Stopwatch.intervals.clear()
        with contextlib.redirect_stdout(io.StringIO()):
            module.main(*arguments)
        _whitening, epoch, _test_images = Stopwatch.intervals
        return epoch

    return work


def beside(name: str, published: Published, steps: int) -> dict | None:
    """Seconds of a whole training: ours, with smaller images in three epochs, against a published script."""
    text = script(published)
    if text is None:
        return None
    try:
        data = load("cifar10", validation=0, download=False)
    except DataError:
        return None
    number = autocast_dtype("auto", torch.device("cpu")) or torch.float32
    images = steps * max(BATCH, published.batch)
    recipe = rungs.fast_network(1, images, batch=BATCH).but(final=())
    ours = {"whole": recipe, "smaller": recipe.but(draw=recipe.draw.but(sides=(24,)))}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("cifar10").mkdir()
        for part, split in (("train", data.train[:images]), ("test", data.test[:100])):
            told = {"images": split.x.permute(0, 2, 3, 1).contiguous(), "labels": split.y, "classes": data.classes}
            torch.save(told, f"cifar10/{part}.pt")
        work = {each: lambda r=r: train(r, 0, torch.device("cpu")).history.seconds for each, r in ours.items()}
        module = on_a_processor(published, text, number)
        seconds = in_turn(work | {"theirs": an_epoch(published, module)}, count=3)
    # an epoch of few images stands for one of all: what happens once is in the same proportion
    of_epochs = len(data.train) / images
    mine = of_epochs * (SMALLER * seconds["smaller"] + (EPOCHS - SMALLER) * seconds["whole"])
    theirs = published.steps * seconds["theirs"] / (images // published.batch)
    note = (
        f"{Path(published.path).name} with batches of {published.batch:,}, ours of {BATCH:,}; "
        f"{str(number).removeprefix('torch.')}, uncompiled; measured on {images:,} images and multiplied. With "
        f"images of 32 pixels throughout ours is at {of_epochs * EPOCHS * seconds['whole'] / theirs:.2f}. "
        "At most 0.8 was wanted."
    )
    return row(name, mine, theirs, "s", note)


def fast_vs_airbench(steps: int = 2) -> dict | None:
    """The fast network against airbench94.py, which descends without Muon for 9.9 epochs."""
    return beside("fast_vs_airbench", DESCENT, steps)


def fast_vs_airbench_muon(steps: int = 2) -> dict | None:
    """The fast network against airbench94_muon.py, whose recipe it has."""
    return beside("fast_vs_airbench_muon", MUON, steps)

"""The fast network beside the code that it comes from, Jordan's airbench94_muon.py, on one processor.

The script is fetched while measuring, checked by its sum, and adapted to a processor in memory; none of it is kept.
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
from collections.abc import Callable
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
ADDRESS = f"https://raw.githubusercontent.com/KellerJordan/cifar10-airbench/{COMMIT}/airbench94_muon.py"
SUM = "704e29251a5207d8aed8a35adf13f772ff386b90a712aaddc2a28854385b536e"
BATCH, EPOCHS, SMALLER = 2_000, 8, 3  # as published, and the epochs in which ours shows smaller images


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


def script() -> str | None:
    """Return the published script, from $AIRBENCH or the network; None where neither has it."""
    try:
        place = os.environ.get("AIRBENCH")
        with contextlib.closing(open(place, "rb") if place else urllib.request.urlopen(ADDRESS, timeout=20)) as file:
            text = file.read()
    except OSError as error:
        print(f"airbench94_muon.py cannot be had ({error}); a copy of it may be named by $AIRBENCH.", file=sys.stderr)
        return None
    if hashlib.sha256(text).hexdigest() != SUM:
        raise SystemExit(f"airbench94_muon.py is not that of commit {COMMIT[:7]}: its sum is another.")
    return text.decode()


def on_a_processor(text: str, number: torch.dtype) -> ModuleType:
    """Return the script as a module: on the CPU, in this number format, uncompiled, one epoch, timed by the clock."""
    changes = {
        'torch.device("cuda")': 'torch.device("cpu")',
        "@torch.compile\n": "",
        ".half()": f".to({number})",
        "torch.cuda.Event(": "Stopwatch(",
        "torch.cuda.synchronize()": "pass",
        "ceil(8 * len(train_loader))": "ceil(1 * len(train_loader))",
    }
    for old, new in changes.items():
        if old not in text:
            raise SystemExit(f"airbench94_muon.py has no {old!r} to adapt.")
        text = text.replace(old, new)
    module = ModuleType("airbench94_muon")
    module.__dict__["Stopwatch"] = Stopwatch
    exec(compile(text, "airbench94_muon.py", "exec"), module.__dict__)
    return module


def theirs(module: ModuleType) -> Callable[[], float]:
    """Return one epoch of the published script, which returns its seconds; test images are left out."""
    module.evaluate = lambda *_, **__: 0.0
    network = module.CifarNet().to(memory_format=torch.channels_last)

    def work() -> float:
        Stopwatch.intervals.clear()
        with contextlib.redirect_stdout(io.StringIO()):
            module.main(0, network)
        _whitening, epoch, _test_images = Stopwatch.intervals
        return epoch

    return work


def fast_vs_airbench(images: int = 4_000) -> dict | None:
    """Seconds of a whole training: ours, with smaller images in three epochs, against the published script."""
    text = script()
    if text is None:
        return None
    try:
        data = load("cifar10", validation=0, download=False)
    except DataError:
        return None
    number, batch = autocast_dtype("auto", torch.device("cpu")) or torch.float32, min(BATCH, images // 2)
    recipe = rungs.fast_network(1, images, batch=batch).but(final=())
    ours = {
        "whole": recipe,
        "smaller": recipe.but(draw=recipe.draw.but(sides=(24,))),
    }
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("cifar10").mkdir()
        for name, split in (("train", data.train[:images]), ("test", data.test[:100])):
            told = {"images": split.x.permute(0, 2, 3, 1).contiguous(), "labels": split.y, "classes": data.classes}
            torch.save(told, f"cifar10/{name}.pt")
        work = {
            name: lambda each=each: train(each, 0, torch.device("cpu")).history.seconds for name, each in ours.items()
        }
        module = on_a_processor(text.replace("batch_size = 2000", f"batch_size = {batch}"), number)
        seconds = in_turn(work | {"theirs": theirs(module)}, count=3)
    # an epoch of few images stands for one of all: the share of what happens once is the same for both
    times = len(data.train) / images
    mine = times * (SMALLER * seconds["smaller"] + (EPOCHS - SMALLER) * seconds["whole"])
    note = (
        f"batches of {batch:,}, {str(number).removeprefix('torch.')}, uncompiled; an epoch of {images:,} images "
        f"times {times:g}, and {EPOCHS} epochs. With images of 32 pixels throughout ours is at "
        f"{seconds['whole'] / seconds['theirs']:.2f}. At most 0.8 was wanted."
    )
    return row("fast_vs_airbench", mine, times * EPOCHS * seconds["theirs"], "s", note)

"""What the trainings of the book cost: images, hours, operations, and where they ran."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from cifar_utils.train.recipe import Recipe
from cifar_utils.train.records import read_record

from ..freshness import places
from ..recipes import duration
from .edition import Edition


@dataclass
class Cost:
    """What some trainings cost.

    Attributes:
        trainings: how many there are.
        passes: training images, each forward and backward once, with repetitions.
        seconds: by the clock, by device.
        operations: floating-point operations, by device.
    """

    trainings: int = 0
    passes: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    operations: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, record: dict) -> None:
        """Add one training's record."""
        history, device = record["history"], record["environment"]["device"]
        self.trainings += 1
        self.passes += history["iterations"] * record["recipe"].get("batch", Recipe.batch)
        self.seconds[device] += history["seconds"]
        self.operations[device] += record["operations"]

    @property
    def hours(self) -> str:
        """How long they took in all, in words."""
        return duration(sum(self.seconds.values()))

    @property
    def where(self) -> str:
        """The devices and the time on each, in words, the longest first."""
        each = sorted(self.seconds.items(), key=lambda pair: -pair[1])
        return ", ".join(f"{duration(seconds)} on {device}" for device, seconds in each)


def of(records: Iterable[dict]) -> Cost:
    """Return what trainings cost together."""
    cost = Cost()
    for record in records:
        cost.add(record)
    return cost


def trainings_of(record: dict) -> list[dict]:
    """Return the records of the trainings that a chapter's run used, committed or in the store of this machine."""
    found = []
    for key in record.get("trainings", {}):
        found += [each for place in places(key) if (each := read_record(place))][:1]
    return found


def in_words(record: dict) -> str:
    """Return how many trainings a chapter stands on, where they ran and for how long; empty where it has none."""
    each = trainings_of(record)
    if not each:
        return ""
    cost = of(each)
    return f"{cost.trainings:,}: {cost.where}"


def by_chapter(edition: Edition) -> tuple[list[tuple[str, Cost]], Cost]:
    """Return what each chapter's trainings cost, and all together; one that two chapters share counts once there."""
    rows, every = [], {}
    for name, record in edition.records.items():
        each = trainings_of(record)
        if each:
            rows.append((name, of(each)))
            every |= {found["key"]: found for found in each}
    return rows, of(every.values())

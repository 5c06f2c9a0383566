"""What the trainings of the book cost: images, hours, operations, and where they ran."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from cifar_utils.train.recipe import Recipe
from cifar_utils.train.records import read_record

from ..cards import Row
from ..freshness import places
from ..recipes import duration
from ..verdict import Verdict
from .edition import Edition

#: Seconds of training from which on a device's rate is believed.
ENOUGH = 60.0


@dataclass
class Cost:
    """What some trainings cost.

    Attributes:
        trainings: how many there are.
        passes: training images, each forward and backward once, with repetitions.
        seconds: by the clock, by device.
        operations: floating-point operations, by device.
        kinds: operations and seconds, by device and kind of network.
    """

    trainings: int = 0
    passes: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    operations: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    kinds: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(lambda: [0.0, 0.0]))

    def add(self, record: dict) -> None:
        """Add one training's record."""
        history, device = record["history"], record["environment"]["device"]
        self.trainings += 1
        self.passes += history["iterations"] * record["recipe"].get("batch", Recipe.batch)
        self.seconds[device] += history["seconds"]
        self.operations[device] += record["operations"]
        kind = self.kinds[device, record["recipe"].get("model", {}).get("part", "")]
        kind[0] += record["operations"]
        kind[1] += history["seconds"]

    def rate(self, device: str, kind: str = "") -> float:
        """Return the operations a second that a device reached, with one kind of network where it trained any."""
        operations, seconds = self.kinds.get((device, kind)) or (0.0, 0.0)
        if seconds < ENOUGH:
            operations, seconds = self.operations[device], self.seconds[device]
        return operations / seconds

    def fastest(self) -> list[str]:
        """Return the fastest GPU and the fastest processor that trained for long enough to tell."""
        told = sorted((d for d, seconds in self.seconds.items() if seconds > ENOUGH), key=self.rate, reverse=True)
        processors = [device for device in told if device.startswith("CPU")]
        return [device for device in told if device not in processors][:1] + processors[:1]

    @property
    def hours(self) -> str:
        """How long they took in all, in words."""
        return duration(sum(self.seconds.values()))

    @property
    def where(self) -> str:
        """The devices and the time on each, in words, the longest first."""
        each = sorted(self.seconds.items(), key=lambda pair: -pair[1])
        words = ", ".join(f"{duration(seconds)} on {device}" for device, seconds in each)
        return words.replace(" 1 threads", " 1 thread")


def of(records: Iterable[dict]) -> Cost:
    """Return what trainings cost together."""
    cost = Cost()
    for record in records:
        cost.add(record)
    return cost


def trainings_of(record: dict, own: bool = False) -> list[dict]:
    """Return the records of the trainings that a chapter's run used: the committed ones, or those of this machine.

    Args:
        record: of the run.
        own: look first into the store of this machine, for a book of one's own runs.
    """
    found = []
    for key in record.get("trainings", {}):
        here = places(key)  # this machine's first
        each = map(read_record, here if own else reversed(here))
        found += list(filter(None, each))[:1]
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
        each = trainings_of(record, own=bool(edition.profile))
        if each:
            rows.append((name, of(each)))
            every |= {found["key"]: found for found in each}
    return rows, of(every.values())


@dataclass(frozen=True)
class Waiting:
    """Claims of one chapter that were not run at full scale, and what they wait for.

    Attributes:
        chapter: its name.
        claims: their rows.
        trainings: how many the chapter needs at full scale that are not there.
        operations: of these.
        seconds: how long they would take, by device.
        more: whether others depend on what comes out.
    """

    chapter: str
    claims: list[Row]
    trainings: int
    operations: float
    seconds: dict[str, float]
    more: bool


def waiting(edition: Edition, total: Cost) -> list[Waiting]:
    """Return what the claims without a verdict wait for, chapter by chapter, at the rates that devices reached."""
    found = []
    for name, record in edition.records.items():
        claims = [row for row in edition.rows if row.claim.notebook == name and row.verdict == Verdict.NOT_FULL_SCALE]
        told = record.get("waits")
        if not claims or not told:
            continue
        each = told["operations"]
        seconds: dict[str, float] = {
            device: sum(count / total.rate(device, kind) for kind, count in each.items())
            for device in total.fastest()
        }
        found.append(Waiting(name, claims, told["trainings"], sum(each.values()), seconds, told["more"]))
    return found

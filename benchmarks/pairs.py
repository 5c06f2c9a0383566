"""Two pieces of work measured in turn, and one line of the result."""

import statistics
import time
from collections.abc import Callable

ROUNDS = 5


def in_turn(work: dict[str, Callable[[], object]], slices: int = 1, count: int = ROUNDS,
            typical: Callable[[list[float]], float] = statistics.median) -> dict[str, float]:  # fmt: skip
    """Return the `typical` seconds of `count` rounds of each piece of work; one more, the first, only warms up.

    A round does everything `slices` times in turn, in alternating order, so that a machine whose speed
    drifts does not favour either side. Work that returns a number has timed itself, and what is around its core does
    not count.
    """
    rounds = []
    for _ in range(count + 1):
        seconds = dict.fromkeys(work, 0.0)
        for turn in range(slices):
            for name in work if (turn + len(rounds)) % 2 else reversed(work):
                started = time.perf_counter()
                own = work[name]()
                seconds[name] += own if isinstance(own, float) else time.perf_counter() - started
        rounds.append(seconds)
    return {name: typical([seconds[name] for seconds in rounds[1:]]) for name in work}


def row(name: str, ours: float, baseline: float, unit: str, note: str) -> dict:
    """Return one line of the result."""
    return {"name": name, "ours": ours, "baseline": baseline, "ratio": ours / baseline, "unit": unit, "note": note}

"""Several seeds in one call: mean, standard deviation and 95 % interval."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import ParameterError


@dataclass(frozen=True)
class Summary:
    """The mean of some values and what is known about it.

    Attributes:
        mean: arithmetic mean.
        std: sample standard deviation (n - 1); NaN for one value.
        low, high: 95 % interval of the mean; NaN where there is none.
        n: how many values.
        method: how the interval came about, in words.
    """

    mean: float
    std: float
    low: float
    high: float
    n: int
    method: str

    @property
    def has_interval(self) -> bool:
        """Whether `low` and `high` are numbers."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    def interval(self, spec: str = ".1f") -> str:
        """Return ` [low, high]`, both formatted by `spec`, to stand behind the mean; nothing where there is none."""
        return f" [{self.low:{spec}}, {self.high:{spec}}]" if self.has_interval else ""


def in_words(text: str) -> str:
    """Return a text without intervals of NaN, as one value alone has them, and with any other NaN put into words."""
    without = re.sub(r" ?\[[+−-]?nan, [+−-]?nan\]", "", text)
    return re.sub(r"[+−-]?\bnan\b( (%|points))?", "not defined", without)


def summarise(values: Sequence[float], unit: str = "seeds") -> Summary:
    """Return the summary of independent values, with Student's t interval from two values on.

    Raises:
        ParameterError: there are no values.
    """
    values = np.asarray(list(values), dtype=np.float64)
    n = len(values)
    if n == 0:
        raise ParameterError("There is nothing to summarise: no values were given.")
    mean = float(values.mean())
    if n == 1:
        return Summary(mean, math.nan, math.nan, math.nan, 1, f"1 {unit.rstrip('s')}, no interval")
    from scipy.stats import t

    std = float(values.std(ddof=1))
    half = float(t.ppf(0.975, n - 1)) * std / math.sqrt(n)
    return Summary(mean, std, mean - half, mean + half, n, f"95 % t interval over {n} {unit}")


def bootstrap(values: Sequence[float], unit: str, draws: int = 2000, seed: int = 0) -> Summary:
    """Return the summary of the mean over many exchangeable items, such as test images.

    The interval speaks of other items drawn like these for the *same* trained model, not of
    other seeds.

    Raises:
        ParameterError: there are no values.
    """
    values = np.asarray(values, dtype=np.float64)
    if len(values) < 2:
        return summarise(values, unit)
    rng = np.random.default_rng(seed)
    means = [values[rng.integers(len(values), size=len(values))].mean() for _ in range(draws)]
    low, high = np.quantile(means, [0.025, 0.975])
    std = float(values.std(ddof=1))
    method = f"95 % bootstrap interval over {len(values):,} {unit}"
    return Summary(float(values.mean()), std, float(low), float(high), len(values), method)


def difference(a: Sequence[float], b: Sequence[float], paired: bool = True) -> Summary:
    """Return the summary of mean(a) - mean(b): paired by seed, or with Welch's interval.

    Raises:
        ParameterError: paired sequences of different lengths, or an empty one.
    """
    if paired:
        if len(a) != len(b):
            raise ParameterError(f"Paired comparison of {len(a)} and {len(b)} values; expected equally many.")
        return summarise(np.subtract(a, b), "paired seeds")
    from scipy.stats import ttest_ind

    if min(len(a), len(b)) < 2:
        return summarise([summarise(a).mean - summarise(b).mean])
    ci = ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    gap = float(np.mean(a) - np.mean(b))
    return Summary(gap, math.nan, float(ci.low), float(ci.high), len(a) + len(b),
                   f"95 % Welch interval over {len(a)} and {len(b)} seeds")  # fmt: skip


def repeat(run: Callable[[int], object], seeds: int | Iterable[int]) -> list:
    """Return `[run(seed) for seed in seeds]`; a number n stands for the seeds 0 to n - 1."""
    each = range(seeds) if isinstance(seeds, int) else list(seeds)
    if not len(each):
        raise ParameterError(f"seeds is {seeds!r}; expected 1 or more.")
    return [run(seed) for seed in each]

"""Several seeds in one call: mean, standard deviation and 95 % interval."""

# Sequences become arrays under the same name, which a type checker takes for another thing.
# pyright: reportAssignmentType=false, reportAttributeAccessIssue=false, reportArgumentType=false

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from numbers import Real

import numpy as np

from ..errors import ParameterError
from . import words


@dataclass(frozen=True)
class Summary:
    """The mean of some values and what is known about it.

    It is written by a spec, `f"{gain:+.1f points}"` is "+1.2 [0.4, 2.0] points"; see `cifar_utils.measure.words`.
    It can be scaled and shifted, `100 * share - 50`; the difference of two comes from `difference`, which needs
    the values.

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

    @property
    def sign(self) -> int:
        """1 where the whole interval is above zero, -1 where it is below, 0 where it is not or there is none."""
        return int(self.low > 0) - int(self.high < 0)

    @property
    def resolved(self) -> str:
        """In words, whether the interval tells on which side of zero the mean is."""
        return "resolved" if self.sign else "not resolved"

    def interval(self, spec: str = ".1f") -> str:
        """Return ` [low, high]`, both formatted by `spec`, to stand behind the mean; nothing where there is none."""
        if not self.has_interval:
            return ""
        form = words.parse(spec)
        low, high = (form.number(bound, like=self.mean, sign=form.sign) for bound in (self.low, self.high))
        return f" [{low}, {high}]"

    def __format__(self, spec: str) -> str:
        form = words.parse(spec)
        mean = form.number(self.mean, like=self.mean)
        if math.isnan(self.mean):
            return mean
        if form.mean or not self.has_interval:
            return form.with_unit(mean)
        low, high = (form.number(bound, like=self.mean, sign=False) for bound in (self.low, self.high))
        return form.with_unit(f"{mean} [{low}, {high}]")

    def __mul__(self, factor: float) -> Summary:
        if not isinstance(factor, Real):
            return NotImplemented
        low, high = sorted((factor * self.low, factor * self.high))
        return replace(self, mean=factor * self.mean, std=abs(factor) * self.std, low=low, high=high)

    __rmul__ = __mul__

    def __neg__(self) -> Summary:
        return -1 * self

    def __add__(self, shift: float) -> Summary:
        if not isinstance(shift, Real):
            return NotImplemented
        return replace(self, mean=self.mean + shift, low=self.low + shift, high=self.high + shift)

    __radd__ = __add__

    def __sub__(self, shift: float) -> Summary:
        return self + -shift if isinstance(shift, Real) else NotImplemented

    def __rsub__(self, number: float) -> Summary:
        return -self + number


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
    from scipy.stats import sem, t

    half = float(t.ppf(0.975, n - 1) * sem(values))
    method = f"95 % t interval over {n} {unit}"
    return Summary(mean, float(values.std(ddof=1)), mean - half, mean + half, n, method)


def percent(shares: Sequence[float], unit: str = "seeds") -> Summary:
    """Return the summary, in percent, of shares between 0 and 1 such as accuracies.

    Its interval ends at 0 and 100 %, which Student's knows nothing of: what lies beyond is no share.

    Raises:
        ParameterError: a value is no share, such as a difference of two; `100 * summarise(...)` has no ends.
    """
    values = np.asarray(list(shares), dtype=np.float64)
    if (values < -1e-6).any() or (values > 1 + 1e-6).any():
        raise ParameterError(
            f"percent was given values from {values.min():.3g} to {values.max():.3g}; expected shares between "
            "0 and 1 (of differences take 100 * summarise(...))."
        )
    found = summarise(100 * values, unit)
    if not found.has_interval or (found.low >= 0 and found.high <= 100):
        return found
    return replace(
        found, low=max(found.low, 0.0), high=min(found.high, 100.0), method=f"{found.method}, of 0 to 100 %"
    )


def bootstrap(values: Sequence[float], unit: str, draws: int = 2000, seed: int = 0) -> Summary:
    """Return the summary of the mean over many exchangeable items, such as test images.

    The interval, between percentiles, speaks of other items drawn like these for the *same* trained
    model, not of other seeds. The items of draw 1, 2, ... are the next `len(values)` integers each of
    NumPy's default generator at `seed`.

    Raises:
        ParameterError: there are no values.
    """
    values = np.asarray(values, dtype=np.float64)
    n = len(values)
    if n < 2:
        return summarise(values, unit)
    mean, std = float(values.mean()), float(values.std(ddof=1))
    method = f"95 % bootstrap interval over {n:,} {unit}"
    if not std > 0:  # all the same, or one is NaN: nothing to draw
        return Summary(mean, std, mean, mean, n, method)
    from scipy import stats as scipy_stats

    found = scipy_stats.bootstrap(
        (values,), np.mean, n_resamples=draws, batch=max(1, 1_000_000 // n),  # 8 MB of indices at a time
        method="percentile", rng=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    return Summary(mean, std, float(found.low), float(found.high), n, method)


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


def jitter(values: Sequence[float]) -> float:
    """Return the standard deviation of the noise around a curve's trend, from its second differences.

    A straight trend has none, and those of independent noise have six times its variance. NaN for fewer than three.
    """
    bends = np.diff(np.asarray(values, dtype=np.float64), 2)
    return float(np.sqrt(np.mean(bends**2) / 6)) if len(bends) else math.nan


def repeat(run: Callable[[int], object], seeds: int | Iterable[int]) -> list:
    """Return `[run(seed) for seed in seeds]`; a number n stands for the seeds 0 to n - 1."""
    each = range(seeds) if isinstance(seeds, int) else list(seeds)
    if not len(each):
        raise ParameterError(f"seeds is {seeds!r}; expected 1 or more.")
    return [run(seed) for seed in each]

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from cifar_utils.errors import ParameterError
from cifar_utils.measure.stats import Summary, summarise
from cifar_utils.measure.words import in_words, parameter, text

GAIN = Summary(1.24, 1.0, 0.41, 2.04, 3, "")
ACCURACY = Summary(61.31, 1.0, 60.93, 61.68, 3, "")


@pytest.mark.parametrize(
    ("found", "spec", "told"),
    [
        (GAIN, "+.1f points", "+1.2 [0.4, 2.0] points"), (GAIN, "points", "+1.2 [0.4, 2.0] points"),
        (GAIN, ".2f", "1.24 [0.41, 2.04]"), (GAIN, "", "1.24 [0.41, 2.04]"), (GAIN, "+", "+1.24 [0.41, 2.04]"),
        (ACCURACY, ".1f %", "61.3 [60.9, 61.7] %"), (ACCURACY, "%", "61.3 [60.9, 61.7] %"),
        (ACCURACY, "mean %", "61.3 %"), (ACCURACY, "mean .0f", "61"), (ACCURACY, "mean", "61.3"),
        (Summary(0.6131, 0, 0.6093, 0.6168, 3, ""), ".1%", "61.3 [60.9, 61.7] %"),
        (Summary(-0.44, 1.0, -1.26, 0.38, 3, ""), "points", "−0.44 [−1.26, 0.38] points"),
        (Summary(-0.04, 1.0, -0.96, 0.02, 3, ""), "+.1f points", "0.0 [−1.0, 0.0] points"),
        (Summary(12345.6, 1.0, 12000.2, 12700.0, 3, ""), ".0f images a second",
         "12,346 [12,000, 12,700] images a second"),
        (Summary(2e-5, 1.0, 1e-5, 3e-5, 3, ""), "", "2.0·10⁻⁵ [1.0·10⁻⁵, 3.0·10⁻⁵]"),
        (summarise([3.0]), ".1f %", "3.0 %"), (summarise([1.0, math.nan]), "points", "not defined"),
    ],
)  # fmt: skip
def test_a_summary_is_written_by_a_spec(found, spec, told):
    assert format(found, spec) == told == text(found, spec)


@pytest.mark.parametrize(
    ("value", "spec", "told"),
    [
        (50_000, "", "50,000"), (np.int64(1234), "", "1,234"), (38, "%", "38 %"), (10, "points", "+10 points"),
        (0.1, "", "0.1"), (12.345, "", "12.3"), (12345.6, "", "12,346"), (20.0, "", "20"), (0.0, "", "0"),
        (1e-5, "", "10⁻⁵"), (2.5e-7, "", "2.5·10⁻⁷"), (1e6, "g", "10⁶"), (0.0005, "g", "0.0005"),
        (-1.24, ".1f", "−1.2"), (-0.04, ".1f", "0.0"), (0.04, "+.1f", "0.0"), (1.25, "+.2f points", "+1.25 points"),
        (0.1234, ".0%", "12 %"), (0.1234, ".1%", "12.3 %"), (61.31, "%", "61.3 %"), (0.43, "%", "0.43 %"),
        (1234.5, ".1f", "1,234.5"), (3.2, ".1f times", "3.2 times"), (12, "s", "12 s"),
        (3.14159, "e-fold", "3.14 e-fold"), (2.5, "× as many", "2.5 × as many"), ([], "", "none"),
        (math.nan, ".1f %", "not defined"), (math.inf, "", "∞"), (-math.inf, "", "−∞"),
        (np.float32(2.5), ".1f", "2.5"), (torch.tensor(2.5), ".1f", "2.5"), (np.bool_(True), "", "yes"),
        ([0.1, 0.01], "", "0.1, 0.01"), ((16, 32), "", "16, 32"), ([1.0, 2.0], ".1f %", "1.0, 2.0 %"),
        (np.array([1, 2000]), "", "1, 2,000"), (["a", "b"], "", "a, b"), ({"x": 1, "y": 2}, "", "x, y"),
        ("Adam", ".1f", "Adam"), (None, "", "none"), (False, "", "no"),
    ],
)  # fmt: skip
def test_a_value_is_written_as_prose_has_it(value, spec, told):
    assert text(value, spec) == told


@pytest.mark.parametrize("spec", [".1", ".1fpoints", "1f", ".f", ".1f .2f", "+-.1f", ".1f -"])
def test_what_is_no_spec_is_refused(spec):
    with pytest.raises(ParameterError, match="says not how to write a number; expected a format and a unit"):
        text(1.0, spec)


@pytest.mark.parametrize(
    ("value", "told"),
    [(50_000, "50,000"), (0.05, "0.05"), (0.0, "0"), (1e-4, "0.0001"), (1e-5, "10⁻⁵"), (True, "yes"), (None, "none"),
     ([0.1, 1.0], "0.1, 1"), ([512, 1024], "512, 1,024"), ("auto", "auto"), (["decay"], "decay"), ([], "none")],
)  # fmt: skip
def test_parameters_are_written_as_they_were_typed(value, told):
    assert parameter(value) == told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("+1.2 points [+nan, +nan]", "+1.2 points"), ("1.2 [nan, nan] points", "1.2 points"),
        ("−1.2 [−nan, nan] (not resolved)", "−1.2 (not resolved)"), ("38.1 % [nan, nan]", "38.1 %"),
        ("nan %", "not defined"), ("+nan points", "not defined"), ("lr nan; 3", "lr not defined; 3"),
        ("banana [1, 2]", "banana [1, 2]"), ("", ""),
    ],
)  # fmt: skip
def test_nan_is_put_into_words(text, told):
    assert in_words(text) == told


@pytest.mark.parametrize(
    ("text", "told"),
    [("-1.2 [-3, 0.4]", "−1.2 [−3, 0.4]"), ("(-1)", "(−1)"), ("3-4", "3-4"), ("1e-5", "1e-5"), ("A1-2", "A1-2"),
     ("x) -3", "x) −3"), ("2-cd - 1", "2-cd - 1"), ("--device", "--device"), ("2026-07-01", "2026-07-01")],
)  # fmt: skip
def test_minus_signs_are_typographic_and_hyphens_stay(text, told):
    assert in_words(text) == told

"""Networks by hand in NumPy; `cifar_utils.scratch.one_hidden` (which compiles with numba) is imported by its name."""

from .check import gradient_check
from .fit import evaluate, fit, side_by_side
from .network import L1, L2, Activation, Dense, Dropout, Network, cross_entropy, initial_weights, parts, softmax
from .optim import SGD, Adam

__all__ = [
    "L1", "L2", "SGD", "Activation", "Adam", "Dense", "Dropout", "Network", "cross_entropy", "evaluate", "fit",
    "gradient_check", "initial_weights", "parts", "side_by_side", "softmax",
]  # fmt: skip

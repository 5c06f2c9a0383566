"""Neural networks by hand, in NumPy: layers with forward and backward passes, losses, penalties, optimizers.

Everything is an array, every gradient a line of calculus that you can read. A layer keeps what its own
backward pass needs; `backward` takes dL/d(output), stores dL/d(parameters), and returns dL/d(input).
Examples are rows: inputs (B, D), labels int64 (B,). float32 is for training; with float64
`gradient_check` compares every line with central differences.

    network, optimizer = Network([784, 256, 128, 64, 10], "relu", seed=0), SGD(lr=0.1)
    loss, logits = network.loss(x, y)  # a forward and a backward pass
    optimizer.step(network.parameters, network.gradients)

`scratch.fit` makes epochs of such steps.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.random import Generator, default_rng

from .. import operations
from ..errors import DataError, ParameterError
from ..files import tensor_files

Array = np.ndarray

#: Each activation and its derivative, written with the activation's own output y = f(x).
ACTIVATIONS: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array | int]]] = {
    "relu": (lambda x: np.maximum(x, 0), lambda y: y > 0),
    "sigmoid": (lambda x: 0.5 * np.tanh(0.5 * x) + 0.5, lambda y: y * (1 - y)),  # cannot overflow
    "tanh": (np.tanh, lambda y: 1 - y * y),
    "linear": (lambda x: x, lambda y: 1),
}

#: Weights (inputs, outputs) of a layer by the name of their initialisation; biases start at zero.
INITIALISATIONS: dict[str, Callable[[Generator, int, int], Array]] = {
    "he": lambda rng, i, o: rng.normal(0, math.sqrt(2 / i), (i, o)),  # He et al. 2015
    "xavier": lambda rng, i, o: rng.normal(0, math.sqrt(2 / (i + o)), (i, o)),  # Glorot and Bengio 2010
    "lecun": lambda rng, i, o: rng.normal(0, math.sqrt(1 / i), (i, o)),
    "uniform": lambda rng, i, o: rng.uniform(-(i**-0.5), i**-0.5, (i, o)),  # nn.Linear's own, biases aside
}


def _choose(what: str, name: str, table: dict):
    if name in table:
        return table[name]
    near = get_close_matches(str(name).lower(), table, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ParameterError(f"There is no {what} called {name!r}; expected one of {', '.join(table)}.{hint}")


def initial_weights(rng: Generator, inputs: int, outputs: int, how: str | float) -> Array:
    """Return weights float64 (inputs, outputs): by a name of `INITIALISATIONS`, or normal with that deviation."""
    if isinstance(how, str):
        return _choose("initialisation", how, INITIALISATIONS)(rng, inputs, outputs)
    if not how >= 0:
        raise ParameterError(f"The standard deviation of the weights is {how}; expected 0 or more.")
    return rng.normal(0, how, (inputs, outputs))


class Dense:
    """A fully connected layer, y = x W + b, with W (inputs, outputs) and b (outputs,).

    Attributes:
        parameters: `[W, b]`, changed in place by optimizers.
        gradients: `[dL/dW, dL/db]` of the last backward pass.
    """

    def __init__(self, weights: Array):
        self.parameters = [weights, np.zeros(weights.shape[1], weights.dtype)]
        self.gradients = [np.zeros_like(p) for p in self.parameters]

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return outputs (B, outputs) of inputs (B, inputs)."""
        self._x = x
        y = x @ self.parameters[0]
        y += self.parameters[1]
        return y

    def backward(self, dy: Array, wanted: bool = True) -> Array | None:
        """Store dL/dW = xᵀ dy and dL/db = Σ dy; return dL/dx = dy Wᵀ, unless it is not wanted."""
        np.matmul(self._x.T, dy, out=self.gradients[0])
        np.sum(dy, axis=0, out=self.gradients[1])
        return dy @ self.parameters[0].T if wanted else None


class Activation:
    """A function of every number alone, by its name in `ACTIVATIONS`."""

    def __init__(self, name: str):
        self.name = name
        self._function, self._slope = _choose("activation", name, ACTIVATIONS)

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return f(x)."""
        self._y = self._function(x)
        return self._y

    def backward(self, dy: Array, wanted: bool = True) -> Array:
        """Return dL/dx = dL/dy f'(x)."""
        return dy * self._slope(self._y)


class Dropout:
    """Inverted dropout: in training each number is zero with probability p, else multiplied by 1 / (1 - p).

    The expected output is the input, so nothing has to be scaled when the network is used.

    Attributes:
        rng: the generator of the masks; a layer has its own.
    """

    def __init__(self, p: float, seed: int | Sequence[int] = 0):
        if not 0 <= p < 1:
            raise ParameterError(f"The probability of dropout is {p}; expected 0 or more and less than 1.")
        self.p, self.rng = p, default_rng(seed)

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return x, in training with a new mask."""
        self._mask = 1
        if training and self.p:
            kept = self.rng.random(x.shape, dtype=np.float32) >= self.p
            self._mask = kept * x.dtype.type(1 / (1 - self.p))
        return x * self._mask

    def backward(self, dy: Array, wanted: bool = True) -> Array:
        """Return dL/dx: nothing flows back through a number that was dropped."""
        return dy * self._mask


def softmax(z: Array) -> Array:
    """Return probabilities (B, classes) of logits; the row's maximum is subtracted, so that exp cannot overflow."""
    e = np.exp(z - z.max(axis=1, keepdims=True))
    e /= e.sum(axis=1, keepdims=True)
    return e


def cross_entropy(z: Array, y: Array) -> tuple[float, Array]:
    """Return the mean of -log softmax(z)[y] over the batch, and its gradient (softmax(z) - onehot(y)) / B."""
    rows = np.arange(len(y))
    shifted = z - z.max(axis=1, keepdims=True)
    dz = np.exp(shifted)
    total = dz.sum(axis=1, keepdims=True)
    loss = float(np.mean(np.log(total[:, 0]) - shifted[rows, y], dtype=np.float64))
    dz /= total
    dz[rows, y] -= 1
    dz /= len(y)
    return loss, dz


@dataclass(frozen=True)
class L1:
    """The penalty factor Σ|w| over all weights, not biases; its gradient is factor sign(w), 0 at 0 as in PyTorch."""

    factor: float

    def value(self, w: Array) -> float:
        """Return what it adds to the loss."""
        return self.factor * float(np.abs(w).sum(dtype=np.float64))

    def gradient(self, w: Array) -> Array:
        """Return what it adds to dL/dw."""
        return self.factor * np.sign(w)


@dataclass(frozen=True)
class L2:
    """The penalty factor / 2 Σw² over all weights, not biases; its gradient is factor w, as PyTorch's weight decay.

    Where a text writes factor Σw², without the half, it means the double of this factor.
    """

    factor: float

    def value(self, w: Array) -> float:
        """Return what it adds to the loss."""
        return self.factor / 2 * float(np.square(w).sum(dtype=np.float64))

    def gradient(self, w: Array) -> Array:
        """Return what it adds to dL/dw."""
        return self.factor * w


class Network:
    """A multilayer perceptron: Dense, activation and dropout after every layer but the last, which gives logits.

    Args:
        sizes: of inputs, hidden layers and classes, such as `[784, 256, 128, 64, 10]`.
        activation: a name of `ACTIVATIONS`.
        initialisation: a name of `INITIALISATIONS`, or a standard deviation.
        dropout: probability that a hidden unit is dropped in training; one for all hidden layers, or one for each.
        penalties: added to the loss, such as `[L1(1e-3), L2(1e-3)]`.
        seed: of weights and dropout masks; float32 and float64 networks of one seed start from the same numbers.
        dtype: of all arrays; float64 for gradient checks.

    Attributes:
        layers: in order; `parameters` and `gradients` are those of the Dense ones, [W1, b1, W2, ...].
    """

    def __init__(
        self, sizes: Sequence[int], activation: str = "relu", *, initialisation: str | float = "he",
        dropout: float | Sequence[float] = 0.0, penalties: Sequence[L1 | L2] = (), seed: int = 0,
        dtype: type = np.float32,
    ):  # fmt: skip
        if len(sizes) < 2 or min(sizes) < 1:
            raise ParameterError(f"sizes are {list(sizes)}; expected inputs, hidden units, classes, 1 or more each.")
        self.settings = {"sizes": [int(s) for s in sizes], "activation": activation,
                         "initialisation": initialisation, "dropout": dropout}  # fmt: skip
        self.penalties, self.seed, self.dtype = tuple(penalties), seed, np.dtype(dtype)
        rng = default_rng(seed)
        self.layers: list = []
        _choose("activation", activation, ACTIVATIONS)
        for k, (inputs, outputs) in enumerate(pairwise(sizes)):
            if k:
                p = dropout if isinstance(dropout, float | int) else dropout[k - 1]
                self.layers += [Activation(activation), *([Dropout(p, [seed, k])] if p else [])]
            self.layers.append(Dense(initial_weights(rng, inputs, outputs, initialisation).astype(dtype)))
        self.dense = [layer for layer in self.layers if isinstance(layer, Dense)]

    @property
    def parameters(self) -> list[Array]:
        """Weights and biases, [W1, b1, W2, b2, ...]."""
        return [p for layer in self.dense for p in layer.parameters]

    @property
    def gradients(self) -> list[Array]:
        """What the last backward pass left, in the order of `parameters`."""
        return [g for layer in self.dense for g in layer.gradients]

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return logits (B, classes) of inputs (B, D)."""
        for layer in self.layers:
            x = layer.forward(x, training)
        return x

    def backward(self, dz: Array) -> None:
        """Fill `gradients` from dL/dlogits (B, classes) of the last forward pass; penalties are added."""
        for layer in reversed(self.layers):
            dz = layer.backward(dz, layer is not self.layers[0])  # nobody learns from dL/d(images)
        for penalty in self.penalties:
            for layer in self.dense:
                layer.gradients[0] += penalty.gradient(layer.parameters[0])

    def loss(self, x: Array, y: Array, training: bool = True) -> tuple[float, Array]:
        """Return cross-entropy plus penalties, and the logits; fill `gradients` where `training`."""
        z = self.forward(x, training)
        value, dz = cross_entropy(z, y)
        if training:
            self.backward(dz)
            operations.add(len(x) * operations.of_dense(self.settings["sizes"]))
        return value + self.penalty(), z

    def penalty(self) -> float:
        """Return what the penalties add to the loss."""
        return sum(p.value(layer.parameters[0]) for p in self.penalties for layer in self.dense)

    def predict(self, x: Array, at_once: int = 2000) -> Array:
        """Return the likeliest class of each row, int64 (N,)."""
        return np.concatenate([self.forward(part).argmax(1) for part in parts(x, at_once)])

    def activations(self, x: Array, hidden: int = -1, at_once: int = 2000) -> Array:
        """Return the outputs (N, units) of a hidden layer, 0 for the first and -1 for the last."""
        places = [k for k, layer in enumerate(self.layers) if isinstance(layer, Activation)]
        if not -len(places) <= hidden < len(places):
            raise ParameterError(f"There is no hidden layer {hidden}; the network has {len(places)}.")
        found = []
        for part in parts(x, at_once):
            for layer in self.layers[: places[hidden] + 1]:
                part = layer.forward(part)
            found.append(part)
        return np.concatenate(found)

    def reseed(self, *seed: int) -> None:
        """Start the masks of dropout anew from these numbers."""
        for k, layer in enumerate(layer for layer in self.layers if isinstance(layer, Dropout)):
            layer.rng = default_rng([*seed, k])

    def save(self, path: Path, arrays: dict[str, Array] | None = None, **texts: str) -> None:
        """Write settings, weights and what else is given to a file: nothing that could run when opened.

        Raises:
            RunError: the disk is full, or may not be written to.
        """
        own = {f"{'Wb'[k % 2]}{k // 2 + 1}": p for k, p in enumerate(self.parameters)}
        tensor_files.write(Path(path), own | (arrays or {}), {"settings": json.dumps(self.settings), **texts})

    def load(self, path: Path) -> tuple[dict[str, Array], dict[str, str]]:
        """Take over the weights of a file that `save` wrote; return the file's other arrays and its texts.

        Raises:
            RunError: the file is damaged.
            DataError: it is of a network of other sizes or with another activation.
        """
        arrays, texts = tensor_files.read(Path(path))
        theirs = json.loads(texts["settings"])
        for key in ("sizes", "activation"):
            if theirs[key] != self.settings[key]:
                raise DataError(f"{Path(path).name} holds a network with {key} {theirs[key]}, expected "
                               f"{self.settings[key]}; build the network that was saved.")  # fmt: skip
        weights = [arrays.pop(f"{'Wb'[k % 2]}{k // 2 + 1}") for k in range(len(self.parameters))]
        for p, w in zip(self.parameters, weights, strict=True):
            p[...] = w
        return arrays, texts


def parts(x: Array, size: int) -> list[Array]:
    """Return views of x, `size` rows each, the last perhaps shorter."""
    return [x[i : i + size] for i in range(0, len(x), size)]

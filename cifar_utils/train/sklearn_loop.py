"""scikit-learn's `MLPClassifier` in recipes: the loop `scikit-learn`, so that its networks are in the store, too."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Sequence

import numpy as np
import torch

from .. import operations
from ..data.sets import Dataset
from ..errors import ParameterError
from . import parts
from .loop import History
from .numpy_loops import CPU, inputs_of
from .recipe import Recipe
from .training import Trained, dataset, part_of

#: What scikit-learn calls the optimizers of recipes; of its L-BFGS an epoch is an iteration over all examples.
SOLVERS = {"SGD": "sgd", "Adam": "adam", "L-BFGS": "lbfgs"}


@parts.register("model", "MLPClassifier")
def classifier(data: Dataset, seed: int, hidden: Sequence[int] = (), activation: str = "relu", alpha: float = 1e-4):
    """Dense layers as scikit-learn starts them; `alpha` is its L2 penalty, `linear` and `sigmoid` our names."""
    from sklearn.neural_network import MLPClassifier

    theirs = {"linear": "identity", "sigmoid": "logistic"}.get(activation, activation)
    return MLPClassifier(tuple(hidden), activation=theirs, alpha=alpha, random_state=seed)


@parts.register("optimizer", "L-BFGS")
def lbfgs(parameters, **options):
    """PyTorch's; recipes with the loop `scikit-learn` get scikit-learn's own."""
    return torch.optim.LBFGS(parameters, **options)


@parts.register("loop", "scikit-learn", knows=(), code=(inputs_of, part_of))
def mlp(recipe: Recipe, seed: int, device: torch.device, *, steps: int | None = None, **_) -> Trained:
    """Fit an `MLPClassifier` for at most `epochs` passes, or iterations of L-BFGS; always on the CPU.

    scikit-learn stops by itself where the loss does not fall any more. One whose weights explode ends as `diverged`.
    Scores are kept, as logarithms of probabilities, and no weights. `step_loss` has the loss, penalty included, after
    one iteration and after two.
    """
    from sklearn.exceptions import ConvergenceWarning  # here, so that importing the loops stays as light as torch

    data = dataset(recipe, CPU)
    inputs = inputs_of(data, recipe.prepare)
    x, y = inputs(data.train), data.train.y.numpy()
    options = dict(recipe.optimizer.options)
    how = {"solver": SOLVERS.get(recipe.optimizer.name), "batch_size": min(recipe.batch, len(y))}
    if how["solver"] is None or set(options) - {"lr", "momentum"}:
        raise ParameterError(
            f"scikit-learn has {', '.join(SOLVERS)}, with lr and momentum; the recipe has {recipe.optimizer}."
        )
    how |= {"learning_rate_init": options.get("lr", 1e-3), "momentum": options.get("momentum", 0.0)}

    def fitted(most: int):
        network = parts.build("model", recipe.model, data, seed).set_params(max_iter=most, **how)
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore", ConvergenceWarning)
            try:
                return network.fit(x, y)
            except ValueError:  # how scikit-learn says that the weights are no numbers any more
                return None

    first = [network.loss_ if (network := fitted(most)) else math.nan for most in range(1, min(steps or 2, 2) + 1)]
    if steps:
        return Trained(None, History(step_loss=first), {})
    started = time.perf_counter()
    network, final, scores = fitted(recipe.epochs or 1), {}, {}
    seconds = time.perf_counter() - started
    taken = network.n_iter_ if network else 0
    sizes = [x.shape[1], *recipe.model.options.get("hidden", ()), len(data.classes)]
    for which in recipe.final:
        name, part = which.partition(":")[0], part_of(which, data)
        p = network.predict_proba(inputs(part)) if network else np.full((len(part), len(data.classes)), np.nan)
        labels = part.y.numpy()
        with np.errstate(divide="ignore"):
            loss = float(-np.log(p[np.arange(len(p)), labels]).mean())
        final[name] = {"loss": loss, "accuracy": float((p.argmax(1) == labels).mean()) if network else math.nan}
        if name != "train":
            scores[name] = torch.from_numpy(np.log(np.maximum(p, 1e-30)).astype(np.float16))
    history = History(
        [network.loss_ if network else math.nan], [math.nan], {}, first, [how["learning_rate_init"]], taken,
        taken * len(y) * operations.of_dense(sizes), seconds, "finished" if network else "diverged",
    )  # fmt: skip
    return Trained(None, history, final, scores)

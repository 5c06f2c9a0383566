"""Networks by hand in recipes: the loop `numpy` for `scratch.Network`, and the compiled `one hidden`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from .. import operations
from ..data.prepare import Standardise, as_floats
from ..data.sets import Dataset, Split
from ..errors import ParameterError
from . import parts
from .loop import History
from .recipe import Part, Recipe
from .records import Training
from .training import FIRST_STEPS, Trained, dataset, part_of

CPU = torch.device("cpu")

#: Operations of one training from which on it leaves a checkpoint after every epoch, about a minute.
LONG = 1e12

#: Names of the losses of every other example of `val`, from the first and from the second on.
HALVES = ("val_loss_even", "val_loss_odd")

#: Name of the loss on `val` after every step, by epoch.
VAL_STEPS = "val_loss_steps"

#: Operations of all trainings at once from which on processes of their own pay.
MANY = 1e11


@parts.register("model", "by hand")
def by_hand(
    data: Dataset, seed: int, hidden: Sequence[int] = (), activation: str = "relu", init: str | float = "he",
    dropout: float | Sequence[float] = 0.0, l1: float = 0.0, l2: float = 0.0,
):  # fmt: skip
    """Dense layers of `scratch.Network`; the penalties l1 Σ|w| and l2 / 2 Σw² are added to the loss."""
    from ..scratch.network import L1, L2, Network

    sizes = [data.train.x[0].numel(), *hidden, len(data.classes)]
    penalties = [*([L1(l1)] if l1 else []), *([L2(l2)] if l2 else [])]
    return Network(sizes, activation, initialisation=init, dropout=dropout, penalties=penalties, seed=seed)


def network_of(training: Training):
    """Return the network in NumPy that a training left."""
    network = parts.build("model", training.recipe.model, dataset(training.recipe, CPU), training.seed)
    _take_over(network, training.arrays)
    return network


def inputs_of(data: Dataset, prepare: Part) -> Callable[[Split], np.ndarray]:
    """Return what makes inputs float32 (N, D) of a split, as a recipe prepares its images."""
    if prepare.name == "scale":
        prepared = lambda split: Split(as_floats(split), split.y)  # noqa: E731
    elif prepare.name == "channels":
        prepared = Standardise.fit(data.train)
    else:
        prepared = parts.build("prepare", prepare, data.train)
    return lambda split: np.ascontiguousarray(prepared(split).x.flatten(1).numpy())


@dataclass
class Changed:
    """Makes the inputs of a batch from images that are changed at random, by a recipe's `augment`."""

    images: Split
    changes: Sequence[Callable]
    inputs: Callable[[Split], np.ndarray]

    def __call__(self, index: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return inputs (B, D) of the examples at `index`."""
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        some = self.images[torch.from_numpy(index)]
        x, y = as_floats(some), some.y
        for change in self.changes:
            x, y = change(x, y, generator)
        return self.inputs(Split(x, some.y))


@parts.register(
    "loop",
    "numpy",
    many=True,
    varies=("seed", "model", "optimizer", "batch", "epochs", "iterations", "start", "loop"),
    knows=("augment", "draw", "iterations", "start"),
    most=64,
    code=("from cifar_utils.scratch.fit import fit", inputs_of, Changed, part_of),
    restore=network_of,
)
def numpy_networks(
    pairs: Sequence[tuple[Recipe, int]],
    device: torch.device,
    *,
    checkpoint: Path | None = None,
    progress: str | None = None,
    weights: Callable[[Recipe, int], Training] | None = None,
    steps: int | None = None,
    **_,
) -> list[Trained]:
    """Train networks `by hand`, several at a time in processes of one thread each; always on the CPU.

    Options of the loop: `stream`, a number from which order and dropout are drawn beside the seed (for trainings that
    follow each other); `marks`, numbers of steps after which the sets are measured, for recipes that give iterations;
    `watch` to keep `gradient_norm` and `penalty` by epoch in `extra`; `memory`, whether an Adam goes on with the
    running means of the training that this one starts from.
    """
    from joblib import cpu_count

    from ..scratch.fit import side_by_side

    recipe, data = pairs[0][0], dataset(pairs[0][0], CPU)
    inputs = inputs_of(data, recipe.prepare)
    x, y = inputs(data.train), data.train.y.numpy()
    sets = {which: (inputs(part), part.y.numpy()) for which in {*recipe.evaluate, *recipe.final}
            for part in [part_of(which, data)]}  # fmt: skip
    changed = None
    if recipe.augment:
        changed = Changed(data.train, [parts.build("augment", p, len(data.classes)) for p in recipe.augment], inputs)
    calls, costs = [], []
    for each, seed in pairs:
        network = parts.build("model", each.model, data, seed)
        optimizer = _optimizer(each.optimizer)
        if isinstance(each.start, Recipe) and weights is not None:
            before = weights(each.start, seed).arrays
            _take_over(network, before)
            if each.loop.options.get("memory"):
                optimizer.slots = [before[f"slot{k}"] for k in range(2 * len(network.parameters))]
                optimizer.steps = int(before["steps"])
        taken = each.iterations * each.batch if each.iterations else (each.epochs or 0) * len(y)
        costs.append(taken * operations.of_dense(network.settings["sizes"]))
        place = None
        if checkpoint and costs[-1] > LONG:
            place = checkpoint.with_name(f"{checkpoint.stem}-{each.key(seed)}.safetensors")
        calls.append((_train, (network, optimizer, each, seed, x, y, sets, changed, place, steps), {}))
    if steps:
        costs = [0] * len(pairs)
    counted, at_once = operations.total(), 1 if sum(costs) < MANY else min(cpu_count(), len(pairs))
    done = side_by_side(calls, at_once)
    operations.add(sum(costs) - (operations.total() - counted))  # those of other processes were not seen here
    for trained, cost in zip(done, costs, strict=True):
        trained.history.operations, trained.history.seconds = cost, trained.history.seconds / at_once
    return done


def _optimizer(part: Part):
    from ..scratch import optim

    known = {"SGD": optim.SGD, "Adam": optim.Adam}
    if part.name not in known:
        raise ParameterError(f"Networks by hand have the optimizers SGD and Adam; the recipe has {part}.")
    return known[part.name](**part.options)


def _take_over(network, arrays: dict[str, np.ndarray]) -> None:
    for k, p in enumerate(network.parameters):
        p[...] = arrays[f"{'Wb'[k % 2]}{k // 2 + 1}"]


def _train(network, optimizer, recipe: Recipe, seed: int, x, y, sets, changed, place, steps) -> Trained:
    """Train one network; what happens in a process of its own."""
    from ..scratch.fit import evaluate, fit

    how = recipe.loop.options
    marks = how.get("marks", (recipe.iterations,)) if recipe.iterations else ()
    if (marks and marks[-1] != recipe.iterations) or (recipe.draw.name == "replacement") != bool(marks):
        raise ParameterError(
            f"Networks by hand are trained for epochs, or with draw='replacement' for iterations, of which the last "
            f"mark is the number; the recipe has epochs {recipe.epochs}, draw {recipe.draw}, iterations "
            f"{recipe.iterations} and marks {marks}."
        )
    done = fit(
        network,
        optimizer,
        x,
        y,
        epochs=recipe.epochs or 0,
        marks=marks,
        shuffle=bool(recipe.draw.options.get("shuffle", True)),
        batch_size=recipe.batch,
        seed=[seed, how["stream"]] if "stream" in how else seed,
        evaluate_on={which.partition(":")[0]: sets[which] for which in recipe.evaluate},
        inputs=changed,
        watch=how.get("watch", False),
        keep_first=FIRST_STEPS,
        steps=steps,
        checkpoint=place,
    )
    history = History(
        done.train_loss, done.train_accuracy, done.evaluations, done.step_loss,
        [recipe.optimizer["lr"]] * len(done.train_loss), done.iterations, 0, done.seconds, done.outcome,
    )  # fmt: skip
    final: dict[str, dict[str, float]] = {}
    scores: dict[str, torch.Tensor] = {}
    for which in () if steps else recipe.final:
        name = which.partition(":")[0]
        with np.errstate(over="ignore", invalid="ignore"):
            loss, accuracy = evaluate(network, *sets[which])
            if name != "train":
                logits = np.concatenate([network.forward(part) for part in np.array_split(sets[which][0], 8)])
                scores[name] = torch.from_numpy(logits.astype(np.float16))
        final[name] = {"loss": loss, "accuracy": accuracy}
    arrays = {f"{'Wb'[k % 2]}{k // 2 + 1}": p for k, p in enumerate(network.parameters)}
    arrays |= {f"slot{k}": slot for k, slot in enumerate(optimizer.slots)}
    if hasattr(optimizer, "steps"):
        arrays["steps"] = np.array(optimizer.steps)
    extra = {"gradient_norm": done.gradient_norm, "penalty": done.penalty} if how.get("watch") else {}
    return Trained(None, history, final, scores, arrays, extra)


@parts.register("model", "one hidden")
def one_hidden(data: Dataset, seed: int, hidden: int, activation: str = "sigmoid", init: str = "torch"):
    """A hidden layer, in float64, as `scratch.one_hidden` begins it."""
    from ..scratch.one_hidden import Settings, initial

    settings = Settings(hidden, lr=0.0, epochs=1, seed=seed, activation=activation, init=init)
    return initial(settings, data.train.x[0].numel(), len(data.classes))


def hidden_of(training: Training):
    """Return the network with one hidden layer that a training left."""
    from ..scratch.one_hidden import OneHidden

    weights = {name: training.arrays[name] for name in ("w1", "b1", "w2", "b2")}
    return OneHidden(**weights, activation=training.recipe.model.options.get("activation", "sigmoid"))


@parts.register(
    "loop",
    "one hidden",
    many=True,
    varies=("seed", "model", "optimizer", "batch", "epochs"),
    most=64,
    knows=("every_step",),
    code=("from cifar_utils.scratch.one_hidden import train_all", inputs_of, part_of),
    restore=hidden_of,
)
def compiled(
    pairs: Sequence[tuple[Recipe, int]],
    device: torch.device,
    *,
    checkpoint: Path | None = None,
    progress: str | None = None,
    weights: Callable[[Recipe, int], Training] | None = None,
    steps: int | None = None,
) -> list[Trained]:
    """Train networks with `one hidden` layer by `scratch.one_hidden`, side by side on all cores; always on the CPU.

    Weight decay is that of weights alone, not of biases. After every epoch all training examples are measured, and
    those of `val`; `train_loss` and `train_accuracy` are these, not running means. `extra` has the losses of the two
    `HALVES` of `val`, every other example, so that one can choose an epoch and the other judge it; and, with
    `every_step`, as `VAL_STEPS` the loss on `val` after every step, mean over those of the epoch.
    """
    from ..scratch.one_hidden import Settings, train_all, usable_cores

    recipe, data = pairs[0][0], dataset(pairs[0][0], CPU)
    if recipe.evaluate != ("train:all", "val") or not set(recipe.final) <= {"train:all", "val"}:
        raise ParameterError(
            f"The loop 'one hidden' measures train:all and val; the recipe evaluates {', '.join(recipe.evaluate)} "
            f"and at the end {', '.join(recipe.final)}."
        )
    inputs = inputs_of(data, recipe.prepare)
    x, x_val = (inputs(part_of(which, data)).astype(np.float64) for which in ("train:all", "val"))
    y, y_val = (part_of(which, data).y.numpy() for which in ("train:all", "val"))
    runs = [
        Settings(
            lr=each.optimizer["lr"], epochs=each.epochs or 1, seed=seed, batch=each.batch,
            optimizer=each.optimizer.name.lower(), l2=each.optimizer.options.get("weight_decay", 0.0),
            **{"init": "torch", **each.model.options},
        )
        for each, seed in pairs
    ]  # fmt: skip
    if steps:
        runs = [replace(run, epochs=1) for run in runs]
    at_once = min(usable_cores(), len(runs))
    courses = train_all(runs, x, y, x_val, y_val, progress=progress, keep_first=FIRST_STEPS,
                        every_step=recipe.every_step)  # fmt: skip
    trained, per_epoch = [], -(-len(y) // recipe.batch)
    for run, course in zip(runs, courses, strict=True):
        share = course.seconds / at_once * (steps / per_epoch if steps else 1)  # an epoch is a single call
        measured = {which: {what: getattr(course, f"{which}_{what}").tolist() for what in ("loss", "accuracy")}
                    for which in ("train", "val")}  # fmt: skip
        outcome = "finished" if np.isfinite(course.train_loss).all() else "diverged"
        history = History(
            measured["train"]["loss"], measured["train"]["accuracy"], measured, course.step_loss,
            [run.lr] * run.epochs, run.epochs * -(-len(y) // run.batch), 0, share, outcome,
        )  # fmt: skip
        final = {name: {what: each[-1] for what, each in of.items()} for name, of in measured.items()}
        scores = {"val": torch.from_numpy(course.network.scores(x_val).astype(np.float16))}
        arrays = {name: getattr(course.network, name) for name in ("w1", "b1", "w2", "b2")}
        halves = {name: course.val_losses[:, k::2].mean(1).tolist() for k, name in enumerate(HALVES)}
        steps_of = {VAL_STEPS: course.val_loss_steps} if recipe.every_step else {}
        trained.append(Trained(None, history, final, scores, arrays, halves | steps_of))
    return trained

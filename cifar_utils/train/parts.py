"""What the names in a recipe stand for; a chapter may add its own with `register`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from difflib import get_close_matches
from functools import lru_cache

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import lr_scheduler as schedulers

from ..data import augment, prepare
from ..data.batches import Batches
from ..data.sets import Dataset, Split, channel_stats
from ..errors import ParameterError
from ..models import (
    DynamicNet,
    Encoder,
    NetworkB,
    RandomWindow,
    RdfiaNet,
    ResNetLike,
    SoftmaxRegression,
    TanhNetwork,
    VggLike,
)
from .recipe import Part
from .triplets import (
    TripletBatches,
    TripletNetwork,
    batch_hard_loss,
    semi_hard_loss,
    supervised_contrastive_loss,
    triplet_loss,
)

#: Each kind of part and the names it has; what a name's function is called with stands beside the kind.
#:
#: :meta hide-value:
PARTS: dict[str, dict[str, Callable]] = {
    "model": {},  # (data: Dataset, **options) -> nn.Module
    "optimizer": {},  # (parameters, **options) -> torch.optim.Optimizer
    "schedule": {},  # (optimizer, steps_per_epoch, epochs, **options) -> (scheduler, "epoch" or "step")
    "loss": {},  # (**options) -> (scores, labels) -> mean over the batch
    "select": {},  # (data: Dataset, **options) -> Dataset
    "prepare": {},  # (train: Split, **options) -> Split -> Split of float32 images
    "augment": {},  # (classes: int, **options) -> cifar_utils.data.Transform
    "draw": {},  # (train: Split, batch, options for Batches, **options) -> Batches
    "start": {},  # (model, batches, **options) -> None, changes the model in place
    "loop": {},  # one network, or with many=True several at once: see `cifar_utils.train.loops`
}


def register(kind: str, name: str, **about) -> Callable[[Callable], Callable]:
    """Return a decorator that gives a chapter's own function a name in recipes.

    Args:
        kind: one of `PARTS`, which says what such a function is called with.
        name: how recipes call it; registering it again replaces it, as when a cell runs twice.
        about: what the loop should know: for a model, `channels_last=False` where that layout does not pay.

    Raises:
        ParameterError: there is no such kind.
    """
    if kind not in PARTS:
        raise ParameterError(f"There is no kind of part called {kind!r}; expected one of {', '.join(PARTS)}.")

    def keep(function: Callable) -> Callable:
        PARTS[kind][name] = function
        for key, value in about.items():
            setattr(function, key, value)
        return function

    return keep


def find(kind: str, part: Part) -> Callable:
    """Return the function that a part's name stands for.

    Raises:
        ParameterError: no part of that kind has this name.
    """
    table = PARTS[kind]
    if part.name in table:
        return table[part.name]
    near = get_close_matches(part.name, table, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ParameterError(f"There is no {kind} called {part.name!r}; expected one of {', '.join(table)}.{hint}")


def build(kind: str, part: Part, *given):
    """Return what a part makes of what it is given.

    Raises:
        ParameterError: no such part, or it does not take one of its options.
    """
    function = find(kind, part)
    try:
        return function(*given, **part.options)
    except TypeError as error:
        if "argument" not in str(error):
            raise
        raise ParameterError(f"The {kind} {part!r} cannot be made: {error}.") from None


def _image(data: Dataset) -> tuple[int, ...]:
    return tuple(data.train.x.shape[1:])


def _features(data: Dataset) -> int:
    return data.train.x[0].numel()


register("model", "rdfia")(lambda data, **options: RdfiaNet(len(data.classes), _image(data), **options))  # pyright: ignore[reportArgumentType]


@register("model", "rdfia on windows")
def rdfia_on_windows(data: Dataset, side: int = 28, **options) -> nn.Module:
    """The same network on windows of the images; its last pooling rounds up, so that 28x28 pixels leave 4x4 too."""
    model = RdfiaNet(len(data.classes), _image(data), **options)  # pyright: ignore[reportArgumentType]
    [layer for layer in model if isinstance(layer, nn.MaxPool2d)][-1].ceil_mode = True
    model.insert(0, RandomWindow(side))
    return model


register("model", "encoder")(lambda data, **options: Encoder(**options))
register("model", "vgg")(lambda data, **options: VggLike(len(data.classes), **options))
register("model", "resnet")(lambda data, **options: ResNetLike(len(data.classes), **options))


@register("model", "softmax", channels_last=False)
def softmax(data: Dataset) -> nn.Module:
    """One linear map from pixels to scores."""
    return SoftmaxRegression(_features(data), len(data.classes))


@register("model", "tanh", channels_last=False)
def tanh(data: Dataset, hidden: int, std: float | None = None) -> nn.Module:
    """One hidden layer."""
    return TanhNetwork(_features(data), hidden, len(data.classes), std)


@register("model", "network b")
def network_b(data: Dataset, hidden: int = 0, always_training: bool = False, **encoder) -> nn.Module:
    """An encoder with a classifier on top, trained together."""
    return NetworkB(Encoder(**encoder), len(data.classes), hidden=hidden, always_training=always_training)


@register("model", "triplet network")
def triplet_network(data: Dataset, norm: float = 2.0, **encoder) -> nn.Module:
    """An encoder that is asked which of two images is of the anchor's class; with batches of triplets."""
    return TripletNetwork(Encoder(**encoder), norm)


# a mixed kernel is another for every image, for which channels last pays on a GPU only
register("model", "dynamic", channels_last="cuda")(lambda data, **options: DynamicNet(len(data.classes), **options))


def _optimizer(name: str, kind: type) -> None:
    register("optimizer", name)(lambda parameters, **options: kind(parameters, **options))


for _name in ("SGD", "Adam", "AdamW", "RMSprop"):
    _optimizer(_name, getattr(torch.optim, _name))


@register("schedule", "exponential")
def exponential(optimizer, steps: int, epochs: int, gamma: float):
    """Multiply the rate by `gamma` after every epoch."""
    return schedulers.ExponentialLR(optimizer, gamma), "epoch"


@register("schedule", "steps")
def milestones(optimizer, steps: int, epochs: int, at, gamma: float = 0.1):
    """Multiply the rate by `gamma` after each of the epochs `at`."""
    return schedulers.MultiStepLR(optimizer, list(at), gamma), "epoch"


@register("schedule", "cosine")
def cosine(optimizer, steps: int, epochs: int, by: str = "epoch"):
    """Half a cosine, from the rate to zero, in as many parts as there are epochs or steps."""
    return schedulers.CosineAnnealingLR(optimizer, epochs if by == "epoch" else steps * epochs), by


@register("schedule", "one cycle")
def one_cycle(optimizer, steps: int, epochs: int, rise: float = 0.25, extra: int = 0, total: int | None = None):
    """Warm up for the share `rise` of all steps, then down to zero; the optimizer's rate is the highest.

    Momentum, where there is any, goes the other way, from 0.95 to 0.85 and back. `total` is for recipes that give
    iterations, whose last epoch may be a short one.
    """
    total = (total or steps * epochs) + extra
    if total * rise == 1:  # PyTorch divides by rise * total - 1
        rise += 0.05
    top = [group["lr"] for group in optimizer.param_groups]
    # PyTorch would give momentum to plain descent too
    cycled = all(group.get("momentum") or "betas" in group for group in optimizer.param_groups)
    return schedulers.OneCycleLR(optimizer, top, total_steps=total, pct_start=rise, cycle_momentum=cycled), "step"


@register("schedule", "warm restarts")
def warm_restarts(optimizer, steps: int, epochs: int, every: int):
    """Half a cosine, from the rate to zero, again and again, so many epochs each (Loshchilov and Hutter, 2017)."""
    return schedulers.CosineAnnealingWarmRestarts(optimizer, every), "epoch"


register("loss", "cross-entropy")(
    lambda smoothing=0.0: (
        F.cross_entropy if not smoothing else lambda scores, y: F.cross_entropy(scores, y, label_smoothing=smoothing)
    )
)


@register("loss", "cut cross-entropy")
def cut_cross_entropy(at: float, softmaxes: int = 1) -> Callable:
    """Cross-entropy of scores cut at ± `at`, for networks in which some overflow; of one softmax or two."""

    def loss(scores: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        scores = scores.nan_to_num().clamp(-at, at)
        return F.cross_entropy(scores.softmax(1) if softmaxes == 2 else scores, y)

    return loss


register("loss", "triplet")(lambda margin=1.0: triplet_loss(margin))
register("loss", "batch-hard")(lambda margin=1.0: lambda z, y: batch_hard_loss(z, y, margin))
register("loss", "semi-hard")(lambda margin=1.0: lambda z, y: semi_hard_loss(z, y, margin))
register("loss", "contrastive")(lambda temperature=0.1: lambda z, y: supervised_contrastive_loss(z, y, temperature))


@register("select", "random labels")
def random_labels(data: Dataset, seed: int) -> Dataset:
    """Give training images labels that mean nothing."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(len(data.classes), data.train.y.shape, generator=generator).to(data.train.y.device)
    return replace(data, train=Split(data.train.x, y))


@register("select", "averaged down")
def averaged_down(data: Dataset, side: int) -> Dataset:
    """Give images `side` pixels to a side, each the mean of a square of pixels."""

    def smaller(split: Split | None) -> Split | None:
        if split is None:
            return None
        x = F.avg_pool2d(split.x.float(), split.x.shape[-1] // side)
        return Split(x.round().to(torch.uint8), split.y)

    return replace(data, train=smaller(data.train), val=smaller(data.val), test=smaller(data.test))


def _fitted(name: str, kind: type) -> None:
    register("prepare", name)(lambda train, **options: kind.fit(train, **options))


register("prepare", "0..1")(lambda train: prepare.Scale())
register("prepare", "-1..1")(lambda train: lambda split: Split(prepare.as_floats(split) * 2 - 1, split.y))
register("prepare", "contrast")(lambda train, **options: prepare.ContrastNormalise(**options))
_fitted("average image", prepare.AverageImage)
_spectrum = lru_cache(maxsize=1)(prepare.spectrum)  # trainings that follow each other are often on the same images


@register("prepare", "each pixel")
def each_pixel(train: Split) -> Callable[[Split], Split]:
    """Standardise every value of an image by itself, over all training images."""
    x = prepare.as_floats(train)
    mean, std = x.mean(0), x.std(0).clamp(min=1e-6)
    return lambda split: Split((prepare.as_floats(split) - mean) / std, split.y)


@register("prepare", "whitening")
def whitening(train: Split, epsilon: float = 0.01, kind: str = "zca") -> prepare.Whitening:
    """Remove the correlations between all pixels."""
    return prepare.Whitening.from_spectrum(*_spectrum(train), len(train), epsilon, kind)


register("augment", "flip vertically")(lambda classes, **o: augment.Flip("vertical", **o))
register("augment", "turn")(lambda classes, **o: augment.Flip("both", **o))
register("augment", "colour jitter")(lambda classes, **o: augment.ColourJitter(**o))
register("augment", "rotation")(lambda classes, **o: augment.Rotation(**o))
register("augment", "noise")(lambda classes, **o: augment.GaussianNoise(**o))
register("augment", "cutout")(lambda classes, **o: augment.Cutout(**o))
register("augment", "mixup")(lambda classes, **o: augment.Mixup(classes, **o))
register("augment", "cutmix")(lambda classes, **o: augment.CutMix(classes, **o))

register("draw", "passes")(lambda train, batch, given, **o: Batches(train, batch, **given, **o))
register("draw", "replacement")(
    lambda train, batch, given, **o: Batches(train, batch, replacement=True, **given, **o)
)
# of more images, which pixels were prepared by, only the first are learned from
register("draw", "passes over the first")(
    lambda train, batch, given, images, **o: Batches(train[:images], batch, **given, **o)
)


@register("draw", "standardised by")
def standardised_by(train: Split, batch: int, given: dict, mean, std) -> Batches:
    """Passes over images whose channels are standardised by given numbers, and not by the training set's own."""
    stats = tuple(torch.tensor(values, device=train.x.device) for values in (mean, std))
    return Batches(train, batch, **given | {"stats": stats})  # pyright: ignore[reportArgumentType]


@register("draw", "triplets")
def triplets(train: Split, batch: int, given: dict, **options) -> Batches:
    """Every image as the anchor once a pass, with a positive and a negative by label; held-out triplets are fixed."""
    return TripletBatches(train, batch, **given, **options)


def batch_options(recipe, data: Dataset, channels_last: bool, seed: int) -> tuple[Split, dict, Callable]:
    """Return the training split, the options of its `Batches`, and what prepares other splits, as a recipe says."""
    given: dict = {"channels_last": channels_last, "seed": seed}
    train, prepared = data.train, lambda split: split
    if recipe.prepare.name == "channels":
        if train.x.dtype == torch.uint8:
            given["stats"] = channel_stats(train)
    elif recipe.prepare.name != "scale":
        prepared = build("prepare", recipe.prepare, train)
        train = prepared(train)
    changes = []
    for part in recipe.augment:
        if part.name == "crop":
            given["crop"] = part["pixels"]
        elif part.name == "flip":
            given["flip"] = True
        else:
            changes.append(build("augment", part, len(data.classes)))
    if changes:
        given["augment"] = changes
    return train, given, prepared


def names(kind: str) -> list[str]:
    """Return the names of a kind's parts; for `prepare` and `augment` with those that batches know themselves."""
    own = {"prepare": ["scale", "channels"], "augment": ["crop", "flip"]}.get(kind, [])
    return own + list(PARTS[kind])


def take_over(model: nn.Module, trained: nn.Module) -> None:
    """Put the weights of a trained network into a new one: into all of it, or into its part of the same kind.

    Raises:
        ParameterError: the two have nothing that fits.
    """
    state = trained.state_dict()
    for inside in (model, *model.children()):
        own = inside.state_dict()
        for prefix in ("", "encoder."):
            theirs = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
            if own.keys() == theirs.keys() and all(own[k].shape == v.shape for k, v in theirs.items()):
                inside.load_state_dict(theirs)
                return
    raise ParameterError(
        f"A {type(model).__name__} cannot take over the weights of this {type(trained).__name__}: no part of it has "
        "the same names and shapes; train one of the same width."
    )

"""One training loop for every chapter, short enough to read, and its evaluation."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from .. import operations
from ..data.batches import Batches
from ..device import float64_device
from ..errors import ParameterError
from . import checkpoint as ckpt

#: A mean loss above this means that the run has exploded; a network that knows nothing has about 2.3.
EXPLODED = 1e4

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass
class History:
    """What a run went through; every list has one entry an epoch, except `step_loss`.

    Attributes:
        train_loss, train_accuracy: running means over the epoch's own batches, in training mode.
        evaluations: for each named set, `{"loss": [...], "accuracy": [...]}` in evaluation mode.
        step_loss: the loss of every iteration where `fit(..., every_step=True)` asked for it, otherwise of
            the first `keep_first`.
        lr: the first parameter group's learning rate at the end of the epoch.
        iterations: how many steps the optimizer took.
        operations: floating-point operations of all steps, see `cifar_utils.operations`.
        seconds: wall-clock time of the whole run, in seconds.
        outcome: `running`, `finished`, `stopped early` or `diverged`.
    """

    train_loss: list[float] = field(default_factory=list)
    train_accuracy: list[float] = field(default_factory=list)
    evaluations: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    step_loss: list[float] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)
    iterations: int = 0
    operations: int = 0
    seconds: float = 0.0
    outcome: str = "running"

    @property
    def epochs(self) -> int:
        """How many epochs were completed."""
        return len(self.train_loss)

    def last(self, name: str, what: str = "accuracy") -> float:
        """Return the last evaluation of set `name`; NaN before the first one."""
        values = self.evaluations.get(name, {}).get(what, [])
        return values[-1] if values else math.nan

    def add(self, name: str, loss: float, accuracy: float) -> None:
        """Append one evaluation of set `name`."""
        entry = self.evaluations.setdefault(name, {"loss": [], "accuracy": []})
        entry["loss"].append(loss)
        entry["accuracy"].append(accuracy)


def seed_everything(seed: int) -> None:
    """Seed PyTorch's global generators (initialisation, dropout) and ask for deterministic kernels."""
    torch.manual_seed(seed)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


@torch.no_grad()
def evaluate(
    model: nn.Module, batches: Batches, loss: Loss = F.cross_entropy, autocast: torch.dtype | None = None
) -> tuple[float, float]:
    """Return mean loss and accuracy (0..1) of `model` over one pass of `batches`, in evaluation mode."""
    was_training = model.training
    model.eval()
    total = torch.zeros(2, dtype=torch.float64, device=float64_device(batches.device))
    count = 0
    for x, y in batches:
        with torch.autocast(x.device.type, autocast, enabled=autocast is not None):
            scores = model(x)
        value = loss(scores.float(), y)
        total += torch.stack([value * len(y), _hits(scores, y)]).to(total.device)
        count += len(y)
    model.train(was_training)
    mean_loss, accuracy = (total / count).tolist()
    return mean_loss, accuracy


def fit(
    model: nn.Module,
    batches: Batches,
    optimizer: torch.optim.Optimizer,
    *,
    epochs: int | None = None,
    iterations: int | None = None,
    loss: Loss = F.cross_entropy,
    evaluate_on: dict[str, Batches] | None = None,
    schedule=None,
    schedule_every: str = "epoch",
    clip_norm: float | None = None,
    patience: int | None = None,
    autocast: torch.dtype | None = None,
    every_step: bool = False,
    keep_first: int = 0,
    checkpoint: Path | None = None,
    progress: str | None = None,
) -> History:
    """Train `model` on `batches` and return its history. The model is changed in place.

    Args:
        model: maps a batch to scores (B, classes); already on the batches' device.
        batches: one pass is one epoch.
        optimizer: over the model's parameters.
        epochs, iterations: how long; exactly one of them. With `iterations` the last epoch may be short.
        loss: of scores and labels, a mean over the batch. Labels may be soft, (B, classes): accuracy then
            counts the images whose best score is at the label's largest share.
        evaluate_on: sets to measure after every epoch, by name; `val` is what early stopping watches.
        schedule: a `torch.optim.lr_scheduler`, stepped after every `schedule_every`, `epoch` or `step`.
        clip_norm: largest norm of all gradients together.
        patience: stop when the loss on `val` has not reached a new minimum for so many epochs.
        autocast: `torch.bfloat16` or `torch.float16`; weights stay float32.
        every_step: keep the loss of every iteration in the history.
        keep_first: keep the losses of so many first iterations in any case.
        checkpoint: file written after every epoch; a run that finds it continues where it was
            killed and ends with the same numbers. A damaged one is put aside, and the run starts anew.
        progress: label of a plain progress bar; None shows none.

    Raises:
        ParameterError: settings that contradict each other.
        RunError: the checkpoint cannot be written.
    """
    epochs, iterations = _length(epochs, iterations, len(batches))
    if patience is not None and "val" not in (evaluate_on or {}):
        raise ParameterError("patience needs a set called 'val' in evaluate_on; there is none.")
    if schedule_every not in ("epoch", "step"):
        raise ParameterError(f"schedule_every is {schedule_every!r}; expected 'epoch' or 'step'.")
    device = batches.device
    scaler = torch.amp.GradScaler(device.type, enabled=autocast == torch.float16)
    history = _resume(checkpoint, model, optimizer, batches, schedule, scaler)
    if history.outcome in ("running", "finished"):  # the checkpoint may be of a shorter or a longer run
        history.outcome = "running" if history.iterations < iterations else "finished"
    before, started = history.seconds, time.perf_counter()
    cost = operations.StepCounter(history.operations)
    bar = tqdm(total=epochs, initial=history.epochs, desc=progress, disable=progress is None,
               mininterval=5, ncols=80)  # fmt: skip

    while history.outcome == "running":
        model.train()
        total = torch.zeros(2, device=device)
        steps, seen = [], 0
        for x, y in islice(batches, iterations - history.iterations):
            optimizer.zero_grad(set_to_none=True)
            with cost.step(len(y)):
                with torch.autocast(device.type, autocast, enabled=autocast is not None):
                    scores = model(x)
                value = loss(scores.float() if autocast else scores, y)
                scaler.scale(value).backward()
            if clip_norm is not None:
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
            scaler.step(optimizer)
            scaler.update()
            if schedule is not None and schedule_every == "step":
                schedule.step()
            value, seen = value.detach(), seen + len(y)
            total += torch.stack([value * len(y), _hits(scores.detach(), y)])
            if every_step or history.iterations < keep_first:
                steps.append(value)
            history.iterations += 1
        if schedule is not None and schedule_every == "epoch":
            schedule.step()

        history.operations = cost.count
        _record(history, total, seen, steps, optimizer)  # the epoch's only wait for the device
        for name, held_out in (evaluate_on or {}).items():
            history.add(name, *evaluate(model, held_out, loss, autocast))
        history.outcome = _outcome(history, iterations, patience)
        history.seconds = before + time.perf_counter() - started
        _save(checkpoint, model, optimizer, batches, schedule, scaler, history)
        bar.set_postfix(loss=f"{history.train_loss[-1]:.3f}", refresh=False)
        bar.update()
    bar.close()
    operations.add(history.operations)
    return history


def _hits(scores: Tensor, y: Tensor) -> Tensor:
    """Return how many scores are greatest for the label or, where labels are soft (B, classes), its largest share."""
    return (scores.argmax(1) == (y.argmax(1) if y.dim() == 2 else y)).sum()


def _length(epochs: int | None, iterations: int | None, per_epoch: int) -> tuple[int, int]:
    if (epochs is None) == (iterations is None):
        raise ParameterError("Give either epochs or iterations, and not both.")
    if (epochs if iterations is None else iterations) < 1:  # pyright: ignore[reportOptionalOperand]
        raise ParameterError("epochs or iterations must be 1 or more.")
    return (epochs, epochs * per_epoch) if iterations is None else (-(-iterations // per_epoch), iterations)  # pyright: ignore[reportOptionalOperand, reportReturnType]


def _record(history: History, total: Tensor, seen: int, steps: list[Tensor], optimizer) -> None:
    mean_loss, accuracy = (total / seen).tolist()
    history.train_loss.append(mean_loss)
    history.train_accuracy.append(accuracy)
    history.lr.append(float(optimizer.param_groups[0]["lr"]))
    if steps:
        history.step_loss += torch.stack(steps).tolist()


def _outcome(history: History, iterations: int, patience: int | None) -> str:
    losses = [history.train_loss[-1], *(e["loss"][-1] for e in history.evaluations.values())]
    if any(not math.isfinite(v) or v > EXPLODED for v in losses):
        return "diverged"
    if patience is not None:
        val = history.evaluations["val"]["loss"]
        if len(val) - 1 - val.index(min(val)) >= patience:
            return "stopped early"
    return "finished" if history.iterations >= iterations else "running"


def _save(path, model, optimizer, batches, schedule, scaler, history: History) -> None:
    if path is None:
        return
    generators = {"batches": batches.state(), "cpu": torch.get_rng_state()}
    if batches.device.type == "cuda":
        generators["cuda"] = torch.cuda.get_rng_state(batches.device)
    meta = {"history": asdict(history), "scaler": scaler.state_dict()}
    if schedule is not None:
        meta["schedule"] = _plain(schedule.state_dict())
    ckpt.save(Path(path), model, optimizer, generators, meta)


def _resume(path, model, optimizer, batches, schedule, scaler) -> History:
    def restore(path: Path) -> History:
        generators, meta = ckpt.restore(path, model, optimizer)
        history, states = History(**meta["history"]), [generators["batches"], generators["cpu"]]
        if schedule is not None:
            schedule.load_state_dict(meta["schedule"])
        scaler.load_state_dict(meta["scaler"])
        torch.set_rng_state(states[1])
        batches.restore(states[0])
        if "cuda" in generators and batches.device.type == "cuda":
            torch.cuda.set_rng_state(generators["cuda"], batches.device)
        return history

    parts = [part for part in (model, optimizer, schedule, scaler) if part is not None]
    return ckpt.resume(path, restore, *parts) or History()


def _plain(state: dict) -> dict:
    """Return what JSON gives back as it was; the rest, as MultiStepLR's milestones, the constructor has set again."""
    kept = {}
    for key, value in state.items():
        if isinstance(value, list) and all(isinstance(v, dict) for v in value):
            kept[key] = [_plain(v) for v in value]  # schedules inside a SequentialLR
        elif isinstance(value, (int, float, str, list)) or value is None:
            kept[key] = value
    return kept

"""Which device a run computes on, and in which number format: decided here and nowhere else."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch

from .errors import ParameterError

#: What `device` may be; one GPU of several is named with its number behind a colon.
DEVICES = ("auto", "cpu", "cuda", "mps")

#: What `precision` may be.
PRECISIONS = ("auto", "float32", "bfloat16")

#: Instruction sets with bfloat16 products, as `torch.cpu.get_capabilities()` calls them; `bf16` is ARM's.
_WITH_BFLOAT16 = ("avx512_bf16", "amx_bf16", "avx10_2", "bf16")

#: What `ONEDNN_MAX_CPU_ISA` may hold back oneDNN to where bfloat16 is left to emulation.
_WITHOUT_BFLOAT16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI")


def pick_device(device: str | torch.device = "auto") -> torch.device:
    """Return the device asked for; `auto` takes a CUDA GPU where there is one, then an Apple one, then the CPU.

    Raises:
        ParameterError: another kind of device, or one that this machine does not have.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if _has_mps() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        chosen = None
    if chosen is None or chosen.type not in DEVICES:
        raise ParameterError(f"device is {str(device)!r}; expected one of {', '.join(DEVICES)}.")
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": _has_mps()}[chosen.type]
    if not there:
        kind = {"cuda": "GPU that PyTorch can use", "mps": "Apple GPU that PyTorch can use"}[chosen.type]
        raise ParameterError(
            f"device is {str(device)!r}, but this machine has no {kind}; pass device='cpu' or device='auto'."
        )
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise ParameterError(
            f"device is {str(device)!r}, but this machine has {torch.cuda.device_count()} GPU(s); "
            f"expected cuda:0 to cuda:{torch.cuda.device_count() - 1}."
        )
    return chosen


def _has_mps() -> bool:
    return torch.backends.mps.is_available()


def float64_device(device: torch.device) -> torch.device:
    """Return where float64 is computed for tensors of `device`: there, but for Apple's GPUs, which have none."""
    return torch.device("cpu") if device.type == "mps" else device


def finest_dtype(device: torch.device) -> torch.dtype:
    """Return float64, or float32 where the device has nothing finer: for random draws, which stay on their device."""
    return torch.float64 if float64_device(device) == device else torch.float32


def native_bfloat16(device: torch.device) -> bool:
    """Whether products in bfloat16 are computed by the device itself, rather than emulated and slow.

    True for CUDA from compute capability 8.0, and for a CPU with AVX512-BF16 or AMX (on ARM: BF16) that
    `ONEDNN_MAX_CPU_ISA` does not hold back. Apple's GPUs count as without, since nobody has measured one here.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu" or os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper() in _WITHOUT_BFLOAT16:
        return False
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()  # an older PyTorch cannot tell
    return any(capabilities.get(name, False) for name in _WITH_BFLOAT16)


def autocast_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """Return what `torch.autocast` gets for a precision: `torch.bfloat16`, or None for plain float32.

    Args:
        precision: `float32`, `bfloat16`, or `auto` for bfloat16 where `native_bfloat16` and float32 elsewhere.
        device: where the run computes.

    Raises:
        ParameterError: another precision.
    """
    if precision not in PRECISIONS:
        raise ParameterError(f"precision is {precision!r}; expected one of {', '.join(PRECISIONS)}.")
    wanted = native_bfloat16(device) if precision == "auto" else precision == "bfloat16"
    return torch.bfloat16 if wanted else None


def device_name(device: torch.device) -> str:
    """Return the device in words, such as `CPU (AMD EPYC, 2 threads)` or a GPU's name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    model = platform.processor() or platform.machine()
    if device.type == "mps":
        return f"Apple GPU ({model})"
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if "model name" in line]
        model = lines[0] if lines else model
    return f"CPU ({model}, {torch.get_num_threads()} threads)"

"""The kernel that notebooks run in: that of this environment, whatever else Jupyter knows by the name `python3`."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

#: Without these, glibc gives every large tensor back to the system and asks for it again at each step:
#: small convolutional networks then train at two thirds of their speed, and stacks of networks, whose
#: gradients are beyond the largest threshold that glibc takes, at half of it. They change no number.
KEEP_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "MALLOC_MMAP_MAX_": "0",
}

#: What PyTorch, NumPy and Numba take their number of threads from, each its own.
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


def environment(threads: int | None = None) -> dict[str, str]:
    """Return the environment variables that a process which trains should begin with, besides those that it has.

    Args:
        threads: CPU threads; as many as the environment says by default.
    """
    memory = {key: value for key, value in KEEP_MEMORY.items() if key not in os.environ}
    return memory | ({key: str(threads) for key in THREADS} if threads else {})


def manager(log: Path, threads: int | None = None) -> type:
    """Return a kernel manager class for papermill whose kernels run this interpreter.

    Args:
        log: file for what the kernel itself says, which is of use only where it dies.
        threads: CPU threads; as many as the environment says by default.
    """
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager

    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = KernelSpec(argv=command, display_name="Python 3", language="python", env=environment(threads))

    class OwnKernelManager(AsyncKernelManager):
        @property
        def kernel_spec(self) -> KernelSpec:
            return spec

        async def start_kernel(self, **options) -> None:
            with log.open("wb") as stderr:
                await super().start_kernel(stderr=stderr, **options)

    return OwnKernelManager


def engine(every: float = 10.0) -> str:
    """Register a papermill engine that saves the notebook every so many seconds, and at its end; return its name.

    papermill's own writes and validates all pictures so far before and after each cell.
    """
    from papermill.engines import NBClientEngine, papermill_engines

    class SavesSeldom(NBClientEngine):
        @classmethod
        def execute_managed_notebook(cls, nb_man, *args, **options):
            save, saved = nb_man.save, time.monotonic()

            def seldom(**options) -> None:
                nonlocal saved
                if time.monotonic() - saved > every:
                    save(**options)
                    saved = time.monotonic()

            nb_man.save = seldom
            try:
                return super().execute_managed_notebook(nb_man, *args, **options)
            finally:
                nb_man.save = save

    papermill_engines.register("saves seldom", SavesSeldom)
    return "saves seldom"


def unused_gpu() -> str:
    """Return in a sentence that this job was given a GPU which PyTorch cannot use; empty where all is well."""
    import torch

    given = next(
        (v for v in ("SLURM_JOB_GPUS", "CUDA_VISIBLE_DEVICES") if os.environ.get(v, "-1") not in ("", "-1")), ""
    )
    if not given or torch.cuda.is_available():
        return ""
    return (f"{given} names a GPU, but PyTorch {torch.__version__} cannot use it, so device=auto takes the CPU; "
            "see Machines in README.md for the driver and the GPUs that it needs.")  # fmt: skip

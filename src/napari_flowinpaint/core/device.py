"""Which device a computation runs on."""

from __future__ import annotations

import ctypes
import os
import re
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from .errors import InputError

_KNOWN = re.compile(r"^(auto|cpu|mps|cuda(:\d+)?)$")

#: How often torch's threads look for more work before they sleep (GNU OpenMP).
_SPINS = "3000"


def preload_torch() -> None:
    """Load torch's libraries so that importing it holds up other threads for a moment only.

    Python's lock is held while a library is loaded by an import, 0.2 s for torch's largest and
    seconds on a slow disk, for which a viewer would stand still; it is not held while a foreign
    function runs, and what is loaded once is not loaded again. Does nothing where that is not
    possible: then the import takes what it takes.
    """
    if "torch" in sys.modules or sys.platform == "win32":
        return
    _wait_calmly()
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return
    with suppress(OSError, AttributeError):
        load = ctypes.CDLL(None).dlopen
        load.restype, load.argtypes = ctypes.c_void_p, (ctypes.c_char_p, ctypes.c_int)
        # the ones without any Python in them: what they do as they are loaded needs no lock
        for name in ("torch_global_deps", "c10", "torch_cpu", "c10_cuda", "torch_cuda"):
            # as torch opens them: what the first one brings along is for all to see
            scope = os.RTLD_GLOBAL if name == "torch_global_deps" else os.RTLD_LOCAL
            for path in (Path(spec.origin).parent / "lib").glob(f"lib{name}.*"):
                load(os.fsencode(path), os.RTLD_LAZY | scope)
        for path in (Path(spec.origin).parent / "lib").glob("libtorch_python.*"):
            read_into_memory(path)  # this one is full of Python, and comes with the import


def read_into_memory(path: Path | str) -> None:
    """Read a file, so that the system has it in memory when it is wanted."""
    buffer = bytearray(1 << 20)
    with suppress(OSError), Path(path).open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def _wait_calmly() -> None:
    """Let torch's threads sleep soon when there is nothing to do, unless the user has set that.

    By default they look for work a hundred times as long, and keep the processor from those that
    they wait for: on a busy machine a network took four times as long. On one that is not, it
    makes no difference. Only read as the library is loaded.
    """
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = _SPINS


def resolve_device(device: str = "auto", *, needs_torch: bool = True) -> str:
    """Return the device to use, or refuse one that is not there.

    Parameters
    ----------
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``.
    needs_torch
        Whether the method runs on torch at all. For one that does not, ``"auto"`` is the CPU and
        torch is not imported, which takes seconds.

    Returns
    -------
    str
        ``"cpu"``, ``"cuda:0"`` (the number is always given) or ``"mps"``.

    Raises
    ------
    InputError
        If the name is unknown, or there is no such device.
    """
    if not _KNOWN.match(device):
        raise InputError(
            f"'{device}' is not a device; choose one of: auto, cpu, cuda, cuda:1, mps."
        )
    if device == "cpu" or (device == "auto" and not needs_torch):
        return "cpu"
    preload_torch()
    import torch

    cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device in ("auto", "cuda") and cuda:
        return "cuda:0"
    if device in ("auto", "mps") and torch.backends.mps.is_available():
        return "mps"
    if device == "auto":
        return "cpu"
    if device.startswith("cuda:") and int(device.removeprefix("cuda:")) < cuda:
        return device
    there = ["cpu", *(f"cuda:{i}" for i in range(cuda))]
    raise InputError(
        f"There is no device '{device}' here (there is {', '.join(there)}); "
        "choose one of these, or auto."
    )

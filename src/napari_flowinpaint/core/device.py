"""Which device a computation runs on."""

from __future__ import annotations

import os
import re

from .errors import InputError

_KNOWN = re.compile(r"^(auto|cpu|mps|cuda(:\d+)?)$")

#: How often torch's threads look for more work before they sleep (GNU OpenMP).
_SPINS = "3000"


def limit_spinning() -> None:
    """Let torch's threads sleep soon when there is nothing to do, unless the user has set that.

    By default they look for work a hundred times as long, and keep the processor from those that
    they wait for: on a busy machine a network took four times as long. On one that is not, it
    makes no difference. Called before torch is imported: its library reads this as it is loaded.
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
    limit_spinning()
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
        f"there is no device '{device}' on this computer; choose one of: auto, {', '.join(there)}."
    )

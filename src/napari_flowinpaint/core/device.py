"""Which device a computation runs on."""

from __future__ import annotations

import re

from .errors import InputError

_KNOWN = re.compile(r"^(auto|cpu|mps|cuda(:\d+)?)$")


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

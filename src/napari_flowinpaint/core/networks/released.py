"""The weights the learned methods run with."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from ..errors import InputError
from .weights import checked_digest, load_network, weights_directory

#: The weights of the learned methods, without folder: of ``flowinpaint``, ``flowinpaint-paper``
#: and ``unfold-paper``.
JOINT = "flowinpaint-joint-small.safetensors"
PAPER = "flowinpaint-paper-small.safetensors"
FOLD = "flowinpaint-fold-small.safetensors"


def released(name: str = JOINT) -> Path | None:
    """Return the path of released weights, or None where they are not installed."""
    path = weights_directory() / name
    return path if path.is_file() else None


def load_released(path: Path, device: str, architecture: str = "joint") -> tuple[Any, str]:
    """Return the network of released weights, ready to run, and their SHA-256.

    Parameters
    ----------
    path
        The file; its card has to lie beside it.
    device
        Where the network is to run.
    architecture
        The network it has to hold, a key of :data:`.weights.ARCHITECTURES`.

    Raises
    ------
    InputError
        If the file is not what its card describes, or holds another network.
    """
    checked_digest(path)
    return load_any(path, device, architecture)


def load_any(path: Path, device: str, architecture: str) -> tuple[Any, str]:
    """Return the same of any weights file, with a card or without; see :func:`load_released`."""
    try:
        changed = path.stat().st_mtime_ns
    except OSError as error:
        raise InputError(f"{path.name} cannot be read as weights: {error}") from None
    return _load(path, changed, device, architecture)


@lru_cache(maxsize=4)
def _load(path: Path, changed: int, device: str, architecture: str) -> tuple[Any, str]:
    """Load once for every version of a file."""
    import torch

    net, info = load_network(path, architecture=architecture)
    # torch's type stubs lack the memory format
    net = net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net, info.sha256

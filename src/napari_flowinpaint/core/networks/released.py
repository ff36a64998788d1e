"""The released weights, with which the learned methods run by default."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from .weights import checked_digest, load_network, read_info, weights_directory

#: The weights of the learned methods, without folder: of ``flowinpaint``, ``flowinpaint-paper``,
#: ``unfold-paper``, ``one_neighbour``, ``single_section`` and ``gap_patches``; and of
#: ``flowinpaint`` for sections that are missing as a whole.
JOINT = "flowinpaint-joint-small.safetensors"
MISSING = "flowinpaint-missing-small.safetensors"
PAPER = "flowinpaint-paper-small.safetensors"
FOLD = "flowinpaint-fold-small.safetensors"
ONE = "flowinpaint-one-small.safetensors"
SINGLE = "flowinpaint-single-small.safetensors"
GAP = "flowinpaint-gap-small.safetensors"


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


def load_priors(path: Path) -> dict[int, npt.NDArray[np.float64]]:
    """Return the weights of hypotheses learned by adapting to a stack, by the number of hypotheses.

    Parameters
    ----------
    path
        A weights file; without adaptation it holds none, and the result is empty.

    Returns
    -------
    dict
        (bands, hypotheses) each.

    Raises
    ------
    InputError
        If the file is not a weights file, or its weights of hypotheses are not valid.
    """
    adapted = read_info(path).training.get("adapted")
    if not isinstance(adapted, dict):
        return {}
    try:
        found = [np.array(matrix, dtype=np.float64) for matrix in adapted["fusion"]]
        good = all(m.ndim == 2 and np.isfinite(m).all() and np.abs(m).max() < 10 for m in found)
    except (KeyError, TypeError, ValueError):
        good = False
    if not good:
        raise InputError(f"{path.name} has impossible weights of hypotheses; adapt again")
    return {matrix.shape[1]: matrix for matrix in found}


def load_any(path: Path, device: str, architecture: str) -> tuple[Any, str]:
    """Return the same for any weights file, with or without a card; see :func:`load_released`."""
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

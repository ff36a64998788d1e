"""The weights the learned method runs with."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from .weights import checked_digest, load_network, weights_directory

if TYPE_CHECKING:
    from .joint import JointNet

#: The weights of the learned method, without folder.
JOINT = "flowinpaint-joint-small.safetensors"


def released(name: str = JOINT) -> Path | None:
    """Return the path of released weights, or None where they are not installed."""
    path = weights_directory() / name
    return path if path.is_file() else None


@lru_cache(maxsize=2)
def load_released(path: Path, device: str) -> tuple[JointNet, str]:
    """Return the network of released weights, ready to run, and their SHA-256.

    Raises
    ------
    InputError
        If the file is not what its card describes, or no joint network.
    """
    import torch

    from .joint import JointNet

    digest = checked_digest(path)
    net, _ = load_network(path, architecture="joint")
    assert isinstance(net, JointNet)
    # torch's type stubs lack the memory format
    net = net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net, digest

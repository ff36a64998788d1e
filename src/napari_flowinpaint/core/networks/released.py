"""The weights that come with the package, each checked against the checksum in its card."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from .weights import weights_directory

if TYPE_CHECKING:
    from .joint import JointNet

#: The weights of the learned method, without folder.
JOINT = "flowinpaint-joint-small.safetensors"


def released(name: str = JOINT) -> Path | None:
    """Return the path of released weights, or None where they are not installed."""
    path = weights_directory() / name
    return path if path.is_file() else None


def checked_digest(path: Path) -> str:
    """Return the SHA-256 (hex) of a weights file after comparing it with its card's.

    The card is the Markdown file beside it, of the same name.

    Raises
    ------
    InputError
        If there is no card, it names no checksum, or another one.
    """
    card = path.with_suffix(".md")
    try:
        told = re.search(r"sha256[^0-9a-f]*([0-9a-f]{64})", card.read_text(encoding="utf-8"))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"{path.name} cannot be checked: {error}; reinstall the package") from None
    if told is None:
        raise InputError(f"{card.name} tells no sha256; reinstall the package")
    if told[1] != digest:
        raise InputError(
            f"{path.name} is not the file its card describes (its sha256 is {digest[:12]}…, not "
            f"{told[1][:12]}…); reinstall the package"
        )
    return digest


@lru_cache(maxsize=2)
def load_released(path: Path, device: str) -> tuple[JointNet, str]:
    """Return the network of released weights, ready to run, and their SHA-256.

    Raises
    ------
    InputError
        If the file is not what its card describes, or no joint network.
    """
    import torch

    from .joint_weights import load_joint

    digest = checked_digest(path)
    net = load_joint(path).eval()
    # torch's type stubs lack the memory format
    net = net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net, digest

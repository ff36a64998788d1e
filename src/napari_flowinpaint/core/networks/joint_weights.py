"""Save and load joint networks: safetensors only, hyper-parameters in the file itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from ..errors import InputError
from .joint import JointConfig, JointNet

#: Larger files are not ours.
_MOST_BYTES = 64 * 1024 * 1024


def save_joint(path: Path, net: JointNet, training: dict[str, Any]) -> None:
    """Write weights in half precision, complete or not at all.

    Parameters
    ----------
    path
        Where to.
    net
        The network; its configuration goes into the file's metadata.
    training
        Plain JSON about the training, for the record.
    """
    from safetensors.torch import save_file

    tensors = {k: v.detach().half().cpu().contiguous() for k, v in net.state_dict().items()}
    metadata = {
        "network": "joint",
        "config": json.dumps(net.config.to_dict()),
        "training": json.dumps(training),
    }
    partial = path.with_name(path.name + ".partial")
    save_file(tensors, partial, metadata)
    partial.replace(path)


def load_joint(path: Path) -> JointNet:
    """Return the network in a weights file, float32, on the CPU.

    Raises
    ------
    InputError
        If the file is missing, broken, no joint network, or its tensors do not fit its own
        description.
    """
    from safetensors import SafetensorError, safe_open

    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InputError(f"{path.name} is too large to be weights of this network")
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            config = _read_config(path, metadata)
            with torch.device("meta"):
                wanted = {k: tuple(v.shape) for k, v in JointNet(config).state_dict().items()}
            shapes = {k: tuple(file.get_slice(k).get_shape()) for k in file.keys()}  # noqa: SIM118
            if shapes != wanted:
                raise InputError(f"{path.name} does not hold the tensors it describes")
            tensors = {name: file.get_tensor(name).float() for name in wanted}
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path.name} cannot be read as weights: {error}") from None
    if not all(bool(torch.isfinite(value).all()) for value in tensors.values()):
        raise InputError(f"{path.name} holds values that are not finite")
    net = JointNet(config)
    net.load_state_dict(tensors)
    return net


def _read_config(path: Path, metadata: dict[str, str]) -> JointConfig:
    """Return the configuration in a file's metadata."""
    if metadata.get("network") != "joint":
        raise InputError(f"{path.name} holds no joint network of napari-flowinpaint")
    try:
        values = json.loads(metadata["config"])
    except (KeyError, ValueError):
        raise InputError(f"{path.name} does not describe its network") from None
    if not isinstance(values, dict):
        raise InputError(f"{path.name} does not describe its network")
    try:
        return JointConfig.from_dict(values)
    except InputError as error:
        raise InputError(f"{path.name}: {error}") from None

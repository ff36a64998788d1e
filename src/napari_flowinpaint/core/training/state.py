"""Checkpoints: everything needed to resume a training, in one safetensors file (no pickle)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError


class ParameterAverage:
    """Exponential moving average of a network's parameters.

    Parameters
    ----------
    net
        The network that is trained.
    decay
        Of the average per step; smaller at first.
    """

    def __init__(self, net: torch.nn.Module, decay: float) -> None:
        self.decay = decay
        self.values = {name: p.detach().clone() for name, p in net.named_parameters()}

    def update(self, net: torch.nn.Module, step: int) -> None:
        """Take in the parameters after a step."""
        decay = min(self.decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, parameter in net.named_parameters():
                self.values[name].lerp_(parameter, 1 - decay)


def save_state(
    path: Path,
    net: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    average: ParameterAverage,
    numbers: dict[str, Any],
) -> None:
    """Write a checkpoint, complete or not at all.

    Parameters
    ----------
    path
        Where to.
    net, optimizer, average
        What is trained.
    numbers
        Plain JSON: the step, the seconds so far, the best score, the configuration.
    """
    from safetensors.torch import save_file

    tensors = {f"net.{k}": v.detach().contiguous() for k, v in net.state_dict().items()}
    tensors |= {f"ema.{k}": v.contiguous() for k, v in average.values.items()}
    for number, entry in optimizer.state_dict()["state"].items():
        for name, value in entry.items():
            tensors[f"opt.{number}.{name}"] = torch.as_tensor(value).contiguous()
    partial = path.with_name(path.name + ".partial")
    save_file(tensors, partial, {"training": json.dumps(numbers)})
    partial.replace(path)


def read_numbers(path: Path) -> dict[str, Any]:
    """Return the plain numbers of a checkpoint.

    Raises
    ------
    InputError
        If the file is not the checkpoint of a training.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            numbers = json.loads((file.metadata() or {})["training"])
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise InputError(f"{path} is not a training checkpoint ({error}).") from None
    if not isinstance(numbers, dict) or not {"step", "seconds", "best", "config"} <= set(numbers):
        raise InputError(f"{path} is not a training checkpoint.")
    return numbers


def load_state(
    path: Path, net: torch.nn.Module, optimizer: torch.optim.Optimizer, average: ParameterAverage
) -> None:
    """Put a checkpoint's values into a network, its optimizer and its average.

    Raises
    ------
    InputError
        If the checkpoint belongs to another network.
    """
    from safetensors.torch import load_file

    tensors = load_file(path)
    names = [name for name, _ in net.named_parameters()]
    try:
        net.load_state_dict({name: tensors[f"net.{name}"] for name in net.state_dict()})
        average.values = {name: tensors[f"ema.{name}"] for name in names}
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            kind, _, rest = key.partition(".")
            if kind == "opt":
                number, _, name = rest.partition(".")
                state.setdefault(int(number), {})[name] = value
    except (KeyError, RuntimeError):
        raise InputError(f"{path} is a checkpoint of another network.") from None
    optimizer.load_state_dict(
        {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}
    )


def begin_with(net: torch.nn.Module, first: torch.nn.Module, path: str, size: str) -> None:
    """Give a network the weights of another one of its shape.

    Parameters
    ----------
    net, first
        The network, and the other one.
    path
        The file of the latter, for the error.
    size
        Name of the size of ``net``, likewise.

    Raises
    ------
    InputError
        If they differ.
    """
    if first.config != net.config:
        raise InputError(f"{path} has another size than '{size}', or other parts.")
    net.load_state_dict(first.state_dict())

"""Begin a narrower joint network with the channels of a wider one that matter most.

A channel matters by what the loss would lose without it, to first order: the sum of its values
times their gradients (cf. Molchanov et al. 2017, eq. 6-8). What is left out is missed at first; a
training makes up for it in a fraction of the time that a network from random weights takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..networks.joint import JointConfig, JointNet
from .data import TrainingBatch
from .loss import joint_loss


@dataclass(frozen=True)
class _Layer:
    """A convolution and the channels it is between.

    Parameters
    ----------
    name
        Of the module.
    gives
        Group of channels it gives; layers whose outputs are added give the same group. None: as
        many as there are, all kept.
    takes
        Groups of channels it takes, in order; a number stands for that many channels, all kept.
    """

    name: str
    gives: str | None
    takes: tuple[str | int, ...]

    @property
    def output(self) -> str:
        """Name of the module after which the channels are looked at: with its activation."""
        return self.name.removesuffix(".0")


def narrowed(net: JointNet, config: JointConfig, batches: Iterable[TrainingBatch]) -> JointNet:
    """Return a network of another width, its channels chosen from those of a network.

    Parameters
    ----------
    net
        The wider one, with context (``deep``).
    config
        Of the narrower one: ``hidden``, ``fusion`` and ``deep`` may be smaller, the rest is alike.
    batches
        Samples to judge the channels by.

    Returns
    -------
    JointNet
        It gives what ``net`` gives where the channels that are left out gave nothing.
    """
    new = JointNet(config)
    kept = _chosen(net, new, _effects(net, batches))
    old, state = net.state_dict(), new.state_dict()
    state |= {name: old[name] for name in state if name.startswith("pyramid.")}
    for layer in _layers(net.config):
        outputs = slice(None) if layer.gives is None else kept[layer.gives]
        inputs, start = [], 0
        for part in layer.takes:
            width = part if isinstance(part, int) else _width(net, part)
            inputs.append(start + (torch.arange(width) if isinstance(part, int) else kept[part]))
            start += width
        state[f"{layer.name}.weight"] = old[f"{layer.name}.weight"][outputs][:, torch.cat(inputs)]
        state[f"{layer.name}.bias"] = old[f"{layer.name}.bias"][outputs]
    new.load_state_dict(state)
    return new


def _layers(config: JointConfig) -> Iterator[_Layer]:
    """Yield all convolutions but those of the pyramid, whose channels stay."""
    state: tuple[str, ...] = ()
    for level in range(len(config.radii) - 1, -1, -1):
        name = f"estimators.{level}"
        squeezed, body = f"{name}.squeeze", [f"{name}.body.{n}" for n in range(4)]
        yield _Layer(f"{squeezed}.0", squeezed, (3 * (2 * config.radii[level] + 1) ** 2,))
        inputs: tuple[str | int, ...] = (squeezed, config.channels[level + 1], 6, *state)
        for part in body:
            yield _Layer(f"{part}.0", part, inputs)
            inputs = (part,)
        state = (body[-1],)
        yield _Layer(f"{name}.flow", None, state)
    yield from _layers_of_fusion(config, state[0])


def _layers_of_fusion(config: JointConfig, state: str) -> Iterator[_Layer]:
    near, far = (3 * config.channels[level] for level in (1, 2))
    for name, gives, *takes in (
        ("enter.0.0", "entered", 32),
        ("enter.1.0", "half", "entered"),
        ("down.0.0", "reduced", "half"),
        ("down.1.0", "quarter", "reduced"),
        ("context.near.0.0", "seen", near),
        ("context.near.1", "quarter", "seen"),
        ("bottom.0.0", "bottom 0", "quarter", state),
        ("bottom.1.0", "bottom 1", "bottom 0"),
        ("bottom.2.0", "bottom 2", "bottom 1"),
        ("context.down.0", "deep", "bottom 2"),
        ("context.bottom.0.0", "deep 0", "deep", far),
        ("context.bottom.1.0", "deep 1", "deep 0"),
        ("context.bottom.2.0", "deep 2", "deep 1"),
        ("context.bottom.3.0", "deep 3", "deep 2"),
        ("context.up.0.0", "risen", "bottom 2", "deep 3"),
        ("context.up.1", "bottom 2", "risen"),
        ("up.0.0", "up 0", "bottom 2", "half"),
        ("up.1.0", "up 1", "up 0"),
        ("head", None, "up 1"),
    ):
        yield _Layer(f"fusion.{name}", gives, tuple(takes))  # type: ignore[arg-type]


def _width(net: JointNet, group: str) -> int:
    """Return the number of channels of a group."""
    name = next(layer.name for layer in _layers(net.config) if layer.gives == group)
    layer: Any = net.get_submodule(name)
    return int(layer.out_channels)


def _effects(net: JointNet, batches: Iterable[TrainingBatch]) -> dict[str, Tensor]:
    """Return the effect of each channel of each group on the loss, (batches, channels)."""
    seen: dict[str, Tensor] = {}
    found: dict[str, list[Tensor]] = {}
    layers = [layer for layer in _layers(net.config) if layer.gives is not None]

    def watch(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def keep(module: nn.Module, inputs: Any, output: Tensor) -> None:
            output.retain_grad()
            seen[name] = output

        return keep

    hooks = [
        net.get_submodule(layer.output).register_forward_hook(watch(layer.name)) for layer in layers
    ]
    try:
        for batch in batches:
            output = net(
                batch.truth * batch.known, batch.known, batch.neighbours, batch.valid, batch.alpha
            )
            net.zero_grad()
            joint_loss(output, batch).backward()
            owed: dict[str, Tensor] = {}
            for layer in layers:
                values = seen[layer.name]
                assert values.grad is not None
                part = (values.detach() * values.grad).sum(dim=(0, 2, 3))
                owed[str(layer.gives)] = owed.get(str(layer.gives), torch.zeros(())) + part
            for group, part in owed.items():
                found.setdefault(group, []).append(part)
    finally:
        for hook in hooks:
            hook.remove()
        net.zero_grad()
    return {group: torch.stack(parts) for group, parts in found.items()}


def _chosen(net: JointNet, new: JointNet, effects: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the channels of every group that are kept, ascending."""
    kept = {}
    for group, effect in effects.items():
        matters = effect.square().mean(dim=0)
        kept[group] = matters.argsort(descending=True)[: _width(new, group)].sort().values
    return kept

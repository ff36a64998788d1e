"""Tensors and networks for several tests of networks."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from napari_flowinpaint.core.networks.joint import JointConfig, JointNet

TINY = JointConfig(channels=(4, 8, 8), radii=(1, 2), hidden=8, fusion=(8, 8), deep=8)


def scene(height: int = 37, width: int = 45, batch: int = 2, seed: int = 0):
    """Return section, mask, previous, following, initial reference; smooth, of odd size."""
    torch.manual_seed(seed)
    images = F.avg_pool2d(torch.randn(batch, 4, height + 4, width + 4), 5, 1) * 4
    mask = torch.zeros(batch, 1, height, width)
    mask[0, :, 9:20, 12:30] = 1
    if batch > 1:
        mask[1, :, :15, -8:] = 1
    section, *others = images.split(1, dim=1)
    return section, mask, *others


def lively(net: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Return a network whose heads say something, as they do not before training."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            if not parameter.any():
                parameter.normal_(std=0.05)
    return net.eval()


def lively_joint(config: JointConfig = TINY, seed: int = 0) -> JointNet:
    """A network whose flows and residual are not zero, as they are before training."""
    torch.manual_seed(seed)
    net = JointNet(config).eval()
    with torch.no_grad():
        for estimator in net.estimators:
            estimator.flow.weight.normal_(std=0.02)
        net.fusion.head.weight.normal_(std=0.05)
        if net.fusion.context is not None:
            for last in (net.fusion.context.near[-1], net.fusion.context.up[-1]):
                last.weight.normal_(std=0.05)
    return net

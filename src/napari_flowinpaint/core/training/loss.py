"""Losses of the joint network.

L1 on the image, L1 and the logarithm of the squared error on its 2-px low-pass (the grain of an EM
section cannot be predicted, its structure can), the same low-pass for the warped neighbours, and
L1 at every level of the pyramid so that large displacements are learned from the coarse levels.
Inside the mask every pixel counts five times as much as outside (lambda_c of eq. 14).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..networks.blocks import gaussian, warp
from ..networks.joint import LOW_PASS, JointOutput
from .data import TrainingBatch

#: Weight of intact pixels, relative to damaged ones: 1 / lambda_c.
INTACT = 0.2
#: Weight of the structure's squared error, on a logarithmic scale.
_STRUCTURE = 0.25
#: Mean squared errors, in variances of the section, below which nothing more is to be gained.
_LEAST = 1e-3


def weighted_l1(difference: Tensor, weight: Tensor) -> Tensor:
    """Return the mean absolute difference under a weight."""
    return (difference.abs() * weight).sum() / weight.sum()


def log_error(difference: Tensor, weight: Tensor) -> Tensor:
    """Return the mean logarithm of every sample's weighted mean squared error.

    A decibel is worth the same on a stack that is easy to predict as on a hard one; the squared
    error itself would let the hard ones decide.
    """
    over = (1, 2, 3)
    squared = (difference**2 * weight).sum(dim=over) / weight.sum(dim=over)
    return (squared + _LEAST).log().mean()


def joint_loss(output: JointOutput, batch: TrainingBatch) -> Tensor:
    """Return the loss of a batch."""
    weight = 1 - (1 - INTACT) * batch.known
    truth, smooth = batch.truth, gaussian(batch.truth, LOW_PASS)
    error = gaussian(output.image, LOW_PASS) - smooth
    loss = weighted_l1(output.image - truth, weight) + weighted_l1(error, weight)
    loss = loss + _STRUCTURE * log_error(error, weight)
    for warped, shown in zip(output.warped, output.shown, strict=True):
        off = gaussian(warped, LOW_PASS) - smooth
        loss = loss + 0.5 * weighted_l1(off, weight * shown.detach() + 1e-6)
    return loss + pyramid_loss(output, batch, weight)


def pyramid_loss(output: JointOutput, batch: TrainingBatch, weight: Tensor) -> Tensor:
    """Return the loss of the flows of all levels, each on images of its own resolution."""
    total = torch.zeros((), device=weight.device)
    images = torch.cat([batch.truth, weight, *batch.neighbours, *batch.valid], dim=1)
    for flows in reversed(output.pyramid):  # finest first: each level is pooled from the last
        images = F.avg_pool2d(images, images.shape[-1] // flows[0].shape[-1])
        truth, here, *others = images.split(1, dim=1)
        for flow, image, valid in zip(flows, others[:2], others[2:], strict=True):
            warped, shown = warp(torch.cat([image, valid], dim=1), flow).split(1, dim=1)
            total = total + 0.25 * weighted_l1(warped - truth, here * shown.detach() + 1e-6)
    return total

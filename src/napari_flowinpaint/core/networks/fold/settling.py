"""A more regular displacement from what the unfolding network found, without training.

The network sees one place at a time. A fold displaces tissue equally all along its line, and
linearly less with distance (section 3.2 of the paper): fitting such displacements to the network's
averages its errors, and a search around the fit corrects what is left of them. A displacement that
follows every chance similarity always makes a section more similar to its reference than the true
one does, so the fit is taken unless it is worse by more than chance explains.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..blocks import enlarge, gaussian, warp
from .unfolding import cover, evened, towards_tissue

#: All of this is done at a resolution reduced by this factor.
_SHRINK = 4
#: Fits are weighted by a Gaussian around every pixel: widths (px) of the first one and the others.
_FIT = (192.0, 128.0)
#: Deviations of about this many pixels are taken for errors of the network.
_OUTLIER = 3.0
#: Reach of the search around the fit, and width of the Gaussian in which sections are compared
#: there, pixels.
_REACH, _AROUND = 8, 64.0
#: How much less a fit may correlate, as a share of 1 - r^2, the chance variation of a
#: correlation ``r``.
_CHANCE = 0.1


@dataclass(frozen=True)
class _Compared:
    """The images that are compared, shrunken; (1, 1, H, W), the normal (1, 2, H, W)."""

    own: Tensor
    other: Tensor
    distance: Tensor
    normal: Tensor

    def products(self, pull: Tensor) -> tuple[Tensor, Tensor]:
        """Return how alike both are after a displacement, and where the section shows anything."""
        moved = warp(self.own, -pull * self.normal / _SHRINK)
        seen = ((self.distance - pull > 0) & (self.distance > 0)).float()
        return moved * self.other * seen, seen

    def likeness(self, pull: Tensor) -> float:
        """Return how alike both are on the whole."""
        product, seen = self.products(pull)
        return float(product.sum() / seen.sum().clamp_min(1))


def settle(flow: Tensor, degraded: Tensor, reference: Tensor, distance: Tensor) -> Tensor:
    """Return a steadier flow, or the flow itself where no linear displacement fits.

    Parameters
    ----------
    flow
        (1, 2, H, W), what the unfolding network found.
    degraded, reference, distance
        (1, 1, H, W) each, what it has seen. Sides are multiples of 4.
    """
    near = F.avg_pool2d(distance.float(), _SHRINK)
    normal = towards_tissue(near)
    images = (cover(degraded, distance), reference)
    own, other = (evened(F.avg_pool2d(image.float(), _SHRINK)) for image in images)
    compared = _Compared(own, other, near, normal)
    found = -(F.avg_pool2d(flow.float(), _SHRINK) * normal).sum(dim=1, keepdim=True)
    fitted = _fit(found, near, (near - found > 2).float())
    better, likeness = _search(fitted, compared)
    searched = _fit(better, near, (near - fitted > 2) * likeness.clamp_min(0.02).square())
    before, after = compared.likeness(found), compared.likeness(searched)
    if after < before - _CHANCE * (1 - before**2):
        return flow
    return enlarge(-searched * normal, _SHRINK)


def _fit(pull: Tensor, distance: Tensor, weight: Tensor) -> Tensor:
    """Fit displacements (1, 1, H, W) that are linear in the distance to the line, near each pixel.

    Weighted least squares, and again with outliers weighing less.
    """
    away = distance / 64
    weight = (weight * (distance > 0)).clamp_min(1e-3)
    fitted, weights = pull, weight
    for number in range(4):
        width = _FIT[min(number, 1)] / _SHRINK
        layers = [torch.ones_like(pull), away, away.square(), pull, pull * away]
        sums = gaussian(torch.cat([weights * layer for layer in layers], dim=1), width)
        means = sums[:, 1:] / sums[:, :1].clamp_min(1e-8)
        first, second, value, product = means.split(1, dim=1)
        spread = (second - first.square()).clamp_min(0) + 0.02
        fitted = value + (product - first * value) / spread * (away - first)
        weights = weight / (1 + ((pull - fitted) / _OUTLIER).square())
    return fitted.clamp_min(0)


def _search(pull: Tensor, compared: _Compared) -> tuple[Tensor, Tensor]:
    """Return the best displacement near one, to a part of a pixel, and the likeness there."""
    found = []
    for step in range(-_REACH, _REACH + 1):
        product, seen = compared.products(pull + step)
        smooth = gaussian(torch.cat([product, seen], dim=1), _AROUND / _SHRINK)
        found.append(smooth[:, :1] / (smooth[:, 1:] + 1e-3))
    alike = torch.cat(found, dim=1)
    best = alike[:, 1:-1].argmax(dim=1, keepdim=True) + 1
    before, there, after = (alike.gather(1, best + k) for k in (-1, 0, 1))
    curve = (2 * (before - 2 * there + after)).clamp_max(-1e-4)
    part = ((before - after) / curve).clamp(-0.5, 0.5)
    return pull + (best - _REACH).float() + part, there

"""Losses of Extend-GAN (section II-C, equations 3, 4 and 9-12) for one neighbour.

Images are (B, 1, H, W), normalised by the intact pixels of the section. Departures from the paper:

* all is weighted towards the damaged pixels (:data:`~..loss.INTACT`), where the paper takes whole
  images; SSIM is that of the damaged places alone;
* to the L1 distance (eq. 11) come the structure's, and what trains the registration, as for the
  joint network (:mod:`..loss`): the paper's reference is registered beforehand;
* the generator's adversarial loss is minus the mean score (Lim & Ye 2017). Eq. 4 has a ReLU in
  it, whose slope is zero exactly where the discriminator sees through the generator.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ...networks.blocks import gaussian
from ...networks.joint import JointOutput
from ..data import TrainingBatch
from ..loss import joint_loss
from ..paper.losses import to_unit

#: Weights of eq. 12 (section III-A2); that of the reconstruction is 1.
LAMBDA_TRIPLET, LAMBDA_ADV = 0.1, 0.01
#: Margin of eq. 9.
MARGIN = 0.1
#: Width of SSIM's Gaussian windows, pixels, and its constants (Wang et al. 2004).
_WINDOW, _C1, _C2 = 1.5, 0.01**2, 0.03**2


def similarities(truth: Tensor, reference: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
    """Return SSIM with the truth and with the reference of what was drawn, (B, 1, H, W) each.

    In Gaussian windows, on grey values 0..1: SSIM's luminance term wants positive ones.
    """
    o, r, d = (to_unit(image.float()) for image in (truth, reference, drawn))
    local = gaussian(torch.cat([o, r, d, o * o, r * r, d * d, o * d, r * d], dim=1), _WINDOW)
    o, r, d, oo, rr, dd, od, rd = local.split(1, dim=1)

    def similar(a: Tensor, aa: Tensor, ad: Tensor) -> Tensor:
        luminance = (2 * a * d + _C1) / (a * a + d * d + _C1)
        return luminance * (2 * (ad - a * d) + _C2) / (aa - a * a + dd - d * d + _C2)

    return similar(o, oo, od), similar(r, rr, rd)


def triplet_loss(truth: Tensor, reference: Tensor, drawn: Tensor, damaged: Tensor) -> Tensor:
    """Return eq. 9 and 10: the prediction should be nearer to the truth than to the reference.

    Parameters
    ----------
    truth, reference, drawn
        (B, 1, H, W).
    damaged
        (B, 1, H, W), 1 where the section is damaged.
    """
    over = (1, 2, 3)
    total = damaged.sum(dim=over).clamp_min(1e-6)
    near, far = (
        1 - (similar * damaged).sum(dim=over) / total
        for similar in similarities(truth, reference, drawn)
    )
    return F.relu(near - far + MARGIN).mean()


def adversarial_loss(scores: Tensor) -> Tensor:
    """Return what takes the place of eq. 4; see the module's description."""
    return -scores.mean()


def hinge_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Return eq. 3, the discriminator's loss, from its scores of true and completed sections."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def extend_loss(
    output: JointOutput, batch: TrainingBatch, *, triplet: bool, scores: Tensor | None
) -> Tensor:
    """Return eq. 12, the generator's loss.

    Parameters
    ----------
    output
        Of the network.
    batch
        One neighbour of which is silent.
    triplet
        Whether eq. 9 counts.
    scores
        The discriminator's, of the completed sections; None without an adversary.
    """
    loss = joint_loss(output, batch)
    if triplet:
        # the reference is what the drawn image is held away from, not the other way round
        reference = output.warped[0].detach()
        damaged = 1 - batch.known
        loss = loss + LAMBDA_TRIPLET * triplet_loss(batch.truth, reference, output.image, damaged)
    if scores is not None:
        loss = loss + LAMBDA_ADV * adversarial_loss(scores)
    return torch.as_tensor(loss)

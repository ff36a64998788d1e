"""Losses of the paper's two stages (FlowInpaint, section 3.4, equations 13-21).

Images are (B, 1, H, W), normalised by the intact pixels of the section. ``mask`` is 1 where the
section is damaged (the paper's ``1 - m`` of eq. 14, its ``m^`` of eq. 18). All L1 norms are means
over all pixels, so that losses do not depend on the size of a crop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import InputError, first_line
from ...networks.blocks import warp

#: ``w_k`` of eq. 13, finest level first.
LEVEL_WEIGHTS = (1.0, 0.64, 0.32, 0.16, 0.08, 0.04)
#: Weight of the damaged pixels in eq. 14, and in eq. 18; of the adversarial loss in eq. 18-19.
LAMBDA_C, LAMBDA_R, LAMBDA_ADV = 5.0, 6.0, 0.1
#: Features of two images, to compare (eq. 17).
Features = Callable[[Tensor], Sequence[Tensor]]


def reconstruction(image: Tensor, truth: Tensor) -> Tensor:
    """Return eq. 15, the mean absolute difference."""
    return (image - truth).abs().mean()


def to_unit(image: Tensor) -> Tensor:
    """Return a normalised image in 0..1: three standard deviations either way of 0.5."""
    return image / 6 + 0.5


def structural_similarity(image: Tensor, truth: Tensor, window: int = 7) -> Tensor:
    """Return eq. 16, ``1 - SSIM`` in windows of ``window`` pixels (less in smaller images).

    Computed on :func:`to_unit`, for SSIM's luminance term wants grey values that are positive.
    """
    window = min(window, *image.shape[-2:])
    x, z = to_unit(image), to_unit(truth)

    def mean(values: Tensor) -> Tensor:
        return F.avg_pool2d(values, window, stride=1)

    mean_x, mean_z = mean(x), mean(z)
    var_x, var_z = mean(x * x) - mean_x**2, mean(z * z) - mean_z**2
    covariance = mean(x * z) - mean_x * mean_z
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_x * mean_z + c1) / (mean_x**2 + mean_z**2 + c1)
    return 1 - (luminance * (2 * covariance + c2) / (var_x + var_z + c2)).mean()


def perceptual(image: Tensor, truth: Tensor, features: Features) -> Tensor:
    """Return eq. 17, the sum over the layers of mean absolute differences of features."""
    total = torch.zeros((), device=image.device)
    for ours, theirs in zip(features(image), features(truth), strict=True):
        total = total + (ours - theirs).abs().mean()
    return total


def gradient_features(image: Tensor) -> list[Tensor]:
    """Return slopes along both axes at 1, 1/2, 1/4 of the resolution.

    What stands in for VGG16 where no weights file of it is given: edges and their places count,
    grey levels do not. It is not the paper's perceptual loss.
    """
    found = []
    for _ in range(3):
        found += [image[..., 1:, :] - image[..., :-1, :], image[..., 1:] - image[..., :-1]]
        if min(image.shape[-2:]) < 4:
            break
        image = F.avg_pool2d(image, 2)
    return found


class VggFeatures(nn.Module):
    """Features of VGG16 (Simonyan & Zisserman 2015) after relu1_2, relu2_2 and relu3_3.

    Parameters
    ----------
    path
        Weights trained on ImageNet, named as torchvision does (``features.0.weight`` ...), a
        safetensors file or a ``.pth`` file of tensors.

    Raises
    ------
    InputError
        If the file does not hold them.
    """

    _BLOCKS = ((0, 2), (5, 7), (10, 12, 14))
    _WIDTHS = (64, 128, 256)
    mean: Tensor
    deviation: Tensor

    def __init__(self, path: Path) -> None:
        super().__init__()
        tensors = _read_tensors(path)
        blocks, before = [], 3
        for numbers, width in zip(self._BLOCKS, self._WIDTHS, strict=True):
            layers: list[nn.Module] = []
            for number in numbers:
                layer = nn.Conv2d(before, width, 3, padding=1)
                kinds = ("weight", "bias")
                try:
                    layer.load_state_dict({k: tensors[f"features.{number}.{k}"] for k in kinds})
                except (KeyError, RuntimeError):
                    raise InputError(
                        f"{path} does not hold VGG16's 'features.{number}'; give the weights "
                        "that torchvision distributes."
                    ) from None
                layers += [layer, nn.ReLU()]
                before = width
            blocks.append(nn.Sequential(*layers))
        self.blocks = nn.ModuleList(blocks)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))
        self.requires_grad_(False)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the features of (B, 1, H, W)."""
        x = (to_unit(image) - self.mean) / self.deviation
        found = []
        for number, block in enumerate(self.blocks):
            if number > 0 and min(x.shape[-2:]) > 1:
                x = F.max_pool2d(x, 2)
            x = block(x)
            found.append(x)
        return found


def _read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a file of named tensors; a pickle is read without executing anything."""
    import pickle

    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise InputError(
            f"{path} cannot be read as VGG16's weights: {first_line(error)}."
        ) from None
    if not isinstance(tensors, dict):
        raise InputError(f"{path} does not hold VGG16's weights; it must name its tensors.")
    return tensors


def refined_reference_loss(
    pyramid: Sequence[Tensor], initial: Tensor, truth: Tensor, mask: Tensor, features: Features
) -> Tensor:
    """Return ``L_C``, eq. 13 and 14: every level's flow, on images of its own resolution.

    Parameters
    ----------
    pyramid
        Of :class:`~napari_flowinpaint.core.networks.paper.refined_reference.RefinedReference`, at
        most six levels, finest first.
    initial, truth, mask
        (B, 1, H, W).
    features
        What the perceptual loss compares.
    """
    total = torch.zeros((), device=truth.device)
    for level, (flow, weight) in enumerate(zip(pyramid, LEVEL_WEIGHTS, strict=False)):
        x, reference, m = (_shrink(image, 2**level) for image in (truth, initial, mask))
        warped = warp(reference, flow)
        loss = LAMBDA_C * reconstruction(warped * m, x * m)
        loss = loss + reconstruction(warped * (1 - m), x * (1 - m))
        loss = loss + structural_similarity(warped, x) + perceptual(warped, x, features)
        total = total + weight * loss
    return total


def _shrink(image: Tensor, factor: int) -> Tensor:
    return F.avg_pool2d(image, factor, ceil_mode=True)


def generator_loss(
    result: Tensor, truth: Tensor, mask: Tensor, fake_scores: Tensor | None, drawn: Tensor
) -> Tensor:
    """Return ``L_G``, eq. 18.

    Parameters
    ----------
    result, truth, mask
        (B, 1, H, W); the composite of eq. 12.
    fake_scores
        The discriminator's of ``result``; None for the paper's ablation "-GAN".
    drawn
        (B, 1, H, W), what the generator drew outside the mask too: in the composite that part is
        the truth itself, and the first term of eq. 18 would be nothing.
    """
    known = 1 - mask
    loss = reconstruction(drawn * known, truth * known)
    loss = loss + LAMBDA_R * reconstruction(result * mask, truth * mask)
    if fake_scores is not None:
        loss = loss + LAMBDA_ADV * generator_hinge(fake_scores)
    return loss


def generator_hinge(fake_scores: Tensor) -> Tensor:
    """Return eq. 20."""
    return -fake_scores.mean()


def discriminator_loss(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """Return ``L_D``, eq. 19 and 21."""
    fake, real = F.relu(1 + fake_scores).mean(), F.relu(1 - real_scores).mean()
    return LAMBDA_ADV * (fake + real)

"""Distortions of training samples: what differs between real sections, drawn at random.

A stack of a dozen sections shows few deformations, few stainings and little noise; a network that
sees only those memorises the sections.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..networks.blocks import gaussian, warp
from ..types import AnyImage
from .training_masks import training_mask


def crops(sections: list[AnyImage], size: int, rng: np.random.Generator) -> Tensor:
    """Return crops of about the same place, (1, N, size, size) float32, in grey values.

    In a third of them the neighbours are shifted by a few pixels. Another third is resampled:
    rotated by any angle and scaled, the neighbours also slightly rotated and stretched.

    Parameters
    ----------
    sections
        The section and its neighbours, (Y, X) each.
    size
        Side of the crops.
    rng
        Source of randomness.
    """
    resample = rng.random() < 0.35 and min(sections[0].shape) >= int(1.3 * size)
    side = int(1.3 * size) if resample else size
    limits = np.array(sections[0].shape) - side
    corner = rng.integers(limits + 1)
    spread = float(rng.choice([2.0, 8.0])) if rng.random() < 0.35 else 0.0
    found = []
    for number, section in enumerate(sections):
        shift = np.rint(rng.normal(0, spread, 2)).astype(int) if number and spread else 0
        y, x = np.clip(corner + shift, 0, limits)
        found.append(np.ascontiguousarray(section[y : y + side, x : x + side], dtype=np.float32))
    images = torch.from_numpy(np.stack(found))
    return _resampled(images, size, rng) if resample else images[None]


def _resampled(images: Tensor, size: int, rng: np.random.Generator) -> Tensor:
    """Return (N, side, side) images rotated and scaled, (1, N, size, size)."""
    angle = float(rng.uniform(0, np.pi / 2))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    common = rng.uniform(0.7, 1.25) * size / images.shape[-1] * turn
    moves = []
    for number in range(len(images)):
        own = np.eye(2) + rng.normal(0, 0.012, (2, 2)) if number else np.eye(2)
        moves.append(np.concatenate([common @ own, np.zeros((2, 1))], axis=1))
    grid = F.affine_grid(
        torch.from_numpy(np.stack(moves)).float(), [len(images), 1, size, size], align_corners=False
    )
    return F.grid_sample(
        images[:, None], grid, padding_mode="reflection", align_corners=False
    ).transpose(0, 1)


def bend(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Return a neighbour (H, W), half of the time deformed smoothly by some pixels.

    Sections deform as they are cut and laid down.
    """
    if rng.random() >= 0.5:
        return image
    cells, reach = int(rng.integers(3, 9)), float(rng.uniform(0.5, 5))
    coarse = torch.from_numpy(rng.normal(0, reach, (1, 2, cells, cells))).float()
    flow = F.interpolate(coarse, tuple(image.shape), mode="bicubic", align_corners=True)
    return warp(image[None, None], flow)[0, 0]


def normalise(image: Tensor, where: Tensor) -> Tensor:
    """Return an image with mean 0 and standard deviation 1 where ``where`` is true."""
    shown = image[where]
    return (image - shown.mean()) / shown.std().clamp_min(1e-3)


def restain(image: Tensor, curve: float, rng: np.random.Generator) -> Tensor:
    """Return a normalised image (H, W) as another staining and another place would show it.

    Parameters
    ----------
    image
        Normalised.
    curve
        How much brighter the extremes become against the middle greys; negative: darker.
    rng
        Source of the slow change of brightness over the image, which every fourth one has.
    """
    image = image + curve * image.clamp(-2.5, 2.5).square()
    if rng.random() < 0.25:
        coarse = torch.from_numpy(rng.normal(0, rng.uniform(0.1, 0.3), (1, 1, 3, 3))).float()
        slow = F.interpolate(coarse, tuple(image.shape), mode="bicubic", align_corners=True)
        image = image + slow[0, 0]
    return image


def degrade(image: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Return a normalised neighbour as bad as real ones are, and where it is said to be good.

    Both are (H, W); the second is 1 where the first shows something, 0 elsewhere.
    """
    image = image * float(np.exp(rng.normal(0, 0.08))) + float(rng.normal(0, 0.1))
    valid = torch.ones_like(image)
    fate = rng.random()
    if fate < 0.06:
        image = gaussian(image[None, None], float(rng.uniform(0.6, 2)))[0, 0]
    elif fate < 0.12:
        image = image + float(rng.uniform(0.1, 0.5)) * _noise(image, rng)
    elif fate < 0.22:
        gone = torch.from_numpy(training_mask(image.shape[0], rng, (0.05, 0.4)))
        image = torch.where(gone, torch.tensor(float(rng.choice([-2.5, 0.0, 2.5]))), image)
        if rng.random() < 0.7:  # else nobody has noticed
            valid = (~gone).float()
    return image, valid


def roughen(images: list[Tensor], rng: np.random.Generator) -> list[Tensor]:
    """Return the normalised images of a sample, every fourth sample with more noise on all.

    The noise has the grain of sections: of one or of some two pixels.
    """
    if rng.random() >= 0.25:
        return images
    strength = float(rng.uniform(0.1, 0.45))
    blur = float(rng.uniform(0.4, 0.9)) if rng.random() < 0.5 else 0.0
    rough = []
    for image in images:
        noise = _noise(image, rng)
        if blur:
            noise = gaussian(noise[None, None], blur)[0, 0]
            noise = noise / noise.std()
        rough.append(image + strength * noise)
    return rough


def _noise(image: Tensor, rng: np.random.Generator) -> Tensor:
    return torch.from_numpy(rng.standard_normal(tuple(image.shape), dtype=np.float32))


def turned(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Return images (..., H, W), all turned by the same right angle and mirrored, at random."""
    images = torch.rot90(images, int(rng.integers(4)), (-2, -1))
    return images.flip(-1) if rng.random() < 0.5 else images


def polarity(rng: np.random.Generator) -> int:
    """Return the sign of a sample's grey values: negative, bright membranes, for a tenth."""
    return -1 if rng.random() < 0.1 else 1

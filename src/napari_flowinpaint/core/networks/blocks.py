"""What several networks share: warping, cost volumes, low-pass, padding, convolutions.

Shapes: images ``(B, C, H, W)``; a flow is ``(B, 2, H, W)`` in pixels, order ``(dy, dx)``:
``target(x) = source(x + flow(x))``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Cost volumes are computed from products of blocks of this many pixels of a row.
_BLOCK = 16
#: Images with sides up to this many pixels are low-passed by whole matrices in training.
_MOST_DENSE = 640
#: Larger ones by the non-zero band of these matrices, in blocks of this many pixels.
_DENSE_BLOCK = 32


def warp(source: Tensor, flow: Tensor) -> Tensor:
    """Return ``source(x + flow(x))``, bilinear, edges replicated.

    Parameters
    ----------
    source
        (B, C, H, W).
    flow
        (B, 2, H, W), pixels, order (dy, dx).
    """
    height, width = source.shape[-2:]
    flow = flow.float()
    rows = torch.arange(height, device=flow.device, dtype=torch.float32)[:, None]
    columns = torch.arange(width, device=flow.device, dtype=torch.float32)[None, :]
    y = (rows + flow[:, 0]) * (2 / max(height - 1, 1)) - 1
    x = (columns + flow[:, 1]) * (2 / max(width - 1, 1)) - 1
    grid = torch.stack([x, y], dim=-1)
    with torch.autocast(flow.device.type, enabled=False):
        warped = F.grid_sample(
            source.float(), grid, mode="bilinear", padding_mode="border", align_corners=True
        )
    return warped.to(source.dtype)


def correlate(target: Tensor, source: Tensor, radius: int) -> Tensor:
    """Return the cost volume of two feature maps, (B, (2 r + 1)², H, W).

    See :func:`correlate_pairs`.
    """
    return correlate_pairs([target], [source], radius)


def correlate_pairs(targets: Sequence[Tensor], sources: Sequence[Tensor], radius: int) -> Tensor:
    """Return the cost volumes of pairs of feature maps (eq. 4 for every displacement in reach).

    That of pair ``p`` has at ``[b, p * (2 r + 1)**2 + (dy + r) * (2 r + 1) + dx + r, y, x]`` the
    mean over the channels of ``target[b, :, y, x] * source[b, :, y + dy, x + dx]``, zero outside
    the source. All at once is a third faster than pair by pair.

    Parameters
    ----------
    targets, sources
        The pairs, (B, C, H, W) each.
    radius
        Largest displacement ``r`` in pixels.

    Returns
    -------
    Tensor
        (B, P (2 r + 1)², H, W), channels last in memory.
    """
    pairs, batch = len(targets), targets[0].shape[0]
    count, channels, height, width = pairs * batch, *targets[0].shape[1:]
    target, source = torch.cat([*targets]) / channels, torch.cat([*sources])
    side = 2 * radius + 1
    block = min(_BLOCK, width)
    blocks = -(-width // block)
    extra = blocks * block - width
    # rows lead, so that a shift along y is a view; columns in blocks, so that the products that
    # are thrown away (all pairs of a block are formed) stay few
    ours = F.pad(target, (0, extra)).permute(2, 0, 3, 1)
    ours = ours.reshape(height, count * blocks, block, channels)
    theirs = F.pad(source, (radius, radius + extra, radius, radius)).permute(2, 0, 3, 1)
    theirs = theirs.unfold(2, block + 2 * radius, block).flatten(1, 2)
    with torch.autocast(target.device.type, enabled=False):
        # made contiguous once, or every product would do it again
        volume: Tensor = _BandedProducts.apply(
            ours.contiguous(), theirs.to(ours.dtype).contiguous()
        )
    volume = volume.view(height, pairs, batch, blocks * block, side * side)[:, :, :, :width]
    return volume.permute(2, 0, 3, 1, 4).flatten(3).permute(0, 3, 1, 2)


def _band(products: Tensor, side: int) -> Tensor:
    """Return ``[..., w, w : w + side]`` of ``(rows, n, block, block + side - 1)`` as a view."""
    rows, count, block, _ = products.shape
    a, b, c, d = products.stride()
    return products.as_strided((rows, count, block, side), (a, b, c + d, d))


class _BandedProducts(torch.autograd.Function):
    """Products of every pixel with those in reach; written out for a backward in place."""

    @staticmethod
    def forward(ctx: Any, ours: Tensor, theirs: Tensor) -> Tensor:
        """From (H, n, block, C) and (H + 2r, n, C, block + 2r) to (H, n, block, side, side)."""
        ctx.save_for_backward(ours, theirs)
        height, count, block, _ = ours.shape
        side = theirs.shape[0] - height + 1
        out = ours.new_empty((height, count, block, side, side))
        for dy in range(side):
            out[..., dy, :] = _band(torch.matmul(ours, theirs[dy : dy + height]), side)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        """Scatter the band back into full products and multiply with the other side."""
        ours, theirs = ctx.saved_tensors
        height, count, block, _ = ours.shape
        side = theirs.shape[0] - height + 1
        to_ours, to_theirs = ours.new_zeros(ours.shape), theirs.new_zeros(theirs.shape)
        products = ours.new_zeros((height, count, block, block + side - 1))
        band = _band(products, side)
        flat = products.flatten(0, 1)
        turned = ours.flatten(0, 1).transpose(1, 2)
        for dy in range(side):
            band.copy_(grad[..., dy, :])
            there = theirs[dy : dy + height].flatten(0, 1)
            to_ours.flatten(0, 1).baddbmm_(flat, there.transpose(1, 2))
            to_theirs[dy : dy + height].flatten(0, 1).baddbmm_(turned, flat)
        return to_ours, to_theirs


def gaussian(image: Tensor, sigma: float) -> Tensor:
    """Gaussian low-pass of each channel, edges reflected (as :func:`..filters.blur` does).

    Multiplied by a matrix from either side: the backward of a convolution with one channel and a
    long kernel is very slow on CPUs, and took a third of a training step. Most of that matrix is
    zero; where no backward is wanted, the image is cut into blocks that overlap by what the
    kernel reaches, and only the part that is not zero is multiplied.
    """
    with torch.autocast(image.device.type, enabled=False):
        if torch.is_grad_enabled() and max(image.shape[-2:]) <= _MOST_DENSE:
            down, across = (_gaussian_matrix(n, sigma).to(image) for n in image.shape[-2:])
            return down @ image @ across.T
        height, width = image.shape[-2:]
        radius = min(round(4 * sigma), min(height, width) - 1)
        band = _gaussian_band(radius, sigma).to(image)
        out = F.pad(image, (radius,) * 4, mode="reflect")
        out = F.pad(out, (0, -width % _DENSE_BLOCK, 0, -height % _DENSE_BLOCK))
        rows = out.unfold(-1, len(band), _DENSE_BLOCK).contiguous()
        out = (rows @ band).flatten(-2)
        out = (band.T @ out.unfold(-2, len(band), _DENSE_BLOCK).transpose(-1, -2)).flatten(-3, -2)
        return out[..., :height, :width]


def _gaussian_kernel(radius: int, sigma: float) -> Tensor:
    position = torch.arange(-radius, radius + 1, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (position / sigma) ** 2)
    return kernel / kernel.sum()


@lru_cache(maxsize=32)
def _gaussian_band(radius: int, sigma: float) -> Tensor:
    """Return the matrix that low-passes a block of ``_DENSE_BLOCK + 2 * radius`` pixels."""
    with torch.inference_mode(False):
        kernel = _gaussian_kernel(radius, sigma)
        last = _DENSE_BLOCK - 1
        return torch.stack([F.pad(kernel, (i, last - i)) for i in range(_DENSE_BLOCK)], dim=1)


@lru_cache(maxsize=32)
def _gaussian_matrix(length: int, sigma: float) -> Tensor:
    """Return the (length, length) matrix of a low-pass along one side, edges reflected."""
    radius = min(round(4 * sigma), length - 1)
    with torch.inference_mode(False):  # what is kept may be trained with later
        rows = F.pad(torch.eye(length)[:, None], (radius, radius), mode="reflect")
        kernel = _gaussian_kernel(radius, sigma).view(1, 1, -1)
        return F.conv1d(rows, kernel)[:, 0].T.contiguous()


def pad_to(image: Tensor, multiple: int) -> Tensor:
    """Pad right and bottom, edges replicated, to whole multiples; crop the output back."""
    height, width = image.shape[-2:]
    padding = (0, -width % multiple, 0, -height % multiple)
    return F.pad(image, padding, mode="replicate") if any(padding) else image


def as_computed(image: Tensor) -> Tensor:
    """Round to what a convolution under autocast would round to, before moving it about."""
    kind = image.device.type
    return image.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else image


def join(*features: Tensor) -> Tensor:
    """Concatenate feature maps along their channels, channels last in memory.

    Convolutions want them so, and maps of one type laid out alike are joined many times faster.
    """
    height, width = features[0].shape[-2:]
    flat = [part.permute(0, 2, 3, 1).flatten(1, 2).contiguous() for part in features]
    return torch.cat(flat, dim=-1).unflatten(1, (height, width)).permute(0, 3, 1, 2)


def enlarge(image: Tensor, factor: int) -> Tensor:
    """Enlarge bilinearly."""
    return F.interpolate(image, scale_factor=factor, mode="bilinear", align_corners=False)


class Conv3(nn.Conv2d):
    """A 3 × 3 convolution that can be trained on CPUs under autocast, dilated or not.

    On CPUs that compute bfloat16 without tiles the gradient of a dilated convolution's weights is
    NaN (torch 2.13), and a training skips such steps; so these are computed in single precision
    where a gradient is wanted.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__(inputs, outputs, 3, stride, padding=dilation, dilation=dilation)

    def forward(self, image: Tensor) -> Tensor:
        """Return (B, outputs, H / stride, W / stride)."""
        if self.dilation == (1, 1) or image.device.type != "cpu" or not torch.is_grad_enabled():
            return super().forward(image)
        with torch.autocast("cpu", enabled=False):
            out = super().forward(image.float())
        return as_computed(out)


def conv(inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """Return a 3 × 3 convolution and its activation."""
    return nn.Sequential(
        Conv3(inputs, outputs, stride, dilation),
        nn.LeakyReLU(0.1, inplace=True),
    )


class Pyramid(nn.Module):
    """Features of an image at ever lower resolutions: a convolution and a body per level.

    Parameters
    ----------
    inputs
        Channels of the image.
    channels
        Of the levels, finest first.
    first
        Stride of the first level: 1 starts at the image's resolution, 2 at half of it. Every
        further level halves it.
    body
        Makes the second part of a level from its number of channels; None is a convolution.
    """

    def __init__(
        self,
        inputs: int,
        channels: tuple[int, ...],
        first: int,
        body: Callable[[int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        steps = zip((inputs, *channels[:-1]), channels, strict=True)
        self.levels = nn.ModuleList(
            nn.Sequential(
                conv(before, after, stride=first if level == 0 else 2),
                conv(after, after) if body is None else body(after),
            )
            for level, (before, after) in enumerate(steps)
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the levels, finest first, of (B, inputs, H, W)."""
        levels = []
        for level in self.levels:
            image = level(image)
            levels.append(image)
        return levels


def hide(section: Tensor, mask: Tensor) -> Tensor:
    """Return the section with zeros (the mean of its intact pixels) where it is damaged."""
    return torch.where(mask > 0.5, torch.zeros((), device=section.device), section)


def pad_mask(mask: Tensor, multiple: int) -> Tensor:
    """Pad a mask (1 = damaged) as :func:`pad_to` pads its image; the padding counts as damaged."""
    height, width = mask.shape[-2:]
    damaged = (mask > 0.5).float()
    return F.pad(damaged, (0, -width % multiple, 0, -height % multiple), value=1.0)


def intact_statistics(section: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation, (B, 1, 1, 1) each, of the intact pixels.

    Networks see ``(image - mean) / deviation``: one channel, zero mean, unit variance, and no
    knowledge of what the mask hides. A section without intact pixels has mean 0, deviation 1.

    Parameters
    ----------
    section, mask
        (B, 1, H, W); the mask is 1 or True where damaged.
    """
    intact = mask <= 0.5
    count = intact.sum(dim=(1, 2, 3), keepdim=True).clamp_min(1)
    zero = torch.zeros((), device=section.device)
    mean = torch.where(intact, section, zero).sum(dim=(1, 2, 3), keepdim=True) / count
    off = torch.where(intact, section - mean, zero)
    deviation = (off.square().sum(dim=(1, 2, 3), keepdim=True) / count).sqrt()
    return mean, torch.where(deviation > 1e-3, deviation, torch.ones_like(deviation))


def same_length(features: Tensor) -> Tensor:
    """Bring feature vectors to the length sqrt(C), so that a match has a mean product of 1."""
    return features * torch.rsqrt(features.square().mean(dim=1, keepdim=True) + 1e-4)

"""Contextual attention: missing patches rebuilt from known ones (FlowInpaint, eq. 8-10).

After Yu et al. 2018. Every 3 x 3 patch centred in the missing region is compared by cosine
similarity (eq. 8) with patches of the known region; the softmax of the similarities over the
known patches (eq. 9) weights their average (eq. 10). Where rebuilt patches overlap, a pixel gets
their mean. Known pixels stay as they are.

Memory is bounded: missing patches are processed in portions, and a map with more than ``keys``
patches offers only those of a regular grid as sources.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

#: Similarities (or numbers of patches) held at once, per sample: 16 MiB.
_PORTION = 4 * 1024 * 1024


def attend(features: Tensor, mask: Tensor, *, sharpness: float = 1.0, keys: int = 4096) -> Tensor:
    """Return the features with the missing ones rebuilt from the known ones.

    Parameters
    ----------
    features
        (B, C, H, W).
    mask
        (B, 1, H, W), 1 or True = missing.
    sharpness
        Factor on the similarities before the softmax: 1 is eq. 9; larger copies rather than
        averages.
    keys
        Most known patches to choose from.

    Returns
    -------
    Tensor
        (B, C, H, W). A sample without any known pixel is returned as it is.
    """
    missing = mask > 0.5
    most = int(missing.flatten(1).sum(dim=1).max())
    if most == 0:
        return features
    with torch.autocast(features.device.type, enabled=False):
        rebuilt = _rebuilt_map(features.float(), missing, most, sharpness, keys)
    known_somewhere = ~missing.flatten(1).all(dim=1)
    wanted = missing & known_somewhere[:, None, None, None]
    return torch.where(wanted, rebuilt.to(features.dtype), features)


def _rebuilt_map(
    features: Tensor, missing: Tensor, most: int, sharpness: float, keys: int
) -> Tensor:
    """Return (B, C, H, W), right where ``missing``; at most ``most`` pixels of a sample are."""
    height, width = features.shape[-2:]
    flat = F.pad(features, (1, 1, 1, 1)).flatten(2)
    sources, usable = _sources(missing, keys)
    theirs = _patches(flat, _around(sources, width))
    unit = F.normalize(theirs, dim=-1)  # k_i / |k_i|
    bias = torch.where(usable, 0.0, -torch.inf).to(features.dtype)[:, None]
    # missing pixels first, in order; a sample with fewer than another has known ones behind
    order = missing.flatten(1).int().argsort(dim=1, descending=True, stable=True)[:, :most]
    wanted = missing.flatten(1).gather(1, order)

    total, count = torch.zeros_like(flat), torch.zeros_like(flat[:, :1])
    portion = max(1, _PORTION // max(theirs.shape[1:]))
    for first in range(0, most, portion):
        pixels = order[:, first : first + portion]
        share = wanted[:, first : first + portion, None].to(flat.dtype)
        around = _around(pixels, width)
        if torch.is_grad_enabled() and flat.requires_grad:
            rebuilt = checkpoint(
                _rebuild, flat, around, theirs, unit, bias, sharpness, use_reentrant=False
            )
        else:
            rebuilt = _rebuild(flat, around, theirs, unit, bias, sharpness)
        rebuilt = rebuilt.unflatten(-1, (-1, 9)) * share[..., None]
        for place in range(9):
            # the places of one offset differ from each other, so that the order of adding, and
            # the result to the last bit, is always the same
            index = around[:, :, place][:, None]
            values = rebuilt[..., place].transpose(1, 2)
            total.scatter_add_(2, index.expand_as(values), values)
            count.scatter_add_(2, index, share.transpose(1, 2))
    mean = total / count.clamp_min(1)
    return mean.unflatten(2, (height + 2, width + 2))[..., 1:-1, 1:-1]


def _sources(missing: Tensor, keys: int) -> tuple[Tensor, Tensor]:
    """Return the pixels whose patches may serve, (B, K), and which of them do, (B, K) bool.

    Patches without any missing pixel serve. Where a sample has none, those centred in the known
    region do.
    """
    height, width = missing.shape[-2:]
    step = 1
    while -(-height // step) * -(-width // step) > keys:
        step += 1
    rows = torch.arange(step // 2, height, step, device=missing.device)
    columns = torch.arange(step // 2, width, step, device=missing.device)
    grid = (rows[:, None] * width + columns).flatten().expand(len(missing), -1)
    touched = F.max_pool2d(missing.float(), 3, 1, 1) > 0
    whole = ~touched.flatten(1).gather(1, grid)
    centred = ~missing.flatten(1).gather(1, grid)
    usable = torch.where(whole.any(dim=1, keepdim=True), whole, centred)
    # nothing known on the grid: any source, lest the softmax be of nothing
    return grid, usable | ~usable.any(dim=1, keepdim=True)


def _around(pixels: Tensor, width: int) -> Tensor:
    """Return the 3 x 3 pixels around each, in the map padded by one: (B, N) to (B, N, 9)."""
    row, column = pixels // width, pixels % width
    step = torch.arange(3, device=pixels.device)
    rows, columns = row[..., None, None] + step[:, None], column[..., None, None] + step
    return (rows * (width + 2) + columns).flatten(2)


def _patches(flat: Tensor, around: Tensor) -> Tensor:
    """Return patches (B, N, C * 9) of a padded, flattened map (B, C, P)."""
    batch, channels = flat.shape[:2]
    index = around.flatten(1)[:, None].expand(-1, channels, -1)
    patches = flat.gather(2, index).view(batch, channels, -1, 9)
    return patches.permute(0, 2, 1, 3).flatten(2)


def _rebuild(
    flat: Tensor, around: Tensor, theirs: Tensor, unit: Tensor, bias: Tensor, sharpness: float
) -> Tensor:
    """Return the rebuilt patches, (B, N, C * 9), eq. 8-10."""
    ours = F.normalize(_patches(flat, around), dim=-1)
    similarity = torch.baddbmm(bias, ours, unit.transpose(1, 2), alpha=sharpness)
    return torch.softmax(similarity, dim=-1) @ theirs

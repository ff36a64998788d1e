"""InceptionV3 up to its pooled features, for the Fréchet inception distance (FID).

Szegedy, Vanhoucke, Ioffe, Shlens, Wojna 2016, "Rethinking the inception architecture for computer
vision", table 1. No weights come with this package. The file that is given holds a state dict with
the names that torchvision's ``inception_v3`` and the FID port of the original TensorFlow network
(``pt_inception-2015-12-05``) share: ``Conv2d_1a_3x3.conv.weight``, ``Conv2d_1a_3x3.bn.weight``,
``Mixed_5b.branch1x1.conv.weight`` and so on, ``fc.weight``. The two differ in three details of
the pooling and are told apart by the number of classes: 1008 for the FID port, whose distances are
those in the literature, 1000 for torchvision. ``AuxLogits`` is not needed.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import InputError, first_line
from ...types import FloatImage

#: Pixels of a side, and numbers per image.
SIDE, FEATURES = 299, 2048
_FID_CLASSES, _CLASSES = 1008, 1000
_BATCH = 16

_Kernel = int | tuple[int, int]
#: A convolution: name, channels out, kernel, stride. Padded to keep the size unless stride is 2.
_Conv = tuple[str, int, _Kernel, int]
_WIDE, _TALL = (1, 7), (7, 1)


class _ConvNorm(nn.Module):
    """Convolution, batch normalisation, ReLU."""

    def __init__(
        self, channels: int, out: int, kernel: _Kernel, stride: int = 1, pad: bool = True
    ) -> None:
        super().__init__()
        sides = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (sides[0] // 2, sides[1] // 2) if pad else (0, 0)
        self.conv = nn.Conv2d(channels, out, sides, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


class _Mixed(nn.Module):
    """Parallel chains of convolutions beside a pooled branch, concatenated.

    Parameters
    ----------
    channels
        Channels in.
    chains
        Chains of convolutions. Where two names are given as ``"a|b"``, with kernels 1 x 3 and
        3 x 1, both see the same input and are concatenated (the last stage of type E).
    pooled
        Channels of the convolution after the pooling; 0 where the pooling (stride 2) is all.
    pooling
        ``"average"`` counts the padding, ``"inside"`` does not, ``"max"``.
    """

    def __init__(
        self, channels: int, chains: tuple[tuple[_Conv, ...], ...], pooled: int, pooling: str
    ) -> None:
        super().__init__()
        self.pooling, self.pooled = pooling, pooled
        self.chains = [[conv[0].split("|") for conv in chain] for chain in chains]
        for chain in chains:
            width = channels
            for names, out, kernel, stride in chain:
                pair = names.split("|")
                kernels: list[_Kernel] = [kernel] if len(pair) == 1 else [(1, 3), (3, 1)]
                for name, sides in zip(pair, kernels, strict=True):
                    self.add_module(name, _ConvNorm(width, out, sides, stride, stride == 1))
                width = out
        if pooled:
            self.branch_pool = _ConvNorm(channels, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        found = []
        for chain in self.chains:
            image = x
            for names in chain:
                image = torch.cat([self.get_submodule(name)(image) for name in names], dim=1)
            found.append(image)
        return torch.cat([*found, self._pool(x)], dim=1)

    def _pool(self, x: Tensor) -> Tensor:
        if not self.pooled:
            return F.max_pool2d(x, 3, 2)
        if self.pooling == "max":
            return self.branch_pool(F.max_pool2d(x, 3, 1, 1))
        inside = self.pooling == "inside"
        return self.branch_pool(F.avg_pool2d(x, 3, 1, 1, count_include_pad=not inside))


def _block_a(channels: int, pooled: int, pooling: str) -> _Mixed:
    """Return a block of 35 x 35 pixels (figure 5)."""
    chains: tuple[tuple[_Conv, ...], ...] = (
        (("branch1x1", 64, 1, 1),),
        (("branch5x5_1", 48, 1, 1), ("branch5x5_2", 64, 5, 1)),
        (
            ("branch3x3dbl_1", 64, 1, 1),
            ("branch3x3dbl_2", 96, 3, 1),
            ("branch3x3dbl_3", 96, 3, 1),
        ),
    )
    return _Mixed(channels, chains, pooled, pooling)


def _block_c(width: int, pooling: str) -> _Mixed:
    """Return a block of 17 x 17 pixels (figure 6)."""
    chains: tuple[tuple[_Conv, ...], ...] = (
        (("branch1x1", 192, 1, 1),),
        (
            ("branch7x7_1", width, 1, 1),
            ("branch7x7_2", width, _WIDE, 1),
            ("branch7x7_3", 192, _TALL, 1),
        ),
        (
            ("branch7x7dbl_1", width, 1, 1),
            ("branch7x7dbl_2", width, _TALL, 1),
            ("branch7x7dbl_3", width, _WIDE, 1),
            ("branch7x7dbl_4", width, _TALL, 1),
            ("branch7x7dbl_5", 192, _WIDE, 1),
        ),
    )
    return _Mixed(768, chains, 192, pooling)


def _block_e(channels: int, pooling: str) -> _Mixed:
    """Return a block of 8 x 8 pixels (figure 7)."""
    chains: tuple[tuple[_Conv, ...], ...] = (
        (("branch1x1", 320, 1, 1),),
        (("branch3x3_1", 384, 1, 1), ("branch3x3_2a|branch3x3_2b", 384, 3, 1)),
        (
            ("branch3x3dbl_1", 448, 1, 1),
            ("branch3x3dbl_2", 384, 3, 1),
            ("branch3x3dbl_3a|branch3x3dbl_3b", 384, 3, 1),
        ),
    )
    return _Mixed(channels, chains, 192, pooling)


#: The blocks that halve the image.
_BLOCK_B: tuple[tuple[_Conv, ...], ...] = (
    (("branch3x3", 384, 3, 2),),
    (("branch3x3dbl_1", 64, 1, 1), ("branch3x3dbl_2", 96, 3, 1), ("branch3x3dbl_3", 96, 3, 2)),
)
_BLOCK_D: tuple[tuple[_Conv, ...], ...] = (
    (("branch3x3_1", 192, 1, 1), ("branch3x3_2", 320, 3, 2)),
    (
        ("branch7x7x3_1", 192, 1, 1),
        ("branch7x7x3_2", 192, _WIDE, 1),
        ("branch7x7x3_3", 192, _TALL, 1),
        ("branch7x7x3_4", 192, 3, 2),
    ),
)


class InceptionV3(nn.Module):
    """InceptionV3 without its classifier.

    Parameters
    ----------
    fid
        Whether to pool as the FID port of the original network does: averages do not count the
        padding, the last block takes the maximum. Otherwise as torchvision.
    """

    def __init__(self, fid: bool = True) -> None:
        super().__init__()
        pooling = "inside" if fid else "average"
        self.Conv2d_1a_3x3 = _ConvNorm(3, 32, 3, 2, pad=False)
        self.Conv2d_2a_3x3 = _ConvNorm(32, 32, 3, pad=False)
        self.Conv2d_2b_3x3 = _ConvNorm(32, 64, 3)
        self.Conv2d_3b_1x1 = _ConvNorm(64, 80, 1)
        self.Conv2d_4a_3x3 = _ConvNorm(80, 192, 3, pad=False)
        self.Mixed_5b = _block_a(192, 32, pooling)
        self.Mixed_5c = _block_a(256, 64, pooling)
        self.Mixed_5d = _block_a(288, 64, pooling)
        self.Mixed_6a = _Mixed(288, _BLOCK_B, 0, "max")
        self.Mixed_6b = _block_c(128, pooling)
        self.Mixed_6c = _block_c(160, pooling)
        self.Mixed_6d = _block_c(160, pooling)
        self.Mixed_6e = _block_c(192, pooling)
        self.Mixed_7a = _Mixed(768, _BLOCK_D, 0, "max")
        self.Mixed_7b = _block_e(1280, pooling)
        self.Mixed_7c = _block_e(2048, "max" if fid else pooling)

    def forward(self, images: Tensor) -> Tensor:
        """Return the pooled features.

        Parameters
        ----------
        images
            (N, 3, 299, 299), black -1 to white 1.

        Returns
        -------
        Tensor
            (N, 2048).
        """
        x = images
        for name, layer in self.named_children():
            x = layer(x)
            if name in ("Conv2d_2b_3x3", "Conv2d_4a_3x3"):
                x = F.max_pool2d(x, 3, 2)
        return x.mean(dim=(2, 3))

    def describe(self, tiles: FloatImage, device: str = "cpu") -> npt.NDArray[np.float64]:
        """Return the features of grey tiles.

        Parameters
        ----------
        tiles
            (N, H, W) grey values, black 0 to white 1. Stretched to 299 pixels (bilinear), all
            three colours alike.
        device
            Where the network lies.

        Returns
        -------
        ndarray
            (N, 2048) float64.
        """
        found = []
        with torch.inference_mode():
            for start in range(0, len(tiles), _BATCH):
                images = torch.from_numpy(tiles[start : start + _BATCH])[:, None].to(device)
                images = F.interpolate(images, (SIDE, SIDE), mode="bilinear", align_corners=False)
                found.append(self((images * 2 - 1).expand(-1, 3, -1, -1)).double().cpu().numpy())
        return np.concatenate(found) if found else np.zeros((0, FEATURES))


def load_inception(path: Path, device: str = "cpu") -> InceptionV3:
    """Return the network with the weights of a file.

    Parameters
    ----------
    path
        Safetensors, or a state dict saved by torch (read as weights only: nothing in it is
        executed). Names: see the head of this module.
    device
        Where to put it.

    Raises
    ------
    InputError
        If the file cannot be read, or holds another network.
    """
    state = _read_state(path)
    classes = state.get("fc.bias", torch.zeros(0)).numel()
    if classes not in (_FID_CLASSES, _CLASSES):
        raise InputError(
            f"{path.name} does not hold InceptionV3: 'fc.bias' should have {_FID_CLASSES} numbers "
            f"(FID port) or {_CLASSES} (torchvision), not {classes}; give such a state dict"
        )
    with torch.device("meta"):
        net = InceptionV3(fid=classes == _FID_CLASSES)
    wanted = net.state_dict()
    counters = {name for name in wanted if name.endswith("num_batches_tracked")}
    for name in wanted.keys() - counters:
        shape = tuple(state[name].shape) if name in state else None
        if shape != tuple(wanted[name].shape):
            raise InputError(
                f"{path.name} does not hold InceptionV3: '{name}' should be "
                f"{tuple(wanted[name].shape)}, not {shape or 'absent'}"
            )
    tensors = {name: state[name].float() for name in wanted.keys() - counters}
    tensors |= dict.fromkeys(counters, torch.tensor(0))
    net.load_state_dict(tensors, assign=True)
    return net.eval().to(device)


def _read_state(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise InputError(
            f"{path} cannot be read as InceptionV3 weights: {first_line(error)}"
        ) from None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputError(f"{path.name} holds no state dict; save net.state_dict()")
    return state

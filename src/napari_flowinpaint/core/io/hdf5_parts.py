"""What a stack in an HDF5 file is made of, where a program keeps it in several datasets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..types import AnyImage, VoxelSize
from .metadata import Metadata

#: Finds an object by its name as far as links may be followed; None where there is none.
Find = Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class StackLayout:
    """A stack in an HDF5 file.

    Parameters
    ----------
    sources
        The pyramid, full resolution first, as :class:`PartOfDataset` or datasets.
    scales
        Size of a voxel of every level in voxels of the first, (z, y, x).
    voxel_size
        z, y, x in nm, or None.
    metadata
        What is carried along.
    """

    sources: tuple[Any, ...]
    scales: tuple[tuple[float, float, float], ...]
    voxel_size: VoxelSize | None = None
    metadata: Metadata = field(default_factory=Metadata)


class PartOfDataset:
    """The leading part of a dataset, its numbers of the type that they are meant as.

    Parameters
    ----------
    dataset
        An ``h5py.Dataset`` of three axes.
    shape
        Of the part; not larger than the dataset.
    dtype
        Of the same size as that of the dataset.
    """

    def __init__(self, dataset: Any, shape: Sequence[int], dtype: Any) -> None:
        self.dataset = dataset
        self.shape = tuple(shape)
        self.ndim = len(self.shape)
        self.chunks = dataset.chunks
        order = np.dtype(dataset.dtype).byteorder
        self.dtype = np.dtype(dtype).newbyteorder(order)

    def __getitem__(self, key: tuple[Any, ...]) -> AnyImage:
        within = tuple(
            slice(*k.indices(n)) if isinstance(k, slice) else range(n)[k]
            for k, n in zip(key, self.shape, strict=True)
        )
        return np.asarray(self.dataset[within]).view(self.dtype)

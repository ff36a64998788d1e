"""Arrays that tensorstore reads: N5 and Neuroglancer *precomputed*, in a local folder, read-only.

tensorstore follows links; so every file that a region needs is looked at before it is read, and a
link in its place is refused. It unpacks no more of a chunk than the metadata say it has.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..disk.folder import Folder
from ..errors import InputError
from ..types import AnyImage

#: ``files(region)``: the names of the files that hold it, from the folder of the array on.
Files = Callable[[Sequence[range]], Iterator[tuple[str, ...]]]


class TensorStoreArray:
    """An array of tensorstore, with the axes reversed to those of NumPy and from 0 on.

    Parameters
    ----------
    store
        A ``tensorstore.TensorStore`` with the axes ``x, y, z, …``.
    folder
        Of the array, held open.
    files
        Which files hold a region, given as one range per axis ``x, y, z, …`` from 0 on.
    """

    def __init__(self, store: Any, folder: Folder, files: Files) -> None:
        import tensorstore

        every = tensorstore.d[:]
        self._store = store[every.translate_to[(0,) * store.rank]].T
        self._folder, self._files = folder, files
        self.shape = tuple(int(n) for n in self._store.shape)
        self.ndim = len(self.shape)
        self.dtype = np.dtype(store.dtype.numpy_dtype)
        self.chunks = tuple(int(n) for n in reversed(store.chunk_layout.read_chunk.shape))

    def __getitem__(self, key: tuple[Any, ...]) -> AnyImage:
        ranges = [
            range(n)[k] if isinstance(k, slice) else range(range(n)[k], range(n)[k] + 1)
            for k, n in zip(key, self.shape, strict=True)
        ]
        for *parents, name in self._files(ranges[::-1]):
            self._check(parents, name)
        within = tuple(
            slice(r.start, r.stop, r.step) if isinstance(k, slice) else r.start
            for k, r in zip(key, ranges, strict=True)
        )
        return np.asarray(self._store[within].read().result())

    def _check(self, parents: Sequence[str], name: str) -> None:
        """Refuse a link in place of a file, or on the way to it."""
        try:
            with self._folder.folder(*parents) as parent:
                parent.is_file(name)
        except (FileNotFoundError, NotADirectoryError):
            return  # a chunk that is not stored


def grid(region: Sequence[range], chunk: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Yield the grid positions of the chunks that hold a region."""
    axes = []
    for wanted, size in zip(region, chunk, strict=True):
        if not len(wanted):
            return
        ends = (wanted[0], wanted[-1])
        axes.append(range(min(ends) // size, max(ends) // size + 1))
    yield from itertools.product(*axes)


def open_tensorstore(path: Path, driver: str, **options: Any) -> Any:
    """Return an array as tensorstore opens it.

    Parameters
    ----------
    path
        Folder of the array.
    driver
        ``"n5"`` or ``"neuroglancer_precomputed"``.
    **options
        Of the driver.

    Raises
    ------
    InputError
        If tensorstore is not installed.
    """
    try:
        import tensorstore
    except ImportError as error:
        kind = "an N5" if driver == "n5" else "a Neuroglancer precomputed"
        raise InputError(
            f"{path} is {kind} volume, which needs another package to be read: "
            'pip install "napari-flowinpaint[formats]".'
        ) from error
    spec = {"driver": driver, "kvstore": {"driver": "file", "path": f"{path}/"}, **options}
    # Nothing is kept: what another program writes meanwhile is seen.
    return tensorstore.open(spec, read=True, open=True).result()

"""The masks of a detection: an NGFF label image, one integer per kind, and what goes with it.

While a detection runs everything lies in a hidden folder beside the target: the label image, one
line per finished section in ``sections.jsonl``, and the request. A run that was interrupted goes on
there. When all is done the label image gets its name in one step, and the folder goes.

Only chunks with damage are stored. A pixel of a reduced level has a label if any pixel below it
has; the largest where there are several.
"""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .. import folders
from ..errors import InputError, StoreError
from ..export import check_target, create_image, move_into_place
from ..io import durable
from ..kinds import KINDS
from ..types import Box

if TYPE_CHECKING:
    from ..io.stack import Stack

Labels = npt.NDArray[np.uint8]

#: The grid on which it is noted where a section is damaged: this many tiles a side.
TILES = 32
_RECORD = "flowinpaint-detection"
#: Seconds between two times that the list of finished sections is forced to disk. A process that
#: is killed loses nothing by it; a machine that fails, so much work.
_SYNC_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Found:
    """Damage of one kind in one section, as it is remembered.

    Parameters
    ----------
    kind, score
        As in :class:`~napari_flowinpaint.core.detection.detect_section.KindDamage`.
    pixels
        How many are damaged.
    tiles
        Which tiles of a grid of 32 x 32 have damage: bits, row by row, hexadecimal.
    """

    kind: str
    score: float
    pixels: int
    tiles: str


def tiles_of(mask: npt.NDArray[np.bool_]) -> str:
    """Return which tiles of the grid a mask touches."""
    rows, columns = (np.linspace(0, n, TILES + 1).astype(int)[:-1] for n in mask.shape)
    ends = [*rows[1:], mask.shape[0]]
    # a tile of a small section may have no row of its own: it takes the next one
    lines = [mask[a : max(b, a + 1)].any(axis=0) for a, b in zip(rows, ends, strict=True)]
    some = np.logical_or.reduceat(lines, columns, axis=1)
    return np.packbits(some).tobytes().hex()


def check_output(stack: Stack, output: Path, overwrite: bool) -> None:
    """Refuse masks that must not be written there, as :func:`~..export.check_target` does.

    What a run left that was killed when its masks had got their name is no reason.
    """
    target = Path(os.path.realpath(output.expanduser()))
    if not (target.exists() and _is_left_over(target)):
        check_target(stack, target, overwrite=overwrite)


def _is_left_over(target: Path) -> bool:
    """Return whether a run left its folder without masks: it has finished, or just begun."""
    folder = folders.unfinished_detection(target)
    return folder.is_dir() and not (folder / "masks").exists()


class DetectionStore:
    """A detection in the making.

    Parameters
    ----------
    stack
        What is searched.
    target
        The label image to be.
    request
        What was asked for, plain JSON types. What is there of a run with another request is
        thrown away.
    """

    def __init__(self, stack: Stack, target: Path, request: Mapping[str, Any]) -> None:
        self.target = target
        self.folder = folders.unfinished_detection(target)
        self._request = json.dumps(dict(request), sort_keys=True)
        self._synced = 0.0
        self._stack = stack
        self._lock = Lock()
        self._arrays: list[Any] = []
        self._lines: io.FileIO
        self.finished: dict[int, list[Found]] = {}

    @contextmanager
    def working(self) -> Iterator[None]:
        """Create or continue the folder, and keep others out, while the block runs.

        Raises
        ------
        StoreError
            If another process is at it, or the folder cannot be written to.
        """
        try:
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise StoreError(f"{self.folder} cannot be made ({error.strerror}).") from error
        with durable.locked(self.folder, self.target):
            self._open()
            # one line is one write, without a buffer that a kill would empty
            with (self.folder / "sections.jsonl").open("ab", buffering=0) as self._lines:
                yield

    def _open(self) -> None:
        import zarr

        request = self.folder / "request.json"
        masks = self.folder / "masks"
        same = request.is_file() and request.read_text(encoding="utf-8") == self._request
        if not (same and (masks / "zarr.json").is_file()):
            for old in (request, masks, self.folder / "sections.jsonl"):
                durable.remove(old)
            create_image(
                masks,
                self.target.name.removesuffix(".zarr"),
                self._stack.shape,
                np.dtype(np.uint8),
                self._stack.voxel_size,
            )
            durable.put_file(request, self._request.encode(), self.folder)
        else:
            for part in masks.rglob("*.partial"):  # zarr was killed while it wrote a chunk
                part.unlink()
        levels = dict(zarr.open_group(str(masks), mode="r+").arrays())
        self._arrays = [levels[name] for name in sorted(levels, key=int)]
        self.finished = self._read_finished()

    def _read_finished(self) -> dict[int, list[Found]]:
        """Return what is known of finished sections; drop a line that a kill cut short."""
        path = self.folder / "sections.jsonl"
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        finished = {}
        good = b""
        for line in lines:
            if not line.endswith(b"\n"):
                break
            try:
                record = json.loads(line)
                finished[int(record["section"])] = [Found(**f) for f in record["found"]]
            except (ValueError, KeyError, TypeError):
                break
            good += line
        if lines and good != b"".join(lines):
            durable.put_file(path, good, self.folder)
        return finished

    def finish(self, z: int, labels: Labels | None, found: list[Found]) -> None:
        """Keep what was found in a section: first its pixels, then that it is done.

        Parameters
        ----------
        z
            Section number.
        labels
            (Y, X) uint8, 0 where intact; None where all of it is.
        found
            One per kind.
        """
        if labels is not None:
            for array in self._arrays:
                for box in _touched(labels, array.chunks[1:]):
                    array[(z, *box.slices)] = labels[box.slices]
                labels = _halve(labels)
        record = {"section": z, "found": [asdict(f) for f in found]}
        line = json.dumps(record).encode() + b"\n"
        with self._lock:
            self._lines.write(line)
            if time.monotonic() > self._synced + _SYNC_SECONDS:
                os.fsync(self._lines.fileno())
                self._synced = time.monotonic()
            self.finished[z] = found

    def complete(self, record: Mapping[str, Any], *, overwrite: bool) -> None:
        """Add metadata and give the label image its name.

        Parameters
        ----------
        record
            Kept in the attributes of the label image, for :func:`read_detection`; with the
            request, by which :meth:`is_complete` knows it.
        overwrite
            Whether an existing store of this name is replaced.
        """
        import zarr

        masks = self.folder / "masks"
        group = zarr.open_group(str(masks), mode="r+")
        attributes: dict[str, Any] = dict(group.attrs)
        ome = dict(attributes["ome"])
        ome["image-label"] = self._image_label()
        kept = {**record, "request": json.loads(self._request)}
        group.attrs.put({"ome": ome, _RECORD: kept})
        move_into_place(masks, self.target, overwrite)

    def is_complete(self) -> bool:
        """Return whether all is done but for the folder: a kill came after :meth:`complete`."""
        if not _is_left_over(self.target):
            return False
        try:
            return bool(read_detection(self.target)["request"] == json.loads(self._request))
        except (InputError, KeyError):
            return False

    def discard(self) -> None:
        """Remove the folder; call it when nobody is :meth:`working` any more."""
        durable.remove(self.folder)

    def _image_label(self) -> dict[str, Any]:
        from yaozarrs import v05

        label: dict[str, Any] = {
            "version": "0.5",
            "colors": [{"label-value": k.label, "rgba": list(k.colour)} for k in KINDS.values()],
            "properties": [
                {"label-value": k.label, "kind": k.name, "description": k.words}
                for k in KINDS.values()
            ],
        }
        where = self._stack.group_path
        if where is not None:
            label["source"] = {"image": Path(os.path.relpath(where, self.target)).as_posix()}
        v05.ImageLabel.model_validate(label)
        return label


def _touched(labels: Labels, chunk: tuple[int, int]) -> Iterator[Box]:
    """Yield the chunks that have labels."""
    height, width = labels.shape
    for y in range(0, height, chunk[0]):
        for x in range(0, width, chunk[1]):
            box = Box(y, x, min(y + chunk[0], height), min(x + chunk[1], width))
            if labels[box.slices].any():
                yield box


def _halve(labels: Labels) -> Labels:
    """Return the largest label of every block of 2 x 2 pixels."""
    height, width = (n + n % 2 for n in labels.shape)
    even = labels
    if even.shape != (height, width):
        even = np.zeros((height, width), np.uint8)
        even[: labels.shape[0], : labels.shape[1]] = labels
    rows = np.maximum(even[0::2], even[1::2])
    return np.maximum(rows[:, 0::2], rows[:, 1::2])


def read_detection(path: Path | str) -> dict[str, Any]:
    """Return what was found when a label image of masks was made.

    Parameters
    ----------
    path
        A store that :func:`~.run_batch.detect_stack` wrote.

    Returns
    -------
    dict
        ``flagged`` (rows as in a table), ``options``, ``searched`` (section numbers), ``failed``.

    Raises
    ------
    InputError
        If it is not such a store.
    """
    import zarr

    try:
        attributes: dict[str, Any] = dict(zarr.open_group(str(path), mode="r").attrs)
        return dict(attributes[_RECORD])
    except Exception as error:
        raise InputError(
            f"{path} holds no masks that 'flowinpaint detect' wrote; choose another."
        ) from error

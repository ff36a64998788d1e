"""The masks of a detection: an NGFF label image, one integer per kind, and what goes with it.

While a detection runs everything lies in a hidden folder beside the target: the label image, one
line per finished section in ``sections.jsonl``, and the request. A run that was interrupted goes on
there. When all is done the label image gets its name in one step, and the folder goes.

Only chunks with damage are stored. A pixel of a reduced level has a label if any pixel below it
has; the largest where there are several.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .. import folders
from ..disk.folder import Folder
from ..disk.lock import StoreBusy, locked
from ..disk.open_root import open_root
from ..disk.ownership import is_owned, remove_owned
from ..disk.workplace import alone_in, is_empty
from ..errors import InputError, StoreError
from ..export import check_target, count_levels, create_image
from ..io.folder_store import FolderStore
from ..io.ngff_attributes import mask_attributes
from ..io.npz import parse_json
from ..io.replace import DETECTING, OLD, READY, STORES, move_into_place, settle
from ..kinds import KINDS, image_label
from ..types import Box
from .flag_table import parse_row

if TYPE_CHECKING:
    from ..io.stack import Stack

Labels = npt.NDArray[np.uint8]

#: The grid on which it is noted where a section is damaged: this many tiles a side.
TILES = 32
_RECORD = "flowinpaint-detection"
#: Seconds between two times that the list of finished sections is forced to disk. A process that
#: is killed loses nothing by it; a machine that fails, so much work.
_SYNC_SECONDS = 1.0
#: Seconds that a second search of the same masks waits for the first one.
_LOCK_SECONDS = 5.0
#: What is in the hidden folder.
_MASKS, _REQUEST, _LINES = STORES[DETECTING], "request.json", "sections.jsonl"
_NAMES = (_MASKS, _REQUEST, _LINES, folders.SCRATCH, OLD, READY)
#: Most bytes that these may have.
_LARGEST = 1 << 30


@dataclass(frozen=True, slots=True)
class DamageSummary:
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


def check_output(stack: Stack, output: Path, overwrite: bool) -> tuple[str, ...]:
    """Refuse masks that must not be written there, as :func:`~..export.check_target` does.

    What a run left that was killed when its masks had got their name is no reason. Returns what was
    done about masks whose replacement was interrupted.
    """
    target = Path(os.path.realpath(output.expanduser()))
    told = settle(target)
    if not (target.exists() and _is_left_over(target)):
        told += check_target(stack, target, overwrite=overwrite, masks=True)
    return told


def _is_left_over(target: Path) -> bool:
    """Return whether a run left its folder without masks: it has finished, or just begun."""
    path = folders.unfinished_detection(target)
    if not path.is_dir():
        return False
    with open_root(path) as folder:
        known = is_empty(folder) or is_owned(folder, DETECTING)
        return known and folder.stat(_MASKS) is None


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
        self.path = folders.unfinished_detection(target)
        self._request = json.dumps(dict(request), sort_keys=True)
        self._synced = 0.0
        self._stack = stack
        self._lock = Lock()
        self._arrays: list[Any] = []
        self._work: Folder
        self.finished: dict[int, list[DamageSummary]] = {}

    @contextmanager
    def working(self, check: Callable[[], object] = lambda: None) -> Iterator[None]:
        """Create or continue the folder, and keep others out, while the block runs.

        Parameters
        ----------
        check
            Called when nobody else is at work: another search may have given its masks the name
            while this one waited. Where it raises InputError the folder goes.

        Raises
        ------
        InputError
            As ``check`` says.
        StoreError
            If another process is at it, or the folder cannot be written to or is not ours.
        """
        with ExitStack() as held:
            folder = alone_in(self.path, DETECTING, _NAMES, self.target, _LOCK_SECONDS)
            try:
                self._work = held.enter_context(folder)
            except OSError as error:
                raise StoreError(f"{self.path} cannot be created ({error.strerror}).") from error
            try:
                check()
            except InputError:
                held.close()
                self.discard()
                raise
            self._open()
            yield

    def _open(self) -> None:
        import zarr

        work = self._work
        work.remove_tree(folders.SCRATCH)  # chunks that a kill has left unfinished
        if not (self._is_same_request() and work.is_folder(_MASKS)):
            for old in (_REQUEST, _MASKS, _LINES):
                work.remove_tree(old)
            name = self.target.name.removesuffix(".zarr")
            dtype = np.dtype(np.uint8)
            shape = self._stack.shape
            described = mask_attributes(self._stack, name, count_levels(shape))
            create_image(work, _MASKS, described, shape, dtype)
            work.write(_REQUEST, self._request.encode())
        levels = dict(zarr.open_group(self._store(), mode="r+").arrays())
        self._arrays = [levels[name] for name in sorted(levels, key=int)]
        self.finished = self._read_finished()

    def _is_same_request(self) -> bool:
        work = self._work
        found = work.read(_REQUEST, _LARGEST) if work.is_file(_REQUEST) else b""
        return found == self._request.encode()

    def _store(self) -> FolderStore:
        """Return the store of the masks; nothing is synced before all is there."""
        scratch = self._work.folder(folders.SCRATCH, create=True)
        return FolderStore(self._work.folder(_MASKS), scratch=scratch, durable=False)

    def _read_finished(self) -> dict[int, list[DamageSummary]]:
        """Return what is known of finished sections; drop a line that a kill cut short."""
        known = self._work.read(_LINES, _LARGEST) if self._work.is_file(_LINES) else b""
        finished = {}
        good = b""
        for line in known.splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break
            try:
                z, found = _parse_line(line, self._stack.shape[0])
            except ValueError:
                break
            finished[z] = found
            good += line
        if good != known:
            self._work.write(_LINES, good)
        return finished

    def finish(self, z: int, labels: Labels | None, found: list[DamageSummary]) -> None:
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
        line = json.dumps(record)
        with self._lock:
            self._work.append(_LINES, line)
            if time.monotonic() > self._synced + _SYNC_SECONDS:
                with self._work.open_file(_LINES) as lines:
                    os.fsync(lines.fileno())
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

        group = zarr.open_group(self._store(), mode="r+")
        attributes: dict[str, Any] = dict(group.attrs)
        ome = dict(attributes["ome"])
        ome["image-label"] = self._image_label()
        kept = {**record, "request": json.loads(self._request)}
        group.attrs.put({"ome": ome, _RECORD: kept})
        move_into_place(self._work, DETECTING, self.target, overwrite)

    def is_complete(self) -> bool:
        """Return whether all is done but for the folder: a kill came after :meth:`complete`."""
        if not _is_left_over(self.target):
            return False
        try:
            return bool(read_detection(self.target)["request"] == json.loads(self._request))
        except (InputError, KeyError):
            return False

    def discard(self) -> None:
        """Remove the folder, unless somebody is :meth:`working` in it."""
        with open_root(self.path.parent) as parent, suppress(FileNotFoundError):
            with parent.folder(self.path.name) as work:
                if not is_owned(work, DETECTING):  # a kill came before it was marked
                    return
                try:
                    with locked(work, self.target, timeout=0.0):
                        if os.name != "nt":  # where a lock that is held cannot be removed
                            remove_owned(parent, self.path.name, DETECTING)
                            return
                except StoreBusy:
                    return
            remove_owned(parent, self.path.name, DETECTING)

    def _image_label(self) -> dict[str, Any]:
        from yaozarrs import v05

        label = image_label()
        where = self._stack.group_path
        if where is not None and self._stack.beside is None:
            label["source"] = {"image": Path(os.path.relpath(where, self.target)).as_posix()}
        v05.ImageLabel.model_validate(label)
        return label


def _parse_line(line: bytes, depth: int) -> tuple[int, list[DamageSummary]]:
    """Return what a line says of a section; ValueError where it was not written by us."""
    told = parse_json(line)
    try:
        z, found = told["section"], [DamageSummary(**found) for found in told["found"]]
        bits = [int(f.tiles, 16) if len(f.tiles) == TILES**2 // 4 else -1 for f in found]
        good = type(z) is int and 0 <= z < depth and all(b >= 0 for b in bits)
        good &= all(f.kind in KINDS and type(f.pixels) is int and f.pixels >= 0 for f in found)
        good &= all(type(f.score) is float and math.isfinite(f.score) for f in found)
    except (KeyError, TypeError) as error:
        raise ValueError("it is not about a section") from error
    if not good:
        raise ValueError("it has impossible values")
    return z, found


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
        A store that :func:`~.detect_stack.detect_stack` wrote.

    Returns
    -------
    dict
        ``flagged`` (rows as in a table), ``options``, ``searched`` (section numbers), ``failed``,
        ``request``.

    Raises
    ------
    InputError
        If it is not such a store, or what it says was not written by us.
    """
    import zarr

    try:
        attributes: dict[str, Any] = dict(zarr.open_group(str(path), mode="r").attrs)
        found: dict[str, Any] = dict(attributes[_RECORD])
        rows = [parse_row(row, number) for number, row in enumerate(found["flagged"], start=1)]
        if not all(type(z) is int and z >= 0 for z in found["searched"]):
            raise ValueError("its list of sections is damaged")
        if not all(z.isdecimal() and isinstance(why, str) for z, why in found["failed"].items()):
            raise ValueError("its list of sections that failed is damaged")
        dict(found["options"]), dict(found["request"])
    except Exception as error:
        raise InputError(
            f"{path} holds no masks that 'flowinpaint detect' wrote; choose another name."
        ) from error
    return found | {"flagged": [asdict(row) for row in rows]}

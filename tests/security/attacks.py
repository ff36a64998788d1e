"""A small stack, a home with files of the user's, and the command line; for the attacks.

Only stable surfaces are used: the command line, and what is on disk.
"""

from __future__ import annotations

import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from napari_flowinpaint.cli import run

SHAPE = (6, 48, 56)
#: Sections that the mask damages, and where.
HOLES = {2: (slice(10, 26), slice(12, 30)), 3: (slice(28, 40), slice(30, 44))}
CHUNKS = (1, 24, 28)


def truth() -> np.ndarray:
    """Smooth blobs that move slowly from section to section, with grain."""
    rng = np.random.default_rng(1)
    z, y, x = np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")
    blobs = np.sin(x / 5 + z / 4) + np.cos(y / 6 - z / 5) + np.sin((x + y) / 9)
    return np.clip(128 + 30 * blobs + rng.normal(0, 4, SHAPE), 1, 254).astype(np.uint8)


def damage(holes: dict[int, Any] = HOLES) -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint8)
    for z, hole in holes.items():
        mask[(z, *hole)] = 1
    return mask


def snapshot(path: Path) -> dict[str, tuple[Any, ...]]:
    """Everything below a path: kind, permissions, time of change, content or where a link leads."""
    found = {}
    for item in [path, *sorted(path.rglob("*"))]:
        told = item.lstat()
        content: Any = None
        if stat.S_ISLNK(told.st_mode):
            content = str(item.readlink())
        elif stat.S_ISREG(told.st_mode):
            content = item.read_bytes() if told.st_size < 1 << 26 else told.st_size
        found[str(item.relative_to(path))] = (told.st_mode, told.st_mtime_ns, content)
    return found


def image(store: Path, level: str = "0") -> np.ndarray:
    array = zarr.open_array(str(store / level), mode="r")
    return np.asarray(array[...])


def marks(store: Path) -> np.ndarray:
    folder = store / "labels" / "synthetic" / "0"
    return image(folder.parent) if folder.is_dir() else np.zeros(SHAPE, np.uint32)


def journal(store: Path) -> Path:
    return store / "0" / ".flowinpaint"


def entry(store: Path, number: int = 1) -> Path:
    (found,) = (journal(store) / "entries").glob(f"{number:08d}-*")
    return found


@dataclass
class Told:
    """What a command said."""

    code: int
    out: str
    err: str


@dataclass
class Scene:
    """A folder with ``stack.zarr``, ``mask.tif``, and ``home``, where the user's files are."""

    path: Path
    capture: Any

    @property
    def stack(self) -> Path:
        return self.path / "stack.zarr"

    @property
    def home(self) -> Path:
        return self.path / "home"

    @property
    def staging(self) -> Path:
        return self.path / "stack.zarr.staging"

    def run(self, *arguments: object) -> Told:
        """Run a command; it says at most one line on stderr, beside notes, without oddities."""
        self.capture.readouterr()
        code = run([str(argument) for argument in arguments])
        out, lines = self.capture.readouterr()
        notes = [line for line in lines.splitlines(keepends=True) if line.startswith("note: ")]
        errors = [line for line in lines.splitlines(keepends=True) if line not in notes]
        told = Told(code, out + "".join(notes), "".join(errors))
        assert "Traceback" not in told.err
        assert told.err.count("\n") == (code != 0)
        assert all(c.isprintable() or c == "\n" for c in told.out + told.err), "escape sequences"
        assert "allow_pickle" not in told.err, "advice that would run code"
        return told

    def refused(self, *arguments: object) -> str:
        """Run a command that must be refused: code 2, one line."""
        told = self.run(*arguments)
        assert told.code == 2, told
        assert told.err.startswith("flowinpaint: ")
        return told.err

    def repair(self, *more: object, mask: str = "mask.tif", stack: Path | None = None) -> Told:
        return self.run(*self.to_repair(*more, mask=mask, stack=stack))

    def to_repair(
        self, *more: object, mask: str = "mask.tif", stack: Path | None = None
    ) -> list[object]:
        where = [stack or self.stack, "--mask", self.path / mask]
        return ["repair", *where, "--method", "flow", "--gate", "off", "--texture", "smooth", *more]


def write_home(home: Path) -> None:
    """Write files of the user's, with names that ours have, too."""
    files = ("thesis.tex", ".bashrc", "raw/day1.dat", "scratch/notes.txt", "masks/z000002.npz")
    for name in (*files, "labels/cells.txt", "sections/z000002.npz"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(f"{name}: years of work\n")


def program(*arguments: object, before: str = "", **streams: object) -> subprocess.Popen[bytes]:
    """Start the command line in a process of its own; ``before`` is run first."""
    code = f"import sys\n{before}\nfrom napari_flowinpaint.cli import main\nmain()"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, **{"stdout": subprocess.DEVNULL, **streams})

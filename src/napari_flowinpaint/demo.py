"""``flowinpaint demo``: the whole way on a sample that is made on the spot.

A synthetic stack is damaged in several ways, written as OME-Zarr, repaired in place, scored
against the undamaged truth and shown in napari; where there is no display, offscreen.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .core.errors import InputError
from .core.types import AnyImage

if TYPE_CHECKING:
    from .core.disk.folder import Folder
    from .core.simulation.sample import DamagedSample

STACK, MASK, BEFORE = "sample.zarr", "damage.zarr", "before.zarr"
SCORES, COMPARISON = "scores.txt", "comparison.png"
SCREENSHOTS = ("window-1-damaged.png", "window-2-review.png", "window-3-repaired.png")
_KIND, _NAMES = "demo", (STACK, MASK, BEFORE, SCORES, COMPARISON, *SCREENSHOTS)


@dataclass(frozen=True, slots=True)
class Score:
    """How well one section was repaired, in all that was not as it was, dB.

    Parameters
    ----------
    z, kind
        Section and what was wrong with it.
    masked
        Share of its pixels that were damaged.
    mean, repaired
        Structure PSNR of the mean of the neighbours, and of the repair.
    detail
        High-frequency energy of the repair over that of the truth; 1 is right.
    """

    z: int
    kind: str
    masked: float
    mean: float
    repaired: float
    detail: float


def run_demo(folder: Path | None = None, *, window: bool = True) -> int:
    """Run the demo.

    Parameters
    ----------
    folder
        Where the sample goes; None makes a temporary folder. What an earlier run left there is
        replaced as long as nobody has worked on it; nothing else is.
    window
        Whether napari is opened.

    Returns
    -------
    int
        Exit code: 0, or 1 where a window was asked for and cannot be had.

    Raises
    ------
    InputError
        If the folder is a file or lies within a store, or something is there under a name that the
        demo uses: put there by somebody else, or changed since the demo made it.
    """
    from .core.export import check_outside

    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix="flowinpaint-demo-"))
    folder = folder.expanduser().absolute()
    if os.path.lexists(folder) and not folder.is_dir():
        raise InputError(f"{folder} is not a folder; choose another --folder.")
    check_outside(folder)
    opened, ours = _open_folder(folder)
    sample = _make_sample()
    if ours:
        _check_unchanged(folder / MASK, sample.labels)
        _check_unchanged(folder / BEFORE, sample.stack)
        _check_repairs(folder / STACK, sample)
    _write_sample(folder, sample, overwrite=ours)
    _repair(folder, sample)
    repaired = _read(folder / STACK, sample.kinds)
    scores = [_score(sample, z, repaired[z]) for z in sample.kinds]
    table = format_scores(scores)
    opened.write(SCORES, f"{table}\n".encode())
    opened.write(COMPARISON, _draw_comparison(sample, repaired))
    print(
        f"\n{table}\n\nEverything is in {folder}: {BEFORE} (damaged), {MASK}, {STACK} (repaired), "
        f"{SCORES}, {COMPARISON}"
    )
    return _open_window(folder) if window else 0


def _open_folder(folder: Path) -> tuple[Folder, bool]:
    """Open the folder of a demo, which is made where it is missing.

    Returns
    -------
    Folder
        Open.
    bool
        Whether a demo has made it, so that what demos write may be replaced.
    """
    from .core.disk.open_root import open_root
    from .core.disk.ownership import is_owned
    from .core.disk.workplace import is_empty, make_ours

    if folder.is_dir():
        opened = open_root(folder)
        if is_owned(opened, _KIND):
            for name in _NAMES:
                opened.is_file(name)  # a link is refused
            return opened, True
        if not is_empty(opened):
            for name in _NAMES:
                if opened.stat(name) is not None:
                    raise InputError(
                        f"{folder / name} was not made by the demo and is not replaced; choose "
                        "another --folder."
                    )
            return opened, False
        opened.close()
    return make_ours(folder, _KIND, _NAMES), True


def _check_unchanged(path: Path, made: AnyImage) -> None:
    """Refuse to replace a mask in which somebody has painted, a stack that somebody has repaired.

    Parameters
    ----------
    path
        Of the store.
    made
        Its pixels as the demo made them; a mask counts as changed where its damage has.
    """
    from .core.errors import FlowInpaintError
    from .core.open import open_mask

    if not path.exists():
        return
    try:
        found = open_mask(path)
        same = found.shape == made.shape and all(
            np.array_equal(found.read(z), made[z]) for z in range(found.shape[0])
        )
    except FlowInpaintError:
        same = False
    if not same:
        raise _changed(path, "has changed since the demo made it")


def _check_repairs(path: Path, sample: DamagedSample) -> None:
    """Refuse to replace a stack with repairs that the demo has not made."""
    from .core.errors import FlowInpaintError
    from .core.open import open_stack
    from .core.writing.writeback import history

    if not path.exists():
        return
    made = set(enumerate(sample.kinds, start=1))  # numbers and sections of its own repairs
    try:
        found = {(e.id, e.z) for e in history(open_stack(path)) if e.state != "reverted"}
    except FlowInpaintError:
        raise _changed(path, "cannot be read") from None
    if found - made:
        raise _changed(path, "has repairs that the demo did not make")


def _changed(path: Path, why: str) -> InputError:
    """Return the refusal to replace what somebody has worked on."""
    return InputError(
        f"{path} {why} and is not replaced; move it away, or choose another --folder."
    )


def _make_sample() -> DamagedSample:
    from .core.simulation.sample import damaged_sample

    return damaged_sample()


def _write_sample(folder: Path, sample: DamagedSample, *, overwrite: bool) -> None:
    """Save the sample, its masks, and once more what will be repaired."""
    from .core.export import save_ome_zarr
    from .core.io.metadata import Metadata
    from .core.io.stack import Stack
    from .core.kinds import image_label

    started = time.perf_counter()
    arrays = {STACK: sample.stack, BEFORE: sample.stack, MASK: sample.labels}
    for name, array in arrays.items():
        told = Metadata(ome_attributes={"image-label": image_label()} if name == MASK else {})
        size, stem = sample.voxel_size, Path(name).stem
        stack = Stack.from_array(array, voxel_size=size, name=stem, metadata=told)
        save_ome_zarr(stack, folder / name, overwrite=overwrite)
    depth, height, width = sample.stack.shape
    print(
        f"A synthetic stack of {depth} sections, {height} x {width} pixels, {len(sample.kinds)} "
        f"of them damaged ({time.perf_counter() - started:.1f} s). Repairing them, like the "
        f"command\n  flowinpaint repair {folder / STACK} --mask {folder / MASK} --in-place"
    )


def _repair(folder: Path, sample: DamagedSample) -> None:
    """Repair every damaged section in place."""
    from .core.methods.choice import describe_methods
    from .core.open import open_stack
    from .core.repair.repair_section import repair_section
    from .core.types import BoolImage, Box
    from .core.writing.writeback import write_back

    stack = open_stack(folder / STACK)

    def masks(z: int, box: Box) -> BoolImage:
        return np.asarray(sample.mask[z][box.slices])

    for z in sample.kinds:
        started = time.perf_counter()
        repair = repair_section(stack, z, sample.mask[z], masks=masks, kinds=sample.labels[z])
        write_back(stack, repair)
        made = describe_methods(repair.patches)
        seconds = time.perf_counter() - started
        print(f"section {z}: repaired by {made} in {seconds:.1f} s", flush=True)


def _read(path: Path, sections: dict[int, str]) -> dict[int, AnyImage]:
    """Return sections of a stack as they are on disk now."""
    from .core.open import open_stack

    stack = open_stack(path)
    return {z: stack.read(z) for z in sections}


def _score(sample: DamagedSample, z: int, repaired: AnyImage) -> Score:
    """Compare one repaired section with the truth."""
    from .core.metrics import data_range, score

    truth, mask = sample.truth[z], sample.zone[z]
    mean = np.where(mask, sample.stack[[z - 1, z + 1]].mean(axis=0), truth)
    grey = data_range(truth)
    found = score(repaired, truth, mask, grey)
    return Score(
        z=z,
        kind=sample.kinds[z],
        masked=float(sample.mask[z].mean()),
        mean=score(mean, truth, mask, grey).structure_psnr,
        repaired=found.structure_psnr,
        detail=found.detail,
    )


def format_scores(scores: list[Score]) -> str:
    """Return the scores as a table of text."""
    lines = [
        "Structure PSNR inside the mask, dB (both images low-passed by 2 pixels), and detail",
        "(high-frequency energy over that of the truth: 1 is right, below is blur). The scores of",
        "a fold are of all tissue that it has displaced, beyond the mask",
        "",
        f"{'section':>7}  {'damage':<16}{'masked':>7}{'mean of neighbours':>20}"
        f"{'repaired':>10}{'detail':>8}",
    ]
    for s in scores:
        lines.append(
            f"{s.z:>7}  {s.kind:<16}{s.masked:>7.1%}{s.mean:>20.1f}{s.repaired:>10.1f}"
            f"{s.detail:>8.2f}"
        )
    mean, repaired, detail = (
        float(np.mean([getattr(s, name) for s in scores]))
        for name in ("mean", "repaired", "detail")
    )
    lines.append(f"{'all':>7}  {'':<16}{'':>7}{mean:>20.1f}{repaired:>10.1f}{detail:>8.2f}")
    return "\n".join(lines)


def _draw_comparison(sample: DamagedSample, repaired: dict[int, AnyImage]) -> bytes:
    """Return a PNG, a row per section: damaged, repaired, truth; cropped around the damage."""
    from PIL import Image

    edge = min(256, *sample.truth.shape[1:])
    rows = []
    for z, section in repaired.items():
        y, x = (int(np.median(place)) for place in np.nonzero(sample.mask[z]))
        crop = tuple(
            slice(start := int(np.clip(centre - edge // 2, 0, size - edge)), start + edge)
            for centre, size in zip((y, x), section.shape, strict=True)
        )
        panels = [image[crop] for image in (sample.stack[z], section, sample.truth[z])]
        rows.append(np.hstack([np.pad(panel, 2, constant_values=255) for panel in panels]))
    out = io.BytesIO()
    Image.fromarray(np.vstack(rows)).save(out, "PNG")
    return out.getvalue()


def _open_window(folder: Path) -> int:
    """Show the result in napari: on the display, or offscreen with screenshots."""
    command = [sys.executable, "-m", "napari_flowinpaint._demo_window", str(folder)]
    on_display = (
        sys.platform in ("darwin", "win32")
        or os.environ.get("DISPLAY")
        or os.environ.get("WAYLAND_DISPLAY")
    )
    if on_display:
        print("Opening napari; close its window to end the demo.", flush=True)
        return int(subprocess.run(command, check=False).returncode != 0)
    missing = [name for name in ("xvfb-run", "Xvfb", "xauth") if shutil.which(name) is None]
    if missing:
        print(
            f"flowinpaint: there is no display, and {missing[0]} is not installed; for "
            "screenshots install the packages xvfb and xauth.",
            file=sys.stderr,
        )
        return 1
    print("There is no display: opening napari offscreen.", flush=True)
    screen = ["xvfb-run", "-a", "-s", "-screen 0 1600x1000x24"]
    code = subprocess.run([*screen, *command, "--screenshots"], check=False).returncode
    if code:
        print("flowinpaint: the offscreen window failed; see above.", file=sys.stderr)
        return 1
    for picture in sorted(folder.glob("window-*.png")):
        print(f"screenshot: {picture}")
    return 0

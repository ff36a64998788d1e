"""Measure the validation sections and write the tables and figures of docs/benchmark.md.

    python benchmarks/write_docs.py FOLDER [--only NAME] [--ablation LABEL=WEIGHTS.safetensors]

FOLDER holds the real stacks (see STACKS below); without one that is there, only the synthetic
sample is measured. Every method at every kind of mask is a job of its own whose numbers are kept
in build/benchmark: interrupted, the script goes on where it stopped, and stacks can be measured one
by one with ``--only``. Jobs are done again when code or weights have changed, unless ``--keep``
says that the change does not matter. Whatever numbers there are end up between the marks in
docs/benchmark.md; figures go to docs/images. ``--quick`` tries it: one kind of mask, one share,
no learned methods, nothing written into the documentation.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_flowinpaint import Stack, open_stack
from napari_flowinpaint.cli._benchmark import parse_ablations
from napari_flowinpaint.core.benchmark.figure import draw_figure
from napari_flowinpaint.core.benchmark.peers import PEERS
from napari_flowinpaint.core.benchmark.run_benchmark import check_request, run_benchmark
from napari_flowinpaint.core.benchmark.table import BenchmarkRow, BenchmarkTable, markdown_table
from napari_flowinpaint.core.methods import Method, get_method
from napari_flowinpaint.core.simulation.sample import synthetic_stack

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmark.md"
FRACTIONS = (0.1, 0.3, 0.5)
#: The method the summary is about: the first of these that was measured.
MAIN = ("flowinpaint", "flow")
#: Bytes; the repository is no place for large pictures.
LARGEST = 300_000


@dataclass(frozen=True)
class Entry:
    """A stack that is measured; ``drawn`` only where the licence permits showing it here."""

    name: str
    title: str
    file: str | None
    sections: tuple[int, ...] | None = None
    spacing: int = 1
    shapes: tuple[str, ...] = ("irregular", "rectangular")
    drawn: str | None = None


STACKS = (
    Entry("synthetic", "synthetic sample", None, shapes=("irregular",)),
    Entry("larval-vnc", "ssTEM, larval VNC", "vnc_sstem_stack1.tif", tuple(range(16, 20))),
    Entry("isbi2012", "ssTEM, ISBI 2012", "vnc_sstem_isbi2012.tif", tuple(range(24, 30))),
    Entry(
        "medulla",
        "FIB-SEM, medulla, 40 nm",
        "medulla_fibsem_a.tif",
        spacing=4,
        drawn="FIB-SEM of the adult medulla by Janelia FlyEM, CC BY",
    ),
)


def open_entry(entry: Entry, folder: Path | None) -> Stack | None:
    """Return the stack, or None where its file is absent."""
    if entry.file is None:
        return Stack.from_array(synthetic_stack(), voxel_size=(40, 4, 4), name="synthetic")
    if folder is None or not (folder / entry.file).is_file():
        return None
    return open_stack(folder / entry.file)


# ---- measuring


@dataclass(frozen=True)
class Candidate:
    """What makes rows: the peers together, a method by name, or one with weights of its own."""

    label: str
    methods: tuple[str, ...]
    extra: tuple[tuple[str, Method], ...] = ()
    weights: str = ""


def candidates(ablations: list[str], quick: bool) -> list[Candidate]:
    """Return the peers, every method for such damage that is ready, and the ablations."""
    found = [Candidate("peers", tuple(PEERS))]
    for name in check_request(None, (), ()):
        if name not in PEERS and not (quick and name != "flow"):
            found.append(Candidate(name, (name,), weights=digest(ROOT / "weights", name != "flow")))
    for text, (label, method) in zip(ablations, parse_ablations(ablations), strict=True):
        path = Path(text.partition("=")[2])
        found.append(Candidate(label, (), ((label, method),), digest(path)))
    return found


def digest(path: Path, counts: bool = True) -> str:
    """Return the checksum of a file, or of the weights or the code in a folder."""
    if not counts:
        return ""
    files = [path]
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.suffix in (".py", ".safetensors"))
    files = [p for p in files if "training" not in p.parts]
    return hashlib.sha256(b"".join(p.read_bytes() for p in files)).hexdigest()


@dataclass(frozen=True)
class Job:
    """One candidate on one stack at one kind of mask."""

    entry: Entry
    shape: str
    fraction: float
    candidate: Candidate

    @property
    def name(self) -> str:
        label = re.sub(r"\W+", "-", self.candidate.label)
        return f"{self.entry.name}-{self.shape}-{round(100 * self.fraction)}-{label}"


def jobs(entry: Entry, chosen: list[Candidate], quick: bool) -> Iterator[Job]:
    """Yield the jobs of a stack."""
    for shape in entry.shapes[:1] if quick else entry.shapes:
        for fraction in FRACTIONS[1:2] if quick else FRACTIONS:
            for candidate in chosen:
                yield Job(entry, shape, fraction, candidate)


def key_of(job: Job, settings: dict[str, Any]) -> dict[str, Any]:
    """Return what the numbers of a job depend on, plain JSON."""
    code = digest(ROOT / "src" / "napari_flowinpaint" / "core")
    return {
        "code": code,
        "weights": job.candidate.weights,
        **{k: str(settings[k]) for k in settings},
    }


def measure(job: Job, stack: Stack, file: Path, settings: dict[str, Any], keep: bool) -> None:
    """Run a job unless its numbers are there already."""
    key = key_of(job, settings)
    if file.is_file() and (keep or json.loads(file.read_text())["key"] == key):
        return
    started = time.perf_counter()
    table = run_benchmark(
        stack,
        spacing=job.entry.spacing,
        sections=job.entry.sections,
        shapes=(job.shape,),
        fractions=(job.fraction,),
        methods=job.candidate.methods,
        extra=job.candidate.extra,
        **settings,
    )
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps({"key": key, "table": table.to_dict()}))
    partial.replace(file)
    print(f"{file.stem}: {time.perf_counter() - started:.0f} s", flush=True)


def collect(
    entry: Entry, chosen: list[Candidate], folder: Path, settings: dict[str, Any]
) -> BenchmarkTable | None:
    """Return the table of all jobs of a stack that were done; None where there is none."""
    tables, missing, stale = [], 0, 0
    for job in jobs(entry, chosen, quick=False):
        file = folder / f"{job.name}.json"
        if not file.is_file():
            missing += 1
            continue
        record = json.loads(file.read_text())
        stale += record["key"] != key_of(job, settings)
        tables.append(BenchmarkTable.from_dict(record["table"]))
    if not tables:
        return None
    if missing or stale:
        print(f"note: {entry.name}: {missing} jobs not done, {stale} of other code or weights")
    rows = tuple(row for table in tables for row in table.rows)
    return BenchmarkTable(tables[0].stack, tables[0].spacing, tables[0].sections, rows)


# ---- writing


_COLUMNS = (
    "Structure and PSNR in dB. *Best peer* is the best of all five in that row, *gain* how far the "
    "result is above it in structure."
)


def summary(tables: dict[Entry, BenchmarkTable]) -> str:
    """Return the table of the main method beside the best peer, all stacks."""
    measured = {row.method for table in tables.values() for row in table.rows}
    main = next((m for m in MAIN if m in measured), "")
    head = ("stack", "mask", "share", "best peer", "initial", "refined", "smooth")
    head += (f"**{main}**", "gain", "PSNR: best peer", "PSNR: smooth", f"PSNR: {main}")
    rows = []
    for entry, table in tables.items():
        for (shape, fraction), cell in grouped(table).items():
            if main in cell and any(name in PEERS for name in cell):
                rows.append((entry.title, shape, f"{fraction:.0%}", *_compare(cell, main)))
    return markdown_table((*head, "AUC"), rows, 3)


def _compare(cell: dict[str, BenchmarkRow], main: str) -> list[str]:
    """Return the columns of one kind of mask."""
    peers = {name: row.scores for name, row in cell.items() if name in PEERS}
    best = max(peers, key=lambda name: peers[name].structure_psnr)
    plain = max(peers, key=lambda name: peers[name].psnr)
    stages = ("initial reference", "refined reference", "smooth")
    shown = [cell[f"{main}: {stage}"].scores for stage in stages]
    own = cell[main].scores
    return [
        f"{peers[best].structure_psnr:.2f} ({best})",
        *(f"{s.structure_psnr:.2f}" for s in shown),
        f"**{own.structure_psnr:.2f}**",
        f"{own.structure_psnr - peers[best].structure_psnr:+.2f}",
        f"{peers[plain].psnr:.2f} ({plain})",
        f"{shown[-1].psnr:.2f}",
        f"{own.psnr:.2f}",
        "" if (told := cell[main].texture) is None or told.auc != told.auc else f"{told.auc:.2f}",
    ]


def grouped(table: BenchmarkTable) -> dict[tuple[str, float], dict[str, BenchmarkRow]]:
    """Return the rows by kind of mask, then by name."""
    found: dict[tuple[str, float], dict[str, BenchmarkRow]] = {}
    for row in table.rows:
        found.setdefault((row.shape, row.fraction), {})[row.method] = row
    return found


def full(table: BenchmarkTable) -> str:
    """Return all rows of a stack; the worst section in brackets where there are several."""
    rows = []
    for row, mean, worst in zip(table.rows, table.cells(), table.cells(worst=True), strict=True):
        pairs = zip(mean[3:], worst[3:], strict=True)
        several = row.sections > 1
        rows.append((*mean[:3], *(f"{m} ({w})" if several and w else m for m, w in pairs)))
    worst_too = " In brackets the worst section of each score." if len(table.sections) > 1 else ""
    return f"{table.caption}{worst_too}\n\n{markdown_table(table.head, rows, 3)}"


def folded(title: str, content: str) -> str:
    """Return a part of the page that is shown on demand."""
    return f'<details markdown="1">\n<summary>{title}</summary>\n\n{content}\n\n</details>'


def fill(page: str, mark: str, content: str) -> str:
    """Return a page with what lies between two marks replaced.

    Raises
    ------
    SystemExit
        If the page lacks the marks.
    """
    begin, end = f"<!-- table: {mark} -->\n", f"<!-- end: {mark} -->"
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise SystemExit(f"the page has no '{begin.strip()}' … '{end}'; put them where they belong")
    return f"{before}{begin}\n{content}\n\n{end}{after}"


def write_page(
    page: Path, tables: dict[Entry, BenchmarkTable], figures: dict[Entry, Path], machine: str
) -> None:
    """Replace the tables of a page by those that were measured."""
    text = page.read_text(encoding="utf-8")
    synthetic = {entry: table for entry, table in tables.items() if entry.file is None}
    real = {entry: table for entry, table in tables.items() if entry.file is not None}
    for table in synthetic.values():
        text = fill(text, "synthetic", f"Seconds: {machine}.\n\n{full(table)}")
    if real:
        parts = [_COLUMNS, summary(real)]
        for entry, path in figures.items():
            parts.append(f"![Stages of a repair, {entry.title}](images/{path.name})")
            parts.append(f"*{entry.drawn}.*")
        parts.append(f"All scores of all methods; seconds: {machine}.")
        parts += [folded(entry.title, full(table)) for entry, table in real.items()]
        text = fill(text, "validation", "\n\n".join(parts))
    page.write_text(text, encoding="utf-8")
    print(f"written: {page}")


def draw(entry: Entry, stack: Stack, method: str, path: Path, device: str) -> None:
    """Draw the figure of a stack."""
    sections = None if entry.sections is None else list(entry.sections)
    picture = draw_figure(stack, method, spacing=entry.spacing, sections=sections, device=device)
    picture.save(path, optimize=True)
    if path.stat().st_size > LARGEST:
        raise SystemExit(f"{path} is larger than {LARGEST / 1000:.0f} kB")
    print(f"written: {path}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?")
    names = [entry.name for entry in STACKS]
    parser.add_argument("--only", choices=names, action="append")
    parser.add_argument("--ablation", metavar="LABEL=WEIGHTS", action="append", default=[])
    parser.add_argument("--inception", type=Path)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--cells", type=Path, default=ROOT / "build" / "benchmark")
    parser.add_argument("--keep", action="store_true", help="take numbers of other code as well")
    parser.add_argument("--no-write", action="store_true", help="measure only")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    options.cells.mkdir(parents=True, exist_ok=True)
    settings = {
        "repeats": options.repeats,
        "device": options.device,
        "inception": options.inception,
    }
    chosen = candidates(options.ablation, options.quick)
    figures = {}
    for entry in STACKS:
        if options.only and entry.name not in options.only:
            continue
        stack = open_entry(entry, options.folder)
        if stack is None:
            print(f"{entry.name}: {entry.file} is not in {options.folder}; left out")
            continue
        for job in jobs(entry, chosen, options.quick):
            measure(job, stack, options.cells / f"{job.name}.json", settings, options.keep)
        if entry.drawn and not (options.quick or options.no_write):
            method = next(m for m in MAIN if get_method(m).ready())
            path = ROOT / "docs" / "images" / f"benchmark-{entry.name}.png"
            draw(entry, stack, method, path, options.device)
    tables = {entry: collect(entry, chosen, options.cells, settings) for entry in STACKS}
    done = {entry: table for entry, table in tables.items() if table is not None}
    if options.quick or options.no_write:
        for table in done.values():
            print(f"\n{full(table)}")
        print(f"\n{summary(done)}")
        return
    for entry in STACKS:
        path = ROOT / "docs" / "images" / f"benchmark-{entry.name}.png"
        if path.is_file():
            figures[entry] = path
    write_page(PAGE, done, figures, machine_of(options.device))


def machine_of(device: str) -> str:
    """Return a few words on what the seconds were measured on."""
    import torch

    from napari_flowinpaint.core.device import resolve_device

    if resolve_device(device).startswith("cuda"):
        return f"networks on one {torch.cuda.get_device_name()}"
    return f"{os.cpu_count()} CPU cores, torch on {torch.get_num_threads()}"


if __name__ == "__main__":
    main()

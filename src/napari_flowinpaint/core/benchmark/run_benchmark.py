"""Run methods and peers over damaged sections and score them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..io.polarity import Polarity, contrast_polarity
from ..methods import Method, available_methods, get_method, most_neighbours
from ..metrics import black, data_range
from ..types import AnyImage, Progress, no_progress
from .cases import SHAPES, Attempt, BenchmarkCase, attempt, cases, damaged_sections
from .fid.frechet import Doubles, cut_tiles, frechet_distance, tile_corners
from .peers import LEARNED_PEERS, OF_ONE, PEERS
from .scores import Scorer
from .table import BenchmarkOutcome, BenchmarkRow, BenchmarkTable
from .texture_scores import patch_pairs, texture_scores

if TYPE_CHECKING:
    from ..io.stack import Stack
    from .fid.inception import InceptionV3


@dataclass(frozen=True)
class _Job:
    """What is the same for all cells of the table."""

    candidates: dict[str, str | Method]
    device: str
    polarity: Polarity
    inception: InceptionV3 | None


def run_benchmark(
    stack: Stack,
    *,
    spacing: int = 1,
    fractions: Sequence[float] = (0.1, 0.3, 0.5),
    methods: Sequence[str] | None = None,
    shapes: Sequence[str] = ("irregular", "rectangular"),
    sections: Sequence[int] | None = None,
    extra: Sequence[tuple[str, Method]] = (),
    inception: Path | None = None,
    repeats: int = 1,
    seed: int = 0,
    neighbours: int = 2,
    device: str = "auto",
    progress: Progress = no_progress,
) -> BenchmarkTable:
    """Compare methods and peers on the intact sections of a stack.

    Parameters
    ----------
    stack
        A stack without damage.
    spacing
        Distance of the guiding sections; more than 1 imitates thicker sections with isotropic
        data.
    fractions
        Masked shares of a section, each in 0..1 exclusive.
    methods
        Names of methods and peers; by default all whose weights are installed.
    shapes
        ``"irregular"``, ``"rectangular"`` or both.
    sections
        The only sections that are looked at (damaged ones and neighbours alike); all by
        default.
    extra
        More methods with the names of their rows, for example ablations.
    inception
        Weights of InceptionV3, for the Fréchet inception distance; not measured by default. See
        :mod:`~napari_flowinpaint.core.benchmark.fid.inception` for the file.
    repeats
        Masks drawn for every section.
    seed
        Seed of the masks.
    neighbours
        1: methods and peers see the previous section only, as at the end of a stack.
    device
        Where methods with networks run.
    progress
        See :data:`~napari_flowinpaint.core.types.Progress`.

    Returns
    -------
    BenchmarkTable
        One row per shape, fraction and method; a method's references and its result without
        texture have rows of their own.

    Raises
    ------
    InputError
        Unknown method or shape, impossible fraction, too few sections, unusable weights.
    """
    names = check_request(methods, shapes, fractions, [label for label, _ in extra], neighbours)
    damaged = damaged_sections(stack.shape[0], spacing, sections)
    job = _Job(
        {**{name: name for name in names}, **dict(extra)},
        device,
        contrast_polarity(stack),
        None if inception is None else _load_inception(inception, device),
    )
    cells = [(shape, fraction) for shape in shapes for fraction in fractions]
    rows: list[BenchmarkRow] = []
    for number, (shape, fraction) in enumerate(cells):

        def report(done: float, message: str, before: int = number) -> None:
            progress((before + done) / len(cells), message)

        found = list(cases(stack, damaged, spacing, shape, fraction, repeats, seed, neighbours))
        rows += _run_cell(job, found, shape, fraction, report)
    progress(1.0, "done")
    return BenchmarkTable(stack.name, spacing, damaged, tuple(rows), neighbours)


#: Methods that take the mask for the line of a fold; they run where they are asked for.
FOR_FOLDS = ("unfold", "unfold-paper")
#: Methods for gaps of isotropic volumes; what is damaged here are holes of single sections.
FOR_GAPS = ("gap_patches",)


def check_request(
    methods: Sequence[str] | None,
    shapes: Sequence[str],
    fractions: Sequence[float],
    extra: Sequence[str] = (),
    neighbours: int = 2,
) -> tuple[str, ...]:
    """Return the names to run, peers first; by default those that make use of all neighbours.

    Raises
    ------
    InputError
        If a name, a shape, a fraction or the number of neighbours is impossible, or an extra method
        has a name twice.
    """
    known = (*PEERS, *LEARNED_PEERS, *available_methods())
    if neighbours not in (1, 2):
        raise InputError(f"a section has 1 or 2 neighbours in a benchmark, not {neighbours}")
    names = tuple(methods or ())
    if methods is None:
        usual = [
            get_method(name) for name in available_methods() if name not in FOR_FOLDS + FOR_GAPS
        ]
        fitting = (m for m in usual if m.neighbours <= neighbours <= most_neighbours(m))
        peers = PEERS if neighbours == 2 else OF_ONE
        names = (*peers, *(method.name for method in fitting if method.ready()))
    for name in names:
        if name not in known:
            raise InputError(f"unknown method or peer '{name}'; choose from: {', '.join(known)}")
    for label in extra:
        if label in known or extra.count(label) > 1:
            raise InputError(f"there is a method '{label}' already; give it another name")
    for shape in shapes:
        if shape not in SHAPES:
            raise InputError(f"unknown mask shape '{shape}'; choose from: {', '.join(SHAPES)}")
    for fraction in fractions:
        if not 0 < fraction < 1:
            raise InputError(f"the masked fraction is {fraction:g}; it must be between 0 and 1")
    return names


def _load_inception(path: Path, device: str) -> InceptionV3:
    from ..device import resolve_device
    from .fid.inception import load_inception

    return load_inception(path, resolve_device(device))


class _Tiles:
    """Features of the tiles of one case, for the Fréchet inception distance."""

    def __init__(self, case: BenchmarkCase, net: InceptionV3, device: str) -> None:
        from ..device import resolve_device

        self._net, self._device = net, resolve_device(device)
        self._corners = tile_corners(case.mask)
        self._black = black(case.truth)
        self._span = data_range(case.truth)
        self.true = self.describe(case.truth)

    def describe(self, section: AnyImage) -> Doubles:
        """Return the features of the tiles of a section, (N, 2048)."""
        tiles = cut_tiles(section, self._corners, self._black, self._span)
        return self._net.describe(tiles, self._device)


def _run_cell(
    job: _Job, found: Sequence[BenchmarkCase], shape: str, fraction: float, progress: Progress
) -> list[BenchmarkRow]:
    """Return the rows of one kind of mask."""
    outcomes: dict[str, list[BenchmarkOutcome]] = {}
    features: dict[str, list[tuple[Doubles, Doubles]]] = {}
    patches: dict[str, list[tuple[Doubles, Doubles]]] = {}
    total = len(found) * len(job.candidates)
    for number, case in enumerate(found):
        scorer = Scorer(case.truth, job.polarity)
        tiles = None if job.inception is None else _Tiles(case, job.inception, job.device)
        for order, (label, method) in enumerate(job.candidates.items()):
            done = number * len(job.candidates) + order
            progress(done / total, f"{shape} {fraction:.0%}, section {case.z}, {label}")
            for made in attempt(case, label, method, job.device):
                outcomes.setdefault(made.label, []).append(_score(scorer, case, made))
                if made.image is not None:
                    looks = patch_pairs(made.image, case.truth, case.mask)
                    patches.setdefault(made.label, []).append(looks)
                if tiles is not None and made.image is not None:
                    pair = (tiles.describe(made.image), tiles.true)
                    features.setdefault(made.label, []).append(pair)
    return [
        BenchmarkRow(
            shape,
            fraction,
            label,
            tuple(of_row),
            _distance(job, features.get(label)),
            texture_scores(patches.get(label, [])),
        )
        for label, of_row in outcomes.items()
    ]


def _score(scorer: Scorer, case: BenchmarkCase, made: Attempt) -> BenchmarkOutcome:
    scores = None if made.image is None else scorer.score(made.image, case.mask)
    return BenchmarkOutcome(case.z, case.repeat, scores, made.seconds, made.windows)


def _distance(job: _Job, pairs: Sequence[tuple[Doubles, Doubles]] | None) -> float | None:
    """Return the distance over all sections of a row."""
    if job.inception is None:
        return None
    if not pairs:
        return float("nan")
    repaired, true = (np.concatenate(side) for side in zip(*pairs, strict=True))
    return frechet_distance(repaired, true)

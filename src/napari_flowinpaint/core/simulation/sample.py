"""A synthetic serial-section stack: tissue to try things on where no data may be shipped.

Neurites are the domains in which one of several smooth random fields is the largest; the
fields vary slowly along z, so that profiles continue from section to section. Mitochondria,
vesicles and cytoplasm are drawn into them; every section is then deformed, shaded and given
grain of its own, as sections are that were cut and imaged one by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..kinds import KINDS
from ..types import AnyImage, BoolImage, FloatImage, VoxelSize
from .fields import SmoothVolume, smooth_field
from .fold import Fold, fold_section
from .simulate import (
    Charging,
    DamageModel,
    Debris,
    Hole,
    Line,
    Missing,
    StainingCloud,
    damage_section,
)

_MARGIN = 40  # drawn around the section, so that deformation never samples outside


@dataclass(frozen=True, slots=True)
class SampleConfig:
    """What the synthetic stack looks like.

    Parameters
    ----------
    shape
        (Z, Y, X) in voxels.
    voxel_size
        z, y, x in nm. Documentation of the result: the tissue is drawn for 4 nm pixels.
    deformation
        Standard deviation, in pixels, of the smooth displacement of each section.
    grain
        Standard deviation of the noise, in grey levels.
    brightness
        Standard deviation of each section's offset, in grey levels.
    seed
        The same seed gives the same stack.
    """

    shape: tuple[int, int, int] = (24, 512, 512)
    voxel_size: VoxelSize = (40.0, 4.0, 4.0)
    deformation: float = 4.0
    grain: float = 13.0
    brightness: float = 5.0
    seed: int = 0


def synthetic_stack(config: SampleConfig = SampleConfig()) -> npt.NDArray[np.uint8]:
    """Return a synthetic stack with dark membranes on light cytoplasm.

    Parameters
    ----------
    config
        See :class:`SampleConfig`.

    Returns
    -------
    ndarray
        (Z, Y, X) uint8.
    """
    stack = np.empty(config.shape, dtype=np.uint8)
    for z, section in enumerate(synthetic_sections(config)):
        stack[z] = section
    return stack


def synthetic_sections(config: SampleConfig = SampleConfig()) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield the sections of :func:`synthetic_stack` one by one, (Y, X) uint8."""
    rng = np.random.default_rng(config.seed)
    tissue = _Tissue(config.shape, rng)
    for z in range(config.shape[0]):
        clean = tissue.draw(z)
        yield _image(clean, config, np.random.default_rng((config.seed, z)))


def _image(tissue: FloatImage, config: SampleConfig, rng: np.random.Generator) -> AnyImage:
    """Cut and image one section: deform, shade, add grain, quantise."""
    import cv2

    shape = config.shape[1:]
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32) + _MARGIN
    limit = _MARGIN - 2
    for axis in (rows, columns):
        shift = smooth_field(shape, 180, rng) + 0.35 * smooth_field(shape, 60, rng)
        np.add(axis, np.clip(config.deformation * shift, -limit, limit), out=axis)
    section = np.asarray(cv2.remap(tissue, columns, rows, cv2.INTER_LINEAR), dtype=np.float32)
    section += 0.6 * config.brightness * smooth_field(shape, 300, rng)
    gain = 1 + 0.04 * float(rng.standard_normal())
    section = 128 + gain * (section - 128) + config.brightness * float(rng.standard_normal())
    white = rng.standard_normal(shape, dtype=np.float32)
    grain = cv2.GaussianBlur(white, (0, 0), 0.7) + 0.25 * white
    section += config.grain * grain / grain.std()
    return np.clip(np.rint(section), 0, 255).astype(np.uint8)


class _Tissue:
    """The tissue before it is cut: draws any section, with a margin, without noise."""

    #: optical sections averaged into each physical one: membranes cut obliquely look smeared
    _OPTICAL = 2
    _LARGE = 8  # fields that make large profiles; the others make small ones
    _SMALL = 6

    def __init__(self, shape: tuple[int, int, int], rng: np.random.Generator) -> None:
        self._plane = (shape[1] + 2 * _MARGIN, shape[2] + 2 * _MARGIN)
        self._seed = int(rng.integers(2**31))
        depth = shape[0] * self._OPTICAL

        def volume(scale: float, scale_z: float) -> SmoothVolume:
            return SmoothVolume(depth, self._plane, scale, scale_z * self._OPTICAL, rng)

        self._cells = [volume(58, 5.0) for _ in range(self._LARGE)]
        self._cells += [volume(30, 5.0) for _ in range(self._SMALL)]
        self._crowding = volume(110, 6.0)
        self._mitochondria = volume(50, 5.0)
        self._cristae = volume(36, 4.0)
        self._terminals = volume(60, 3.0)
        self._synapses = volume(28, 1.5)
        self._tint = 9 * rng.standard_normal(len(self._cells)).astype(np.float32)

    def draw(self, z: int) -> FloatImage:
        """Return section ``z`` with its margin, float32 grey values, noise-free."""
        import cv2

        section = np.zeros(self._plane, dtype=np.float32)
        for k in range(self._OPTICAL):
            # vesicles and cytoplasm are smaller than a section is thick: the same for all k
            rng = np.random.default_rng((self._seed, z))
            section += self._draw_optical(z * self._OPTICAL + k, rng) / self._OPTICAL
        return np.asarray(cv2.GaussianBlur(section, (0, 0), 0.9), dtype=np.float32)

    def _draw_optical(self, z: int, rng: np.random.Generator) -> FloatImage:
        labels = self._label(z)
        distance = _distance_to_membrane(labels)
        texture = 7 * smooth_field(self._plane, 5, rng) + 5 * smooth_field(self._plane, 14, rng)
        image = 168 + self._tint[labels] + texture
        image = _draw_microtubules(image, distance, rng)
        terminal = (self._terminals.section(z) > 0.4) & (distance > 7)
        image = _draw_vesicles(image, terminal, rng)
        self._draw_mitochondria(image, labels, distance, z)
        # two membranes and the cleft between them, thickened and dark at synapses
        synapse = np.clip(2 * (self._synapses.section(z) - 1.5), 0, 1)
        width = 2.5 + 1.8 * synapse
        membrane = np.exp(-((distance / width) ** 2))
        depth = 105 + 30 * synapse
        return image - depth * membrane

    def _label(self, z: int) -> npt.NDArray[np.intp]:
        """Return which field is the largest, (Y, X): the profiles of the cells."""
        crowding = 0.35 * self._crowding.section(z)
        best = np.full(self._plane, -np.inf, dtype=np.float32)
        labels = np.zeros(self._plane, dtype=np.intp)
        for index, volume in enumerate(self._cells):
            field = volume.section(z)
            if index >= self._LARGE:
                field = field * 0.9 + crowding
            larger = field > best
            labels[larger] = index
            np.maximum(best, field, out=best)
        return labels

    def _draw_mitochondria(
        self,
        image: FloatImage,
        labels: npt.NDArray[np.intp],
        distance: FloatImage,
        z: int,
    ) -> None:
        """Draw mitochondria into the large profiles: two membranes, matrix, cristae."""
        import cv2

        candidate = (self._mitochondria.section(z) > 0.75) & (distance > 6) & (labels < self._LARGE)
        # an opening by a disc leaves rounded outlines and nothing thinner than 20 pixels
        core = _distance_inside(candidate) > 10
        outside = cv2.distanceTransform((~core).astype(np.uint8), cv2.DIST_L2, 5)
        body = (outside < 10) & core.any()
        inside = np.maximum(10 - outside, -50) + _distance_inside(core)  # no core: it is infinite
        phase = np.sin(11 * self._cristae.section(z))
        matrix = 128 - 62 * np.exp(-((phase / 0.45) ** 2)) * (inside > 5)
        membranes = 58 * np.exp(-(((inside - 1.5) / 1.4) ** 2))
        membranes += 45 * np.exp(-(((inside - 5.5) / 1.2) ** 2))
        image[body] = (matrix + 22 * np.exp(-(((inside - 3.5) / 1.2) ** 2)) - membranes)[body]


def _distance_inside(region: BoolImage) -> FloatImage:
    """Return the distance of each pixel of ``region`` to its outside, pixels."""
    import cv2

    return np.asarray(cv2.distanceTransform(region.astype(np.uint8), cv2.DIST_L2, 5))


def _distance_to_membrane(labels: npt.NDArray[np.intp]) -> FloatImage:
    """Return the distance of each pixel to where two profiles touch, pixels."""
    border = np.ones(labels.shape, dtype=bool)
    border[:-1] &= labels[:-1] == labels[1:]
    border[:, :-1] &= labels[:, :-1] == labels[:, 1:]
    return _distance_inside(border)


def _draw_microtubules(
    image: FloatImage, distance: FloatImage, rng: np.random.Generator
) -> FloatImage:
    """Return ``image`` with small dark dots scattered over the cytoplasm."""
    import cv2

    dots = ((rng.random(image.shape) < 0.004) & (distance > 6)).astype(np.float32)
    return image - 230 * cv2.GaussianBlur(dots, (0, 0), 1.3)


def _draw_vesicles(image: FloatImage, where: BoolImage, rng: np.random.Generator) -> FloatImage:
    """Return ``image`` with 40 nm vesicles (dark rim, light lumen) crowded into ``where``."""
    import cv2

    rim = np.zeros_like(image)
    rows, columns = np.nonzero(where & (rng.random(image.shape) < 0.006))
    for y, x in zip(rows.tolist(), columns.tolist(), strict=True):
        cv2.circle(rim, (x, y), int(rng.integers(4, 6)), 1.0, thickness=1, lineType=cv2.LINE_AA)
    return image - 95 * rim


@dataclass(frozen=True, slots=True, eq=False)
class DamagedSample:
    """A synthetic stack, what became of it, and where.

    Parameters
    ----------
    truth, stack
        (Z, Y, X) uint8, before and after the damage.
    mask
        (Z, Y, X) bool, True = damaged.
    kinds
        What happened to each damaged section: section number to plain words.
    labels
        (Z, Y, X) uint8, the labels of the kinds of damage in the mask.
    zone
        (Z, Y, X) bool, all that is not as it was: the mask, and tissue that a fold has displaced.
    voxel_size
        z, y, x in nm.
    """

    truth: npt.NDArray[np.uint8]
    stack: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.bool_]
    kinds: dict[int, str]
    labels: npt.NDArray[np.uint8]
    zone: npt.NDArray[np.bool_]
    voxel_size: VoxelSize


def damaged_sample(config: SampleConfig = SampleConfig()) -> DamagedSample:
    """Return the synthetic stack with one kind of damage on every third section or so.

    Parameters
    ----------
    config
        See :class:`SampleConfig`; the damage is spread over whatever depth it has.

    Returns
    -------
    DamagedSample
        Truth, damaged stack and masks.

    Raises
    ------
    InputError
        If the stack has fewer than three sections: every repair needs its neighbours.
    """
    if config.shape[0] < 3:
        raise InputError(f"the sample needs at least 3 sections, not {config.shape[0]}.")
    truth = synthetic_stack(config)
    stack = truth.copy()
    labels = np.zeros(config.shape, dtype=np.uint8)
    zone = np.zeros(config.shape, dtype=bool)
    places = np.linspace(1, config.shape[0] - 2, len(_DAMAGES)).round().astype(int)
    kinds: dict[int, str] = {}
    for (words, damages), z in zip(_DAMAGES.items(), places.tolist(), strict=True):
        for n, (kind, damage) in enumerate(damages):
            seed = config.seed + 100 * z + n
            if isinstance(damage, Fold):  # its mask is the line; what it displaces is more
                folded = fold_section(stack[z], damage, seed=seed)
                stack[z], where, moved = folded.image, folded.line, folded.moved
            else:
                stack[z], where = damage_section(stack[z], damage, seed=seed)
                moved = where
            labels[z][where] = KINDS[kind].label
            zone[z] |= where | moved
        kinds[z] = f"{kinds[z]}, {words}" if z in kinds else words
    return DamagedSample(truth, stack, labels > 0, kinds, labels, zone, config.voxel_size)


#: what the sample suffers, in the order of its sections
_DAMAGES: dict[str, tuple[tuple[str, DamageModel], ...]] = {
    "hole": (("hole", Hole(0.04)),),
    "debris": (("dark", Debris()),),
    "staining cloud": (("staining", StainingCloud(0.08)),),
    "fold": (("fold", Fold(12, 36, 0.06, bend=0.06)),),
    "charging": (("bright", Charging(0.06)),),
    "two holes": (("hole", Hole(0.02)), ("hole", Hole(0.03, bright=False))),
    "crack": (("crack", Line(10, bright=True)),),
    "missing region": (("missing", Missing(0.2)),),
}

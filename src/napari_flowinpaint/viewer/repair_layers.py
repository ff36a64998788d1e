"""The layers of repairs: the stages of one, accepted ones that are not saved, synthetic pixels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.types import AnyImage
from . import camera
from .layers import ROLE, add_hidden, remove, role_of
from .lazy import LazyArray, MarksAsShown
from .tasks.review import STAGES, Review

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels

    from ..core.io.stack import Stack

_SYNTHETIC_COLOUR, _DISPLACED_COLOUR = "#3fa7ff", "#ffd34d"


class StageArray:
    """A (1, H, W) array that is put together when it is drawn.

    The four stages of a repair with components in two corners of a large section would be four
    large pictures, of which one is on the screen.

    Parameters
    ----------
    shape, dtype
        (H, W) and type of the picture.
    compose
        Returns the picture.
    """

    ndim = 3

    def __init__(self, shape: tuple[int, int], dtype: Any, compose: Callable[[], AnyImage]) -> None:
        self.shape = (1, *shape)
        self.dtype = np.dtype(dtype)
        self.size = math.prod(shape)
        self._compose = compose

    def __getitem__(self, index: Any) -> Any:
        """Return pixels for any index numpy understands."""
        return self._compose()[np.newaxis][index]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> AnyImage:
        """Return the dense picture."""
        return np.asarray(self[...], dtype=dtype)


def show_stages(
    viewer: ViewerModel,
    image: Image,
    review: Review,
    layers: dict[str, Image],
    compose: Callable[[Review, str], AnyImage] = Review.image,
) -> Iterator[Image]:
    """Show the four stages of a repair, reusing the layers of the last.

    Yields each layer once it is shown, so that the caller can let the event loop run in between.

    Parameters
    ----------
    viewer, image
        Where, and over which layer.
    review
        What to show.
    layers
        The stage layers by name; missing ones are added, here and in the viewer.
    compose
        Returns the picture of a stage.
    """
    box = review.repair.box
    position = camera.placed_like(image, (review.z, box.y0, box.x0))
    for layer in layers.values():
        layer.visible = False  # not drawn at the old place with the new pixels
    # the result first: it is waited for
    for stage in sorted(STAGES, key=lambda stage: stage != "result"):
        is_confidence = stage == "confidence"
        dtype = np.float32 if is_confidence else review.repair.dtype
        data = StageArray(box.shape, dtype, partial(compose, review, stage))
        layer = layers.get(stage)
        if layer is not None:
            if not np.array_equal(layer.translate, position["translate"]):
                layer.translate = position["translate"]
            layer.data = data
        else:
            appearance = {
                "contrast_limits": (0, 1) if is_confidence else image.contrast_limits,
                "colormap": "viridis" if is_confidence else image.colormap,
                "gamma": 1.0 if is_confidence else image.gamma,
            }
            layer = layers[stage] = _hidden(stage, data, **appearance, **position)
            later = [layers.get(other) for other in STAGES[STAGES.index(stage) + 1 :]]
            above = [viewer.layers.index(other) for other in later if other in viewer.layers]
            add_hidden(viewer, min(above, default=_above(viewer, image)), layer)
        layer.visible = stage == "result"
        yield layer


def add_unsaved(viewer: ViewerModel, image: Image, review: Review) -> Image:
    """Add a layer, still hidden, with an accepted repair that is not saved anywhere yet."""
    box = review.repair.box
    data = review.image("result")[np.newaxis].copy()
    layer = _hidden(
        f"accepted, section {review.z} (not saved)",
        data,
        contrast_limits=image.contrast_limits,
        colormap=image.colormap,
        gamma=image.gamma,
        **camera.placed_like(image, (review.z, box.y0, box.x0)),
    )
    add_hidden(viewer, _above(viewer, image), layer)
    layer.metadata[ROLE] = "unsaved"
    return layer


def _hidden(name: str, data: Any, **keywords: Any) -> Image:
    """Return an image layer, hidden, that is one of ours."""
    from napari.layers import Image as ImageLayer

    return ImageLayer(
        data, name=name, metadata={ROLE: "stage"}, multiscale=False, visible=False, **keywords
    )


def _above(viewer: ViewerModel, image: Image) -> int:
    """Return the index right above the stack and below what is drawn on it."""
    roles = [role_of(other).partition(" ")[0] for other in viewer.layers]
    below = [i for i, role in enumerate(roles) if role in ("stage", "unsaved", "synthetic")]
    return int(max([viewer.layers.index(image), *below]) + 1)


def marks_of(viewer: ViewerModel, stack: Stack) -> Labels | None:
    """Return the layer that marks the synthetic pixels of a stack, or None."""
    role = f"synthetic {stack.path}"
    return next((layer for layer in viewer.layers if role_of(layer) == role), None)


def show_synthetic(
    viewer: ViewerModel,
    image: Image | None,
    stack: Stack,
    levels: Sequence[Any],
    numbers: Sequence[int] = (),
) -> None:
    """Show or update the layer that marks synthetic and displaced pixels, or remove it.

    The two have colours of their own, and the status bar names them under the mouse.

    Parameters
    ----------
    viewer, image
        Where, and over which layer; None to remove it.
    stack
        The stack of ``image``.
    levels
        Arrays of the stack's ``labels/synthetic``, full resolution first; empty without.
    numbers
        Of the repairs in the stack.
    """
    levels = [LazyArray(MarksAsShown(level)) for level in levels]
    old = marks_of(viewer, stack)
    if image is None or not levels:
        if old is not None:
            remove(viewer, old)
        return
    if old is not None:
        _name_marks(old, numbers)
        old.data = levels if old.multiscale else levels[0]
        return
    from napari.layers import Labels as LabelsLayer

    layer = LabelsLayer(
        levels if len(levels) > 1 else levels[0],
        multiscale=len(levels) > 1,
        name="synthetic pixels",
        opacity=0.35,
        visible=False,
        metadata={ROLE: f"synthetic {stack.path}"},
        **camera.placed_like(image),
    )
    layer.editable = False
    _name_marks(layer, numbers)
    # below the stages of a repair, whose grey it would tint
    add_hidden(viewer, viewer.layers.index(image) + 1, layer)
    layer.visible = True


def _name_marks(layer: Labels, numbers: Sequence[int]) -> None:
    """Give displaced pixels a colour of their own, and let the status bar say what pixels are."""
    from napari.utils.colormaps import DirectLabelColormap

    known = [number for number in numbers if number <= MarksAsShown.LARGEST]
    moved = [MarksAsShown.MOVED + number for number in {*known, MarksAsShown.LARGEST}]
    colours: dict[int | None, Any] = dict.fromkeys(moved, _DISPLACED_COLOUR)
    layer.colormap = DirectLabelColormap(
        color_dict={0: "transparent", None: _SYNTHETIC_COLOUR, **colours}
    )
    layer.features = {
        "index": [0, *known, *(MarksAsShown.MOVED + number for number in known)],
        "pixels": ["as imaged", *["synthetic"] * len(known), *["displaced"] * len(known)],
        "repair": [None, *known, *known],
    }

"""Reader for napari: every stack that is opened here, in particular OME-Zarr that was repaired.

napari's own reader of zarr takes the first array or group inside a zarr group, which in a repaired
stack is the group with the marks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

LayerData = tuple[Any, dict[str, Any], str]


def get_reader(path: str | list[str]) -> Callable[[str | list[str]], list[LayerData]] | None:
    """Return a reader for ``path`` if it holds a stack, else None.

    Where it holds several, the reader says how to choose: no other one might.
    """
    from ..core.errors import ChoiceNeeded, FlowInpaintError
    from ..core.open import open_stack

    if not isinstance(path, str):
        return None
    try:
        open_stack(path, recover=False)
    except ChoiceNeeded:
        return read_stack
    except FlowInpaintError:
        return None
    return read_stack


def read_stack(path: str | list[str]) -> list[LayerData]:
    """Return the stack as one lazy image layer, in nm where the voxel size is known.

    Parameters
    ----------
    path
        Whatever :func:`~napari_flowinpaint.core.open.open_stack` opens.

    Raises
    ------
    InputError
        If there are several stacks, channels or times to choose from.
    """
    from ..core.errors import ChoiceNeeded, InputError
    from ..core.names import printable
    from ..core.types import no_progress
    from .layers import ROLE, stack_layer
    from .tasks.loading import CHOICES, load

    try:
        loaded = load(str(path), progress=no_progress)
    except ChoiceNeeded as error:
        raise InputError(
            f"{printable(str(path))} contains {len(error.choices)} {CHOICES[error.option]}; open "
            "it with Plugins > FlowInpaint > Load stack, where you can choose one."
        ) from error
    layer = stack_layer(loaded)
    shown = layer.as_layer_data_tuple()[1]
    names = (
        *("name", "scale", "translate", "units", "axis_labels"),
        *("contrast_limits", "colormap", "multiscale"),
    )
    told = {name: shown[name] for name in names}
    told["metadata"] = {key: value for key, value in layer.metadata.items() if key != ROLE}
    return [(layer.data, told, "image")]

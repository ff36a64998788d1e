"""Sessions over a small stack on disk, with what is stored of its flagged sections."""

import numpy as np
import pytest
from flagging import SHAPE


@pytest.fixture
def path(tmp_path):
    import zarr

    zarr.create_array(tmp_path / "stack.zarr", data=np.full(SHAPE, 100, np.uint8))
    return tmp_path / "stack.zarr"


@pytest.fixture
def open_session(path):
    """Return a function that opens a new viewer on the stack, with what is stored."""
    from napari.components import ViewerModel

    from napari_flowinpaint.viewer.session import session_of
    from napari_flowinpaint.viewer.tasks import find_damage, loading

    viewers = []

    def make():
        viewers.append(ViewerModel())
        session = session_of(viewers[-1])
        session.add_stack(loading.load(str(path), progress=lambda *_: None))
        session.flags.open(session.image, find_damage.open_flags(session.stack))
        return session

    return make

"""Several folds in one section."""

from __future__ import annotations

import numpy as np

from napari_flowinpaint.core.reference.fold_several import inverse
from napari_flowinpaint.core.reference.optical_flow import compose


def test_folding_undoes_unfolding():
    rows, columns = np.indices((120, 160)).astype(np.float32)
    across = columns - 80 + 0.2 * rows
    size = np.clip(20 - 0.3 * np.abs(across), 0, None)
    flow = np.stack([-0.2 * size * np.sign(across), -size * np.sign(across)]).astype(np.float32)
    back = compose(inverse(flow), flow)
    # not on the line, which the folded section cannot show
    assert np.abs(back)[:, np.abs(across) > 3].max() < 0.2

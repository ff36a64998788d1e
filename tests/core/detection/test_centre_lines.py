"""Lines as wide as they are, without the tissue that they run into."""

import numpy as np
import pytest

from napari_flowinpaint.core.detection.detectors.centre_lines import followed


@pytest.fixture
def ribbon():
    """Return a line, 240 pixels long and 9 wide."""
    ribbon = np.zeros((120, 260), bool)
    ribbon[56:65, 10:250] = True
    return ribbon


def test_a_narrow_place_does_not_part_a_line(ribbon):
    ribbon[:59, 100:140] = False
    ribbon[62:, 100:140] = False
    found = followed(ribbon, 64)
    assert found[60, 14:246].all()


def test_what_is_narrow_and_leads_away_is_no_part_of_a_line(ribbon):
    alone = followed(ribbon, 64)
    ribbon[10:56, 130:133] = True
    assert np.array_equal(followed(ribbon, 64)[:50], alone[:50])
    assert not alone[:50].any()

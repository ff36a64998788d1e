"""Messages: numbers with their nouns, sections by their numbers."""

import pytest

from napari_flowinpaint.core.errors import counted, name_sections


@pytest.mark.parametrize(("number", "words"), [(0, "0 rows"), (1, "1 row"), (1200, "1,200 rows")])
def test_numbers_have_their_nouns(number, words):
    assert counted(number, "row") == words


def test_sections_are_named_up_to_a_number():
    assert name_sections([3]) == "section 3"
    assert name_sections(iter((3, 4))) == "sections 3, 4"
    assert name_sections(range(5), 2) == "sections 0, 1 and 3 more"

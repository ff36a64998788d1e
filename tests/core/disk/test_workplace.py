"""Folders of ours that several processes make at once."""

import pytest

from napari_flowinpaint.core.disk import workplace
from napari_flowinpaint.core.disk.open_root import open_root
from napari_flowinpaint.core.disk.ownership import mark_owned
from napari_flowinpaint.core.disk.workplace import in_its_place, make_ours


@pytest.fixture(params=[1, 2, 3])
def marked_meanwhile(request, tmp_path, monkeypatch):
    """Return an empty folder, which another process marks as ours after so many looks at it."""
    path = tmp_path / "sections.tif.repairs"
    path.mkdir()
    looks = []

    def marking(question):
        def asked(folder, *args):
            answer = question(folder, *args)
            looks.append(question)
            if len(looks) == request.param:
                with open_root(path) as other:
                    mark_owned(other, "repairs", ["store"])
            return answer

        return asked

    for name in ("is_owned", "is_empty"):
        monkeypatch.setattr(workplace, name, marking(getattr(workplace, name)))
    return path


def test_a_folder_that_is_marked_meanwhile_is_ours(marked_meanwhile):
    assert in_its_place(marked_meanwhile, "repairs") == ""


def test_a_folder_that_is_marked_meanwhile_is_opened(marked_meanwhile):
    with make_ours(marked_meanwhile, "repairs", ["store"]) as folder:
        assert workplace.is_owned(folder, "repairs")

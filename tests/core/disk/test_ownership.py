"""Whose folder it is: only what we wrote is removed, and only in the folder that we marked."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_flowinpaint.core.disk.folder import Folder
from napari_flowinpaint.core.disk.open_root import open_root
from napari_flowinpaint.core.disk.ownership import (
    MARK,
    is_owned,
    mark_owned,
    own,
    owned_names,
    read_mark,
    remove_owned,
)
from napari_flowinpaint.core.errors import StoreError

KIND = "staging"


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Folder]:
    with open_root(tmp_path) as folder:
        yield folder


def contents(path: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()
    }


def test_what_we_wrote_goes_and_nothing_else(root):
    with root.make_folder("s") as ours:
        first = mark_owned(ours, KIND, ["plan.json", "masks"])
        assert is_owned(ours, KIND)
        assert not is_owned(ours, "flags")
        ours.write("plan.json", b"{}")
        ours.folder("masks", "deep", create=True).close()
        own(ours, KIND, "log.jsonl")
        ours.append("log.jsonl", "line")
        assert owned_names(ours, KIND) == ("log.jsonl", "masks", "plan.json")
        ours.write("thesis.tex", b"years of work")  # by the user, meanwhile
        again = read_mark(ours, KIND)
        assert again is not None
        assert again.identity == first.identity
    assert remove_owned(root, "s", KIND) == ("thesis.tex",)
    with root.folder("s") as ours:
        assert is_owned(ours, KIND)
        assert set(ours.names()) == {MARK, "thesis.tex"}
        ours.remove_file("thesis.tex")
    assert remove_owned(root, "s", KIND) == ()
    assert root.names() == []


def test_a_folder_that_holds_something_does_not_become_ours(root):
    with root.make_folder("home") as home:
        home.write("thesis.tex", b"years of work")
        with pytest.raises(StoreError, match=r"home is not empty \(it holds thesis.tex\)"):
            mark_owned(home, KIND)
        assert home.names() == ["thesis.tex"]
        assert owned_names(home, KIND) == ()
        with pytest.raises(StoreError, match="not a staging folder made by flowinpaint"):
            own(home, KIND, "plan.json")
    with pytest.raises(StoreError, match="nothing in it is changed or removed"):
        remove_owned(root, "home", KIND)
    assert root.folder("home").names() == ["thesis.tex"]


def test_an_unfinished_mark_is_no_obstacle(root):
    with root.make_folder("s") as ours:
        ours.write(f"{MARK}.part", b'{"format": 1, "ki')
        assert not is_owned(ours, KIND)
        mark_owned(ours, KIND)
        assert is_owned(ours, KIND)


def test_a_copy_is_somebody_elses(root, tmp_path):
    """Nor is a folder of the user's into which the mark was unpacked with the rest."""
    with root.make_folder("s") as ours:
        mark_owned(ours, KIND, ["thesis.tex"])
    shutil.copytree(tmp_path / "s", tmp_path / "copy")
    (tmp_path / "copy" / "thesis.tex").write_text("years of work")
    with root.folder("copy") as copy:
        assert read_mark(copy, KIND) is not None
        assert not is_owned(copy, KIND)
        assert owned_names(copy, KIND) == ()
    with pytest.raises(StoreError, match="copy is not a staging folder"):
        remove_owned(root, "copy", KIND)
    assert (tmp_path / "copy" / "thesis.tex").read_text() == "years of work"


def test_a_name_that_is_there_already_does_not_become_ours(root):
    with root.make_folder("s") as ours:
        mark_owned(ours, KIND)
        ours.write("raw", b"pixels")
        with pytest.raises(StoreError, match=r"s/raw was put there by another program"):
            own(ours, KIND, "raw")
        assert owned_names(ours, KIND) == ()


def test_a_link_in_place_of_the_mark_or_the_folder_is_refused(root, tmp_path):
    with root.make_folder("s") as ours:
        mark_owned(ours, KIND)
    (tmp_path / "link").symlink_to(tmp_path / "s", target_is_directory=True)
    with pytest.raises(StoreError, match="link is a link"):
        remove_owned(root, "link", KIND)
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / MARK).symlink_to(tmp_path / "s" / MARK)
    with pytest.raises(StoreError, match="is a link"):
        remove_owned(root, "t", KIND)


@settings(deadline=None)
@given(
    st.one_of(
        st.binary(max_size=60),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from(["format", "kind", "names"]), inner, max_size=3)
            ),
        ),
        st.fixed_dictionaries(
            {
                "format": st.just(1),
                "kind": st.just(KIND),
                "identity": st.text(max_size=5) | st.none(),
                "place": st.integers() | st.booleans() | st.none(),
                "names": st.lists(st.sampled_from(["..", "../home", "a", "", "/", 3, None])),
            }
        ),
    )
)
def test_no_mark_removes_what_is_not_ours(content):
    told = content if isinstance(content, bytes) else json.dumps(content).encode()
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        (path / "home").mkdir()
        (path / "home" / "a").write_text("years of work")
        (path / "home" / MARK).write_bytes(told)
        before = contents(path)
        with open_root(path) as root, pytest.raises(StoreError):
            remove_owned(root, "home", KIND)
        assert contents(path) == before


def test_deeply_nested_json_is_no_mark(root, tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / MARK).write_bytes(b"[" * 100_000)
    with root.folder("s") as folder:
        assert read_mark(folder, KIND) is None
    with (tmp_path / "s" / MARK).open("wb") as file:
        file.truncate(1 << 40)
    with root.folder("s") as folder, pytest.raises(StoreError, match="bytes, more than"):
        read_mark(folder, KIND)


def test_names_lists_are_sorted_and_single(root):
    with root.make_folder("s") as ours:
        assert mark_owned(ours, KIND, ["b", "a", "b"]).names == ("a", "b")
        with pytest.raises(StoreError):
            own(ours, KIND, os.pardir)

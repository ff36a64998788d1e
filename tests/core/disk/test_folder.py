"""A folder that is held open: nothing outside of it is read, written or removed."""

from __future__ import annotations

import os
import pickle
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_flowinpaint.core.disk import folder
from napari_flowinpaint.core.disk.folder import HANDLES, Folder
from napari_flowinpaint.core.disk.open_root import open_root
from napari_flowinpaint.core.errors import StoreError
from napari_flowinpaint.core.names import check_name, printable

WAYS = [False] + [True] * HANDLES


@pytest.fixture(params=WAYS, ids=lambda handles: "handles" if handles else "paths")
def here(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Folder]:
    (tmp_path / "root").mkdir()
    with open_root(tmp_path / "root", handles=request.param) as folder:
        yield folder


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A folder of the user's, which must stay as it is."""
    path = tmp_path / "home"
    path.mkdir()
    (path / "thesis.tex").write_text("years of work")
    return path


def listed(path: Path | str) -> list[str]:
    return sorted(p.name for p in Path(path).iterdir())


def untouched(secret: Path) -> None:
    assert listed(secret) == ["thesis.tex"]
    assert (secret / "thesis.tex").read_text() == "years of work"


def test_files_are_written_read_and_removed(here):
    here.write("a", b"one")
    here.write("a", b"two")
    assert here.read("a") == b"two"
    assert here.names() == ["a"]
    with here.folder("x", "y", create=True) as deep:
        deep.write("b", b"three", scratch=here)
        deep.append("log", "first")
        deep.append("log", "zweite — Zeile")
        assert deep.read("log").decode() == "first\nzweite — Zeile\n"
        deep.rename("b", here, "c")
        assert deep.names() == ["log"]
        assert deep.path == here.path / "x" / "y"
    here.sync_tree()
    assert here.is_folder("x")
    assert not here.is_file("x")
    assert here.stat("nothing") is None
    here.remove_tree("x")
    here.remove_tree("x")
    here.remove_file("nothing")
    assert here.names() == ["a", "c"]
    with pytest.raises(FileNotFoundError, match=r"root/x"):
        here.folder("x")
    with pytest.raises(NotADirectoryError, match=r"root/a"):
        here.folder("a")
    with pytest.raises(IsADirectoryError), here.folder("d", create=True):
        here.read("d")


def test_a_new_file_replaces_nothing(here):
    here.write("a", b"one")
    with pytest.raises(FileExistsError), here.new_file("a"):
        pass
    with pytest.raises(FileExistsError), here.make_folder("a"):
        pass
    with here.new_file("b") as file:
        file.write(b"two")
    assert here.read("b") == b"two"
    assert here.read("a") == b"one"


def test_what_is_not_written_leaves_nothing(here, monkeypatch):
    here.write("a", b"one")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        here.write("a", b"two")
    monkeypatch.undo()
    assert here.names() == ["a"]
    assert here.read("a") == b"one"


def test_it_is_on_disk_before_it_has_its_name(here, monkeypatch):
    """The file is synced, then renamed, then the folder of the name is synced."""
    steps: list[str] = []
    fsync, replace = os.fsync, os.replace

    def told_fsync(handle: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        fsync(handle)

    def told_replace(*args: object, **kwargs: object) -> None:
        steps.append("rename")
        replace(*args, **kwargs)

    monkeypatch.setattr(folder.os, "fsync", told_fsync)
    monkeypatch.setattr(folder.os, "replace", told_replace)
    here.write("a", b"one")
    assert steps == ["file", "rename"] + ["folder"] * (here._handle is not None)
    del steps[:]
    here.write("a", b"two", durable=False)
    assert steps == ["rename"]


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_permissions_are_kept(here):
    here.write("a", b"one")
    (here.path / "a").chmod(0o640)
    here.write("a", b"two")
    assert stat.S_IMODE((here.path / "a").stat().st_mode) == 0o640
    (here.path / "a").chmod(0o440)
    if os.geteuid():
        with pytest.raises(PermissionError, match=r"root/a"):
            here.write("a", b"three")


def test_a_large_file_is_refused_before_it_is_read(here):
    with (here.path / "huge").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(StoreError, match=r"huge has 1099511627776 bytes"):
        here.read("huge", limit=1 << 20)


OPERATIONS = {
    "read": lambda f, n: f.read(n),
    "open": lambda f, n: f.open_file(n),
    "write": lambda f, n: f.write(n, b"mine"),
    "append": lambda f, n: f.append(n, "alias ls='rm -rf'"),
    "lock": lambda f, n: f.open_lock(n),
    "folder": lambda f, n: f.folder(n),
    "create": lambda f, n: f.folder(n, "new", create=True),
    "list": lambda f, n: f.folder(n).names(),
    "below": lambda f, n: f.folder(n, "thesis.tex"),
    "is_file": lambda f, n: f.is_file(n),
    "is_folder": lambda f, n: f.is_folder(n),
    "rename": lambda f, n: f.rename(n, f, "other"),
    "rename onto": lambda f, n: f.rename("mine", f, n),
    "sync": lambda f, n: f.sync_tree(),
}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("leads_to", ["a folder", "a file", "nothing", "itself"])
def test_no_link_is_followed(here, secret, operation, leads_to):
    target = {
        "a folder": secret,
        "a file": secret / "thesis.tex",
        "nothing": secret / "new",
        "itself": here.path / "link",
    }[leads_to]
    (here.path / "link").symlink_to(target)
    here.write("mine", b"mine")
    with pytest.raises(StoreError, match=r"root/link is a link, .*; ") as caught:
        OPERATIONS[operation](here, "link")
    assert "\n" not in str(caught.value)
    untouched(secret)
    assert here.read("mine") == b"mine"
    assert sorted(here.names()) == ["link", "mine"]


def test_a_link_in_the_middle_is_refused(here, secret):
    here.folder("a", create=True).close()
    (here.path / "a" / "b").symlink_to(secret, target_is_directory=True)
    for create in (False, True):
        with pytest.raises(StoreError, match=r"root/a/b is a link"):
            here.folder("a", "b", "c", create=create)
    untouched(secret)


def test_removing_takes_the_link_not_what_it_leads_to(here, secret):
    here.folder("a", "b", create=True).close()
    (here.path / "a" / "b" / "out").symlink_to(secret, target_is_directory=True)
    (here.path / "a" / "file").symlink_to(secret / "thesis.tex")
    here.remove_tree("a")
    (here.path / "out").symlink_to(secret, target_is_directory=True)
    here.remove_tree("out")
    assert here.names() == []
    untouched(secret)


def test_the_root_may_be_reached_through_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk", target_is_directory=True)
    for handles in WAYS:
        with open_root(tmp_path / "link", handles=handles) as folder:
            folder.write("a", b"one")
    assert (tmp_path / "disk" / "a").read_bytes() == b"one"


@pytest.mark.skipif(not HANDLES, reason="needs calls relative to a handle")
def test_a_link_that_comes_between_is_not_followed(tmp_path, secret):
    """The folder stays what it was when it was opened, whatever has its name now."""
    (tmp_path / "root" / "a").mkdir(parents=True)
    with open_root(tmp_path / "root") as root, root.folder("a") as folder:
        (tmp_path / "root" / "a").rename(tmp_path / "moved")
        (tmp_path / "root" / "a").symlink_to(secret, target_is_directory=True)
        folder.write("mine", b"mine")
        folder.remove_tree("thesis.tex")
    untouched(secret)
    assert (tmp_path / "moved" / "mine").read_bytes() == b"mine"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
@pytest.mark.parametrize("operation", ["read", "write", "append", "lock"])
@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_only_files_are_opened(here, operation, kind, monkeypatch):
    if kind == "pipe":
        os.mkfifo(here.path / "odd")
    else:
        monkeypatch.chdir(here.path)  # the path of a socket must be short
        socket.socket(socket.AF_UNIX).bind("odd")
    with pytest.raises(StoreError, match="odd is a pipe, a socket or a device"):
        OPERATIONS[operation](here, "odd")
    here.remove_tree("odd")
    assert here.names() == []


@pytest.mark.skipif(not HANDLES, reason="paths of POSIX")
def test_devices_are_refused():
    with open_root("/dev") as folder, pytest.raises(StoreError, match="is a pipe, a socket or"):
        folder.read("zero")


def test_another_name_of_the_file_keeps_its_content(here, tmp_path):
    profile = tmp_path / "profile"
    profile.write_text("export A=1\n")
    os.link(profile, here.path / "log")
    here.append("log", "added")
    assert profile.read_text() == "export A=1\n"
    assert here.read("log") == b"export A=1\nadded\n"


def test_what_is_nested_too_deeply_is_not_removed(here):
    here.path.joinpath(*["d"] * 200).mkdir(parents=True)
    with pytest.raises(StoreError, match=r"is nested too deeply and is not removed"):
        here.remove_tree("d")
    shutil.rmtree(here.path / "d")


def test_a_closed_folder_does_nothing(here, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    here.close()
    here.close()
    for operation in (lambda: here.write("a", b""), here.names, lambda: here.folder("a")):
        with pytest.raises((ValueError, OSError)):
            operation()
    assert listed(tmp_path) == ["root"]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="handles cannot be counted")
def test_no_handle_is_lost(here, secret):
    def operate() -> None:
        with here.folder("x", "y", create=True) as deep:
            deep.write("a", b"")
            deep.read("a")
            deep.names()
        for names in (("x", "none"), ("x", "y", "a"), ("link",)):
            with pytest.raises((OSError, StoreError)):
                here.folder(*names)
        here.remove_tree("x")

    (here.path / "link").symlink_to(secret, target_is_directory=True)
    operate()
    before = len(listed("/proc/self/fd"))
    for _ in range(20):
        operate()
    assert len(listed("/proc/self/fd")) == before


def test_it_can_be_sent_to_another_process(here):
    with here.folder("a", create=True) as inner:
        inner.write("b", b"one")
        with pickle.loads(pickle.dumps(inner)) as again:
            assert again.read("b") == b"one"
            assert again.identity() == inner.identity() != here.identity()


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "/etc/passwd", "../x", "a\0b", "\ud800", "/"]
)
def test_names_that_lead_elsewhere_are_refused(here, name):
    for operation in OPERATIONS.values():
        if operation is not OPERATIONS["sync"]:
            with pytest.raises(StoreError, match="is not a valid file name") as caught:
                operation(here, name)
            assert str(caught.value).isprintable()


def test_devices_of_windows_are_no_names(monkeypatch):
    monkeypatch.setattr(folder.os, "name", "nt")
    for name in ("nul", "CON", "com1.txt", "c:", "file:stream", "aux. "):
        with pytest.raises(StoreError):
            check_name(name)
    assert check_name("console") == "console"


@settings(deadline=None)
@given(st.text(min_size=1, max_size=30))
def test_any_other_name_is_that_of_a_file(name):
    try:
        check_name(name)
    except StoreError:
        assert name in (".", "..") or {*"/\0"} & set(name) or not _encodable(name)
        return
    if len(os.fsencode(name)) > 255:
        return
    with tempfile.TemporaryDirectory() as path, open_root(path) as folder:
        folder.write(name, b"content")
        assert folder.names() == [name]
        assert folder.read(name) == b"content"
        folder.remove_tree(name)
        assert listed(path) == []


def _encodable(name: str) -> bool:
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return False
    return True


@settings(deadline=None)
@given(st.text())
def test_what_is_printable_is_one_line(text):
    assert printable(text).isprintable()
    assert printable("\x1b[31mred\n") == r"\x1b[31mred\n"


TREES = st.recursive(
    st.sampled_from(["file", "link to the folder", "link to the file", "dangling", "pipe"]),
    lambda inner: st.dictionaries(st.sampled_from("abcd"), inner, max_size=4),
    max_leaves=12,
)


def _make(path: Path, tree: object, secret: Path) -> None:
    if isinstance(tree, dict):
        path.mkdir()
        for name, inner in tree.items():
            _make(path / name, inner, secret)
    elif tree == "file":
        path.write_bytes(b"x")
    elif tree == "pipe":
        os.mkfifo(path) if hasattr(os, "mkfifo") else path.write_bytes(b"x")
    else:
        ends = {"link to the folder": secret, "link to the file": secret / "thesis.tex"}
        path.symlink_to(ends.get(str(tree), secret / "nothing"))


@settings(deadline=None)
@given(tree=TREES, handles=st.sampled_from(WAYS), keys=st.lists(st.sampled_from("abcd")))
def test_no_tree_leads_out(tree, handles, keys):
    """Whatever is unpacked into a folder: it can be removed, and nothing of the user's goes."""
    with tempfile.TemporaryDirectory() as name:
        secret, root = Path(name, "home"), Path(name, "root")
        secret.mkdir()
        root.mkdir()
        (secret / "thesis.tex").write_text("years of work")
        _make(root / "tree", tree, secret)
        with open_root(root, handles=handles) as folder:
            for act in (
                lambda f: f.append("log", "line"),
                lambda f: f.write("a", b"content"),
                lambda f: f.rename("a", f, "b"),
                lambda f: f.sync_tree(),
            ):
                with suppress(StoreError, OSError), folder.folder("tree", *keys) as inner:
                    act(inner)
            folder.remove_tree("tree")
        assert listed(root) == []
        untouched(secret)

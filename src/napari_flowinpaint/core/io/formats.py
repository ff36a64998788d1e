"""What a file is, by its first bytes and its name; and what to do with one that is not read.

Nothing is decoded here. A file that is not a stack is named for what it is, with a way to get a
stack of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from ..errors import InputError
from ..names import printable

Readable = Literal["tiff", "hdf5", "mrc", "zip"]

MRC_SUFFIXES = (".mrc", ".rec", ".st", ".map", ".mrcs", ".ali", ".preali")
#: In a folder of images, each of them a section.
IMAGE_SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp", *MRC_SUFFIXES)

_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
#: Where the HDF5 part begins behind something else, as in a MATLAB file; it may be at 1024, 2048, …
_HDF5_STARTS = (0, 512, 1024, 2048, 4096)
_HEAD = max(_HDF5_STARTS) + len(_HDF5)

_FIJI = "convert it to TIFF, with Fiji (File > Save As > Tiff) or bfconvert"
_ONE_IMAGE = "give a folder with one such image per section, or a multi-page TIFF"
_ARRAY = "open it with the program that wrote it and save the stack as TIFF"
_UNPACK = "unpack it first"

#: First bytes of what is not read: name, and what to do.
_SIGNATURES: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"\0\0\0\x03", "a DigitalMicrograph DM3 file", _FIJI),
    (0, b"\0\0\0\x04", "a DigitalMicrograph DM4 file", _FIJI),
    (0, b"ZISRAWFILE", "a Zeiss CZI file", _FIJI),
    (0, b"\x70\0\0\0", "a Leica LIF file", _FIJI),
    (0, b"\xda\xce\xbe\x0a", "a Nikon ND2 file", _FIJI),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 image", _FIJI),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 image", _FIJI),
    (0, b"\x97\x01", "a TIA SER file", _FIJI),
    (0, b"NRRD0", "an NRRD file", "convert it to TIFF, for example with Fiji or 3D Slicer"),
    (344, b"n+1\0", "a NIfTI file", "convert it to TIFF, for example with Fiji or nibabel"),
    (0, b"\x5c\x01\0\0", "a NIfTI file", "convert it to TIFF, for example with Fiji or nibabel"),
    (0, b"\x89PNG\r\n\x1a\n", "a single PNG image", _ONE_IMAGE),
    (0, b"\xff\xd8\xff", "a single JPEG image", _ONE_IMAGE),
    (0, b"BM", "a single BMP image", _ONE_IMAGE),
    (0, b"GIF8", "a GIF image", "convert it to TIFF, for example with Fiji"),
    (0, b"\x93NUMPY", "a NumPy array", "save it as TIFF, with tifffile.imwrite, or as zarr"),
    (0, b"MATLAB 5.0", "a MATLAB file before version 7.3", "save it in MATLAB with '-v7.3'"),
    (0, b"# AmiraMesh", "an Amira mesh", "export it from Amira as TIFF"),
    (0, b"# Avizo", "an Amira mesh", "export it from Avizo as TIFF"),
    (128, b"DICM", "a DICOM image", _FIJI),
    (0, b"SIMPLE  =", "a FITS image", _FIJI),
    (0, b"\x1f\x8b", "a file compressed with gzip", _UNPACK),
    (0, b"BZh", "a file compressed with bzip2", _UNPACK),
    (0, b"\xfd7zXZ\0", "a file compressed with xz", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "a file compressed with zstd", _UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (257, b"ustar", "a tar archive", _UNPACK),
    (4, b"ftyp", "a video", "save its frames as a multi-page TIFF, for example with Fiji"),
    (0, b"\x1aE\xdf\xa3", "a video", "save its frames as a multi-page TIFF, for example with Fiji"),
    (0, b"%PDF", "a PDF document", "give the images themselves"),
    (
        0,
        b"\xd0\xcf\x11\xe0",
        "a Microsoft compound file (OIB, ZVI, TXM or a document)",
        _FIJI,
    ),
    (0, b"<?xml", "an XML file", "give the file with the pixels that it describes"),
)
#: What is known by its name only, or better.
_SUFFIXES: dict[str, tuple[str, str]] = {
    ".dm3": ("a DigitalMicrograph DM3 file", _FIJI),
    ".dm4": ("a DigitalMicrograph DM4 file", _FIJI),
    ".czi": ("a Zeiss CZI file", _FIJI),
    ".lif": ("a Leica LIF file", _FIJI),
    ".nd2": ("a Nikon ND2 file", _FIJI),
    ".vsi": ("an Olympus VSI file", _FIJI),
    ".oir": ("an Olympus OIR file", _FIJI),
    ".oib": ("an Olympus OIB file", _FIJI),
    ".ser": ("a TIA SER file", _FIJI),
    ".emi": ("a TIA EMI file, which describes SER files", _FIJI),
    ".txm": ("a Zeiss TXM file", _FIJI),
    ".raw": (
        "a raw file, which gives neither shape nor type",
        "import it into Fiji and save it as TIFF",
    ),
    ".bin": (
        "a raw file, which gives neither shape nor type",
        "import it into Fiji and save it as TIFF",
    ),
    ".dat": (
        "a DAT file (raw pixels, or from a FIB-SEM)",
        "convert it to TIFF, for example in Fiji",
    ),
    ".nhdr": ("the header of an NRRD file", "convert it to TIFF, for example with Fiji"),
    ".nrrd": ("an NRRD file", "convert it to TIFF, for example with Fiji or 3D Slicer"),
    ".nii": ("a NIfTI file", "convert it to TIFF, for example with Fiji or nibabel"),
    ".am": ("an Amira mesh", "export it from Amira as TIFF"),
    ".img": ("an image whose format its name does not reveal", _FIJI),
    ".em": ("an EM file", "convert it to MRC, for example with IMOD's em2mrc"),
    ".npy": ("a NumPy array", "save it as TIFF, with tifffile.imwrite, or as zarr"),
    ".npz": ("an archive of NumPy arrays", "save one as TIFF, with tifffile.imwrite, or as zarr"),
    ".avi": ("a video", "save its frames as a multi-page TIFF, for example with Fiji"),
    ".mp4": ("a video", "save its frames as a multi-page TIFF, for example with Fiji"),
    ".mov": ("a video", "save its frames as a multi-page TIFF, for example with Fiji"),
    ".xml": ("an XML file", "give the file with the pixels that it describes (.h5, .n5, .tif)"),
    ".json": ("a JSON file", "give the folder that it describes"),
    ".zip": ("a ZIP archive without a zarr store", _UNPACK),
    ".jp2": ("a JPEG 2000 image", _FIJI),
    ".pgm": ("a PGM image", _FIJI),
    ".webp": ("a WebP image", _FIJI),
    ".txt": ("a text file", _ARRAY),
    ".csv": ("a table", "give the stack itself"),
}
#: What files are called: no folder that is written is.
FILE_SUFFIXES = frozenset(
    (*IMAGE_SUFFIXES, ".h5", ".hdf5", ".hdf", ".ims", ".mat", ".n5", ".ozx", ".gif", *_SUFFIXES)
)
_WELL_KNOWN = (
    "give an OME-Zarr, a zarr array, TIFF, MRC, HDF5 or a folder with one image per section"
)


def recognise(path: Path) -> Readable | None:
    """Return which of the formats that can be read a file has; None for any other.

    Parameters
    ----------
    path
        An existing file, whatever its name.
    """
    head = _head(path)
    if head[:4] in _TIFF:
        return "tiff"
    if any(head[start : start + len(_HDF5)] == _HDF5 for start in _HDF5_STARTS):
        return "hdf5"
    if head[:4] in _ZIP:
        return "zip"
    if head[208:211] == b"MAP":
        return "mrc"
    # Before 2000 MRC files said nothing of themselves
    if path.suffix.lower() in MRC_SUFFIXES and len(head) >= 1024 and not _named(head):
        return "mrc"
    return None


def split_archive(path: Path) -> tuple[Path, str] | None:
    """Return the archive and the key in it of ``a.zarr.zip/raw``; None where it is no archive.

    Parameters
    ----------
    path
        Of an archive, or of a node in it, as if it were a folder.
    """
    for archive in (path, *path.parents):
        if archive.is_file():
            within = path.relative_to(archive).as_posix()
            return (
                (archive, "" if within == "." else within) if _head(archive)[:4] in _ZIP else None
            )
        if archive.exists():
            return None
    return None


def is_mrc(path: Path) -> bool:
    """Return whether a file is called like an MRC file."""
    return path.suffix.lower() in MRC_SUFFIXES


def not_read(path: Path) -> InputError:
    """Return the refusal of a file that is not read, named for what it is."""
    head = _head(path)
    what, advice = _SUFFIXES.get(path.suffix.lower(), ("", ""))
    if not what:
        what, advice = _named(head) or ("", "")
    if head and what:
        return InputError(f"{path} is {what}, which cannot be read here; {advice}.")
    if not head:
        return InputError(f"{path} is empty; restore it from a copy.")
    suffix = path.suffix.lower()
    if suffix in (".tif", ".tiff", ".h5", ".hdf5", ".hdf", ".ims", *MRC_SUFFIXES):
        kind = "a TIFF" if suffix[:4] == ".tif" else "an MRC" if is_mrc(path) else "an HDF5"
        return InputError(
            f"{path} is not {kind} file, despite its name: it is damaged or something else; "
            "restore it from a copy."
        )
    begins = printable(head[:4].decode("latin-1"))
    return InputError(f"{path} has an unknown format (it begins with {begins!r}); {_WELL_KNOWN}.")


def not_read_folder(path: Path) -> InputError:
    """Return the refusal of a folder without images or metadata of a store."""
    for file in sorted(path.iterdir()):
        if file.is_file() and file.suffix.lower() in _SUFFIXES:
            what, advice = _SUFFIXES[file.suffix.lower()]
            return InputError(
                f"{path} is a folder without images that can be read here; {file.name} is {what}: "
                f"{advice}."
            )
    return InputError(
        f"{path} is a folder that holds neither a store (zarr, N5, precomputed) nor images (TIFF, "
        f"PNG, JPEG, BMP, MRC); {_WELL_KNOWN}."
    )


def _named(head: bytes) -> tuple[str, str] | None:
    """Return what a file is by its first bytes, and what to do; None where they are not known."""
    for start, signature, what, advice in _SIGNATURES:
        if head[start : start + len(signature)] == signature:
            return what, advice
    if head[:4] == b"RIFF":
        video = head[8:12] == b"AVI "
        return _SUFFIXES[".avi" if video else ".webp"]
    return None


def _head(path: Path) -> bytes:
    """Return the first bytes of a file."""
    try:
        with path.open("rb") as file:
            return file.read(_HEAD)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).") from error

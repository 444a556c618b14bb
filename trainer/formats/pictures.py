"""The pictures that labels belong to: found by the name that a tool wrote, and checked before use."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, unquote, urlparse

import PIL.Image

from inspector.errors import DatasetError
from inspector.inputs import IMAGE_SUFFIXES, decode_image
from trainer.formats.regions import Size

_UPLOAD = re.compile(r"^[0-9a-f]{8}-(?=.)")
"""What Label Studio puts before the name of an uploaded picture."""
_ORIENTATION = 0x0112
_FOLDERS = ("", "images", "JPEGImages")


def plain_name(name: str) -> str:
    """A tool's reference to a picture as a relative path: no drive, no host, no way up.

    `/data/local-files/?d=set/a.png` -> `set/a.png`; `..\\img\\b.png` -> `img/b.png`.
    """
    parsed = urlparse(name)
    if "d" in (query := parse_qs(parsed.query)):
        name = query["d"][0]
    elif parsed.scheme in ("http", "https", "s3", "gs", "azure-blob", "file") or name.startswith("/data/"):
        name = unquote(parsed.path)
    parts = [part for part in PurePosixPath(name.replace("\\", "/")).parts if part not in ("/", "..", ".")]
    return "/".join(part for part in parts if not part.endswith(":"))


def find_picture(name: str, roots: Sequence[Path]) -> Path | None:
    """The picture of that name below one of the roots, or None.

    Tried in turn: the whole relative path, then ever shorter ends of it, each also in images/;
    last the bare name without Label Studio's upload prefix.
    """
    parts = PurePosixPath(plain_name(name)).parts
    if not parts:
        return None
    tried = ["/".join(parts[start:]) for start in range(len(parts))]
    if _UPLOAD.match(parts[-1]):
        tried.append(_UPLOAD.sub("", parts[-1]))
    for end in tried:
        for root in roots:
            for folder in _FOLDERS:
                path = root / folder / end
                if path.is_file():
                    return path
    return None


def check_picture(data: bytes, name: str, said: Size | None) -> Size:
    """The (height, width) of a picture, read whole, when labels can be laid on it.

    Raises DatasetError when it is of a kind that the trainer does not take, cannot be read, has
    another size than its labels say, or turns by an EXIF tag, which label tools follow and cameras
    of a line do not have.
    """
    if Path(name).suffix.lower() not in IMAGE_SUFFIXES:
        raise DatasetError(
            f"{name} is none of {', '.join(sorted(IMAGE_SUFFIXES))}; convert it and label again."
        )
    stored = decode_image(data, name)
    size = (stored.shape[0], stored.shape[1])
    if _turned(data):
        raise DatasetError(
            f"{name} is turned by its EXIF tag, so labels drawn on it do not fit the stored pixels; turn the"
            " pixels themselves, drop the tag and label again."
        )
    if said is not None and said != size:
        raise DatasetError(
            f"{name} is {size[0]}x{size[1]} but its labels say {said[0]}x{said[1]}; nothing is resized,"
            " since that moves edges. Bring the picture that was labelled."
        )
    return size


def _turned(data: bytes) -> bool:
    try:
        with PIL.Image.open(io.BytesIO(data)) as picture:
            return picture.getexif().get(_ORIENTATION, 1) not in (0, 1)
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError):
        return False  # OpenCV has read it; what Pillow cannot open carries no tag that a tool followed

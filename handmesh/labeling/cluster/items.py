"""Footage as pieces of work: a clip, or some hundred photos of one folder; each becomes one recording."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

from handmesh.errors import HandMeshError
from handmesh.io.images import IMAGE_SUFFIXES
from handmesh.io.video.sources import CLIP_SUFFIXES
from handmesh.motion.clip_folder import recording_name

#: Photos that make one recording: some minutes of work, so that a worker that dies loses little.
PHOTOS_PER_ITEM = 256


class FootageItem(NamedTuple):
    """One piece of work.

    Attributes:
        name: the clip's path below the folder, or the photos' folder and the block's number: ``a/photos-00000``.
        photos: paths of the photos; () for a clip.
        fingerprint: of the photos' names and sizes, 16 hex digits; "" for a clip, whose content tells.
    """

    name: str
    photos: tuple[str, ...] = ()
    fingerprint: str = ""

    @property
    def recording(self) -> str:
        """Where its recording goes; no other piece has the same."""
        return recording_name(self.name)

    def to_json(self) -> str:
        """The piece as text, for :meth:`from_json`."""
        return json.dumps(self)

    @staticmethod
    def from_json(text: str) -> FootageItem:
        """The piece of a text of :meth:`to_json`."""
        name, photos, fingerprint = json.loads(text)
        return FootageItem(name, tuple(photos), fingerprint)


def footage_items(files: Mapping[str, int], place: str) -> list[FootageItem]:
    """The work that a folder of footage is.

    Args:
        files: size in bytes of every file by its path below the folder, as of Storage.files.
        place: the folder, for the message.

    Raises:
        HandMeshError: neither clips nor photos in it.
    """
    items, photos = [], defaultdict(list)
    for name in sorted(files):
        folder, _, last = name.rpartition("/")
        suffix = f".{last.rpartition('.')[2].lower()}"
        if suffix in CLIP_SUFFIXES:
            items.append(FootageItem(name))
        elif suffix in IMAGE_SUFFIXES:
            photos[folder].append(name)
    for folder, names in photos.items():
        for first in range(0, len(names), PHOTOS_PER_ITEM):
            block = tuple(names[first : first + PHOTOS_PER_ITEM])
            listing = json.dumps([[name, files[name]] for name in block])
            # No file has this name: there is a slash or nothing before it, and clips and photos end in a suffix.
            name = "/".join(filter(None, [folder, f"photos-{first // PHOTOS_PER_ITEM:05d}"]))
            items.append(FootageItem(name, block, hashlib.sha256(listing.encode()).hexdigest()[:16]))
    if not items:
        raise HandMeshError(
            f"expected clips ({', '.join(CLIP_SUFFIXES)}) or photos ({', '.join(IMAGE_SUFFIXES)}) in {place}, got "
            "none; name the folder that holds them"
        )
    return items

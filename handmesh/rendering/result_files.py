"""Photos in, files out: for each photo its overlay, its meshes and its numbers.

Knows names and formats of the results. Does not know how a hand is found; doors call it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from handmesh._version import __version__
from handmesh.errors import HandMeshError
from handmesh.io.calibration import CameraCalibration
from handmesh.io.files import atomic_path, refuse_to_replace
from handmesh.io.images import write_image
from handmesh.io.sources import PhotoSource, open_source
from handmesh.rendering.overlay import LEFT_TINT, RIGHT_TINT, draw_hands
from handmesh.results import Hand

#: An image in, its hands out.
Recover = Callable[[NDArray[np.uint8]], list[Hand]]


class PhotoResult(NamedTuple):
    """What one photo gave."""

    name: str
    hands: list[Hand]
    files: list[Path]


def predict_photos(
    source: str | Path, folder: str | Path, recover: Recover, camera: CameraCalibration | None = None
) -> Iterator[PhotoResult]:
    """Write NAME.png (overlay), NAME.json and, where there are hands, NAME.glb and NAME.obj for each photo.

    Args:
        source: a photo or a folder of photos.
        folder: where the results go; it is made.
        recover: the predictor.
        camera: the calibration of the camera; its distortion is undone before anything else.

    Yields a result as soon as its files are written. Raises HandMeshError for no photo, none that can be read, or one
    that a result would replace (then nothing is written); a damaged one among several is named on stderr and skipped.
    """
    photos = open_source(source)
    if not isinstance(photos, PhotoSource):
        photos.close()
        raise HandMeshError(
            f"expected a photo or a folder of photos, got {source}; clips are for: handmesh webcam --source"
        )
    target = Path(folder)
    if target.is_file():
        raise HandMeshError(f"expected a folder for the results, got the file {target}; name another with --output")
    names = result_names(photos.files)
    refuse_to_replace(photos.files, (target / f"{name}.png" for name in names.values()))
    for item in photos:
        image = item.image if camera is None else camera.undistort(item.image)
        hands = recover(image)
        base = target / names[item.name]
        files = [base.with_name(f"{base.name}{suffix}") for suffix in (".png", ".json", ".glb", ".obj")]
        write_image(files[0], draw_hands(image, hands))
        write_record(files[1], hands, item.name)
        if hands:
            write_glb(files[2], hands)
            write_obj(files[3], hands)
        yield PhotoResult(item.name, hands, files if hands else files[:2])


def result_names(photos: Sequence[Path]) -> dict[str, str]:
    """For each photo's file name the name of its results: without suffix, unless two photos differ in nothing else."""
    stems = [photo.stem for photo in photos]
    return {photo.name: photo.stem if stems.count(photo.stem) == 1 else photo.name for photo in photos}


def write_record(path: Path, hands: Sequence[Hand], image_name: str = "") -> None:
    """Hands as JSON: every number with its unit, no faces (they are the hand model's)."""
    content: dict[str, Any] = {
        "handmesh": __version__,
        "image": image_name,
        "hands": [hand.to_dict() for hand in hands],
    }
    with atomic_path(path) as part:
        part.write_text(json.dumps(content) + "\n", encoding="utf-8")


def write_glb(path: Path, hands: Sequence[Hand]) -> None:
    """All hands in one binary glTF: metres, y up, the camera at the origin looking along -z, smooth normals."""
    import trimesh

    scene = trimesh.Scene()
    for number, hand in enumerate(hands):
        mesh = hand.to_trimesh()
        material = trimesh.visual.material.PBRMaterial(
            baseColorFactor=_linear_rgba(RIGHT_TINT if hand.is_right else LEFT_TINT),
            metallicFactor=0.0,
            roughnessFactor=0.7,
            doubleSided=True,
        )
        mesh.visual = trimesh.visual.TextureVisuals(material=material)
        scene.add_geometry(mesh, node_name=f"{side_of(hand)}_hand_{number}")
    data = scene.export(file_type="glb", include_normals=True)
    with atomic_path(path) as part:
        part.write_bytes(data)


def _linear_rgba(tint: tuple[int, int, int]) -> tuple[int, ...]:
    """The overlay's colour as glTF wants it: linear light, here still 0..255."""
    return (*(round(255 * (value / 255) ** 2.2) for value in tint), 255)


def write_obj(path: Path, hands: Sequence[Hand]) -> None:
    """All hands in one Wavefront OBJ, an object each, in the camera's own axes (x right, y down, z forward), metres."""
    lines = ["# handmesh: metres, camera frame (x right, y down, z forward)"]
    first = 1
    for number, hand in enumerate(hands):
        lines.append(f"o {side_of(hand)}_hand_{number}")
        lines.extend(f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in np.asarray(hand.vertices, np.float64))
        lines.extend(f"f {a} {b} {c}" for a, b, c in np.asarray(hand.faces) + first)
        first += len(hand.vertices)
    with atomic_path(path) as part:
        part.write_text("\n".join(lines) + "\n", encoding="utf-8")


def side_of(hand: Hand) -> str:
    """ "right" or "left"."""
    return "right" if hand.is_right else "left"

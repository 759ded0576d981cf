"""Hands as files: one binary glTF, one Wavefront OBJ, or one JSON for all hands of a picture.

Meshes are in glTF's axes in both formats (x right, y up, z towards the viewer, metres, the camera at the origin), the
numbers in the camera's (x right, y down, z forward).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handmesh._version import __version__
from handmesh.io.files import atomic_path, write_json
from handmesh.io.images import write_image
from handmesh.results import Hand

Color = tuple[int, int, int]


def mesh_names(hands: Sequence[Hand]) -> list[str]:
    """The name of each hand's mesh: its side and its place in the list, "right_hand_0"."""
    return [f"{hand.side}_hand_{number}" for number, hand in enumerate(hands)]


def record_of(
    hands: Sequence[Hand],
    image_name: str = "",
    image_size: tuple[int, int] | None = None,
    K: NDArray[np.floating[Any]] | None = None,
    is_fov_assumed: bool | None = None,
) -> dict[str, Any]:
    """What :func:`write_record` writes.

    Args:
        hands, image_name, image_size, K, is_fov_assumed: as there.

    Returns:
        Plain dicts, lists, numbers and text.
    """
    content: dict[str, Any] = {"handmesh": __version__, "image": image_name}
    if image_size is not None:
        width, height = (int(side) for side in image_size)
        content["image_size"] = {"width": width, "height": height}
        if K is not None:
            # Over the longer side, as the commands take it.
            focal_px = float(K[0, 0] if width >= height else K[1, 1])
            fov_deg = 2 * np.degrees(np.arctan(max(width, height) / 2 / focal_px))
            content["camera"] = {"fov_deg": round(float(fov_deg), 3), "K": np.asarray(K, float).round(4).tolist()}
            if is_fov_assumed is not None:
                content["camera"]["is_fov_assumed"] = is_fov_assumed
    return {**content, "hands": [hand.to_dict() for hand in hands]}


def write_record(
    path: Path,
    hands: Sequence[Hand],
    image_name: str = "",
    image_size: tuple[int, int] | None = None,
    K: NDArray[np.floating[Any]] | None = None,
    is_fov_assumed: bool | None = None,
) -> None:
    """Hands as JSON: every number with its unit.

    Args:
        path: the file, written whole or not at all.
        hands: of one picture; each is a :meth:`Hand.to_dict`.
        image_name: of the picture.
        image_size: (width, height) in pixels.
        K: (3, 3) intrinsics that the hands were placed with; with the size it gives the field of view.
        is_fov_assumed: whether the field of view was assumed, so that distances are a guess.
    """
    content = record_of(hands, image_name, image_size, K, is_fov_assumed)
    write_json(path, content)


def write_masks(path: Path, shape: Sequence[int], hands: Sequence[Hand]) -> None:
    """A PNG whose pixels are, in each channel, k where the picture shows hand k, counted from 1, and 0 elsewhere.

    Args:
        path: the file.
        shape: of the picture, its height and width first.
        hands: of the picture; those without a mask show nowhere.
    """
    numbers = np.zeros((shape[0], shape[1]), np.uint8)
    for number, hand in enumerate(hands[:255], start=1):
        if hand.mask is not None:
            numbers[hand.mask] = number
    write_image(path, np.repeat(numbers[..., None], 3, axis=2))


def write_glb(path: Path, hands: Sequence[Hand], colors: Sequence[Color] | None = None) -> None:
    """All hands in one binary glTF, a named mesh each, with smooth normals.

    Args:
        path: the file, written whole or not at all.
        hands: of one picture.
        colors: sRGB 0..255 of each; None: each side has its own.
    """
    import trimesh

    scene = trimesh.Scene()
    for index, (hand, name) in enumerate(zip(hands, mesh_names(hands), strict=True)):
        mesh = hand.to_trimesh(None if colors is None else colors[index])
        scene.add_geometry(mesh, node_name=name, geom_name=name)
    data = scene.export(file_type="glb", include_normals=True)
    with atomic_path(path) as part:
        part.write_bytes(data)


def write_obj(path: Path, hands: Sequence[Hand], colors: Sequence[Color] | None = None) -> None:
    """All hands in one Wavefront OBJ, a named object each, with normals, and colours as most programs read them.

    Args:
        path, hands, colors: as of :func:`write_glb`; the axes are the same.
    """
    lines = ["# handmesh: metres; x right, y up, z towards the viewer; the camera is the origin"]
    first = 1
    for index, (hand, name) in enumerate(zip(hands, mesh_names(hands), strict=True)):
        mesh = hand.to_trimesh()
        # Where a vertex has six numbers, programs read the last three as sRGB.
        red, green, blue = np.array(hand.color if colors is None else colors[index]) / 255
        lines.append(f"o {name}")
        lines.extend(f"v {x:.6f} {y:.6f} {z:.6f} {red:.3f} {green:.3f} {blue:.3f}" for x, y, z in mesh.vertices)
        lines.extend(f"vn {x:.4f} {y:.4f} {z:.4f}" for x, y, z in mesh.vertex_normals)
        lines.extend(f"f {a}//{a} {b}//{b} {c}//{c}" for a, b, c in np.asarray(hand.faces) + first)
        first += len(hand.vertices)
    with atomic_path(path) as part:
        part.write_text("\n".join(lines) + "\n", encoding="utf-8")


def result_names(photos: Sequence[Path]) -> dict[str, str]:
    """For each photo's file name the name of its results: without suffix, unless two photos differ in nothing else."""
    stems = [photo.stem for photo in photos]
    return {photo.name: photo.stem if stems.count(photo.stem) == 1 else photo.name for photo in photos}


def side_of(hand: Hand) -> str:
    """ "right" or "left"."""
    return hand.side

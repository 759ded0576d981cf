"""A window in which meshes can be turned: Open3D, loaded only when asked for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from handmesh.errors import HandMeshError
from handmesh.io.runtime.system_libraries import install_line, missing_libraries
from handmesh.rendering.overlay import LEFT_TINT, RIGHT_TINT
from handmesh.rendering.window import why_no_window
from handmesh.results import Hand


def hand_geometries(hands: Sequence[Hand]) -> list[Any]:
    """The hands as Open3D meshes with normals and their tints; y up, z towards the viewer, metres."""
    import open3d

    meshes = []
    for hand in hands:
        # Open3D's first view looks along -z with y up: half a turn about x from the camera's frame.
        points = np.asarray(hand.vertices, np.float64) * np.array([1.0, -1.0, -1.0])
        mesh = open3d.geometry.TriangleMesh(
            open3d.utility.Vector3dVector(points),
            open3d.utility.Vector3iVector(np.asarray(hand.faces, np.int32)),
        )
        mesh.compute_vertex_normals()
        mesh.paint_uniform_color(np.array(RIGHT_TINT if hand.is_right else LEFT_TINT) / 255.0)
        meshes.append(mesh)
    return meshes


@cache
def expect_viewer() -> None:
    """HandMeshError when no 3D window can be opened here: no display, no Open3D, or not the libraries that it loads."""
    # Asked first: without a display Open3D draws into nothing and waits for ever to be closed.
    reason = why_no_window()
    if reason:
        raise HandMeshError(
            f"expected a display for the 3D window, got none: {reason}; or open the .glb on another machine"
        )
    try:
        import open3d  # noqa: F401
    except (ImportError, OSError) as error:
        missing = [library for library in missing_libraries() if "open3d" in library.needed_by]
        remedy = install_line(missing) if missing else "pip install 'handmesh[view]'"
        raise HandMeshError(
            f"expected Open3D for the 3D window, got: {error}; install what is missing with: {remedy}"
        ) from error


def show_hands(hands: Sequence[Hand], title: str = "handmesh") -> None:
    """Open a window with the hands' meshes, to be turned with the mouse, and wait until it is closed.

    Raises HandMeshError when there is nothing to show, no Open3D, or no display.
    """
    if not hands:
        raise HandMeshError("expected at least one hand to show, got none; try another picture")
    expect_viewer()
    import open3d

    window = open3d.visualization.Visualizer()
    if not window.create_window(window_name=title, width=960, height=720):
        raise HandMeshError("expected a display for the 3D window, found none; save a .glb and open it elsewhere")
    try:
        # Its name for shading by vertex normals; left alone, every triangle is a facet.
        window.get_render_option().mesh_shade_option = open3d.visualization.MeshShadeOption.Color
        for mesh in hand_geometries(hands):
            window.add_geometry(mesh)
        window.run()
    finally:
        window.destroy_window()

"""Hands drawn over the picture they were found in: a shaded, see-through mesh, its outline, the skeleton.

Works on the part of the picture that the hand covers, nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from handmesh.io.runtime.kernels import njit
from handmesh.rendering.colors import LEFT_COLORS, RIGHT_COLORS, Color, hand_colors
from handmesh.rendering.rasterizer import NEAR_M, fill_faces, setup_edges, vertex_normals
from handmesh.rendering.skeleton_lines import draw_skeleton
from handmesh.results import Hand

#: RGB 0..255 of a single hand's mesh by side.
RIGHT_TINT, LEFT_TINT = RIGHT_COLORS[0], LEFT_COLORS[0]
Region = tuple[int, int, int, int]

#: A surface whose hand has a fit score below the first is drawn fainter, down to the second share of its opacity: nine
#: in ten of those hands lie badly.
_FIRM_FIT, _LEAST_FIRMNESS = 0.1, 0.45
#: Share of the drawn region: what is narrower is no object before a hand, but an edge of a mask that is a little off.
_NARROW = 0.05
_STEP = np.float32(0.03)  # relative step of depth within a pixel's neighbours that makes it an edge
# A key light over the viewer's left shoulder and a weak one from below, in the camera's frame, pointing to the light.
_KEY = np.array([-0.45, -0.65, -0.61], np.float32)
_FILL = np.array([0.70, 0.30, -0.65], np.float32)


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _vertex_light(vertices: np.ndarray, normals: np.ndarray, key: np.ndarray, fill: np.ndarray) -> np.ndarray:
    """(V, 2) float32: diffuse light and highlight of each vertex."""
    out = np.empty((vertices.shape[0], 2), np.float32)
    for v in range(vertices.shape[0]):
        x, y, z = vertices[v, 0], vertices[v, 1], vertices[v, 2]
        scale = np.float32(-1.0) / np.sqrt(x * x + y * y + z * z + np.float32(1e-12))
        ex, ey, ez = x * scale, y * scale, z * scale
        nx, ny, nz = normals[v, 0], normals[v, 1], normals[v, 2]
        facing = max(nx * ex + ny * ey + nz * ez, np.float32(0.0))
        diffuse = np.float32(0.16) + np.float32(0.22) * facing
        diffuse += np.float32(0.62) * max(nx * key[0] + ny * key[1] + nz * key[2], np.float32(0.0))
        diffuse += np.float32(0.18) * max(nx * fill[0] + ny * fill[1] + nz * fill[2], np.float32(0.0))
        hx, hy, hz = ex + key[0], ey + key[1], ez + key[2]
        norm = np.float32(1.0) / np.sqrt(hx * hx + hy * hy + hz * hz + np.float32(1e-12))
        peak = max((nx * hx + ny * hy + nz * hz) * norm, np.float32(0.0))
        peak = peak * peak
        peak = peak * peak
        peak = peak * peak
        rim = (np.float32(1.0) - facing) * (np.float32(1.0) - facing)
        out[v, 0] = diffuse
        out[v, 1] = np.float32(0.22) * peak * peak + np.float32(0.10) * rim * rim
    return out


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _light_planes(edges: np.ndarray, boxes: np.ndarray, faces: np.ndarray, light: np.ndarray) -> np.ndarray:
    """(F, 8) float32: u0, v0, then a, b, c of diffuse and of highlight such that a (u - u0) + b (v - v0) + c is the
    value over the depth at (u, v): what is linear on a face is, so divided, linear in the picture.
    """
    planes = np.zeros((faces.shape[0], 8), np.float32)
    for f in range(faces.shape[0]):
        if boxes[f, 2] <= boxes[f, 0]:
            continue
        planes[f, 0], planes[f, 1] = boxes[f, 0], boxes[f, 1]
        for i in range(3):
            vertex = faces[f, i]
            for k in range(3):
                planes[f, 2 + k] += edges[f, i, k] * light[vertex, 0]
                planes[f, 5 + k] += edges[f, i, k] * light[vertex, 1]
    return planes


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _nearest_at(
    u: float, v: float, candidates: np.ndarray, count: int, edges: np.ndarray, boxes: np.ndarray
) -> tuple[int, float]:
    """The nearest of the first `count` candidates that covers (u, v), or -1, and its inverse depth there."""
    best, found = np.float32(0.0), -1
    for i in range(count):
        f = np.uintp(candidates[i])
        du, dv = u - np.float32(boxes[f, 0]), v - np.float32(boxes[f, 1])
        w0 = edges[f, 0, 0] * du + edges[f, 0, 1] * dv + edges[f, 0, 2]
        w1 = edges[f, 1, 0] * du + edges[f, 1, 1] * dv + edges[f, 1, 2]
        w2 = edges[f, 2, 0] * du + edges[f, 2, 1] * dv + edges[f, 2, 2]
        total = w0 + w1 + w2
        if min(w0, w1, w2) >= np.float32(-1e-4) * total and total > best:
            best, found = total, candidates[i]
    return found, best


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _faces_around(face_index: np.ndarray, row: int, column: int, candidates: np.ndarray) -> int:
    """Fill candidates (9,) with the different faces of a pixel and its neighbours; returns how many."""
    count = 0
    for y in range(row - 1, row + 2):
        for x in range(column - 1, column + 2):
            f = face_index[y, x]
            is_new = f >= 0
            for i in range(count):
                is_new &= candidates[i] != f
            if is_new:
                candidates[count] = f
                count += 1
    return count


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _blend(
    image: np.ndarray, left: int, top: int, face_index: np.ndarray, inverse_depth: np.ndarray, edges: np.ndarray,
    boxes: np.ndarray, planes: np.ndarray, tints: np.ndarray, face_hand: np.ndarray, opacities: np.ndarray,
) -> None:
    """Blend a z-buffer over image (H, W, 3) uint8: its pixel (1, 1) is the image's (left, top), its border is spare.

    Pixels well inside a surface are shaded once; where depth steps, four samples choose among the faces around.
    """
    zero, one, half = np.float32(0.0), np.float32(1.0), np.float32(0.5)
    quarter, most = np.float32(0.25), np.float32(255.0)
    candidates = np.empty(9, np.int32)
    for v in range(1, face_index.shape[0] - 1):
        for u in range(1, face_index.shape[1] - 1):
            centre = inverse_depth[v, u]
            up, down = inverse_depth[v - 1, u], inverse_depth[v + 1, u]
            before, after = inverse_depth[v, u - 1], inverse_depth[v, u + 1]
            high = max(centre, max(max(up, down), max(before, after)))
            if high == zero:
                continue
            low = min(centre, min(min(up, down), min(before, after)))
            diffuse = shine = weight = zero
            hand = 0
            if high - low < _STEP * high:
                p = planes[np.uintp(face_index[v, u])]
                du, dv, z = np.float32(u) - p[0], np.float32(v) - p[1], one / centre
                diffuse = (p[2] * du + p[3] * dv + p[4]) * z
                shine = (p[5] * du + p[6] * dv + p[7]) * z
                weight = one
                hand = face_hand[np.uintp(face_index[v, u])]
            else:
                count = _faces_around(face_index, v, u, candidates)
                for s in range(4):
                    at_u = np.float32(u) + (half * np.float32(s & 1) - quarter)
                    at_v = np.float32(v) + (half * np.float32(s >> 1) - quarter)
                    f, near = _nearest_at(at_u, at_v, candidates, count, edges, boxes)
                    if f >= 0:
                        p = planes[np.uintp(f)]
                        du, dv, z = at_u - p[0], at_v - p[1], quarter / near
                        diffuse += max((p[2] * du + p[3] * dv + p[4]) * z, zero)
                        shine += max((p[5] * du + p[6] * dv + p[7]) * z, zero)
                        weight += quarter
                        hand = face_hand[np.uintp(f)]
            if weight == zero:
                continue
            full = opacities[np.uintp(hand)]
            rest = one - weight * full
            diffuse, shine = diffuse * full, shine * full * most + half
            pixel = image[np.uintp(top + v - 1), np.uintp(left + u - 1)]
            tint = tints[np.uintp(hand)]
            for c in range(3):
                pixel[c] = np.uint8(min(np.float32(pixel[c]) * rest + tint[c] * diffuse + shine, most))


@njit(cache=True, nogil=True)
def _bounds(vertices: np.ndarray, K: np.ndarray) -> tuple[float, float, float, float, float]:
    """Least and most u and v of the vertices before the near plane (most < least: none), and the least depth."""
    low_u = low_v = nearest = np.inf
    high_u = high_v = -np.inf
    for i in range(vertices.shape[0]):
        x, y, z = vertices[i]
        nearest = min(nearest, z)
        if z > NEAR_M:
            u = (K[0, 0] * x + K[0, 1] * y) / z + K[0, 2]
            v = K[1, 1] * y / z + K[1, 2]
            low_u, high_u = min(low_u, u), max(high_u, u)
            low_v, high_v = min(low_v, v), max(high_v, v)
    return low_u, low_v, high_u, high_v, nearest


def draw_hands(
    image: np.ndarray,
    hands: Sequence[Hand],
    *,
    mesh: bool = True,
    joints: bool = False,
    alpha: float = 0.85,
    outline: bool = False,
    colors: Sequence[Color] | None = None,
    fade: bool = True,
    hide_covered: bool = False,
) -> np.ndarray:
    """Draw hands over the picture that they were found in.

    Args:
        image: (H, W, 3) uint8 RGB; it stays as it is.
        hands: what is drawn, nearer ones before farther ones.
        mesh: the shaded surface.
        joints: the skeleton in one colour a finger; joints of low confidence are drawn faintly.
        alpha: how opaque the surface is, 0..1.
        outline: a line around each surface, opaque whatever alpha is.
        colors: RGB 0..255 for each hand; default :func:`handmesh.rendering.colors.hand_colors`.
        fade: a surface that may well not fit its hand (``fit_score`` below 0.1) is drawn fainter.
        hide_covered: leave out of a surface what the hand's ``mask`` says is something else's, an object's before the
            hand; hands without a mask are drawn whole. The predictor makes masks when asked with ``masks=True``.

    Returns:
        A copy of image with the hands.

    Raises:
        ValueError: another kind of array, alpha outside 0..1, another number of colours.
    """
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"expected an image (H, W, 3) uint8, got {image.dtype} {image.shape}")
    if not 0 <= alpha <= 1:
        raise ValueError(f"expected alpha between 0 and 1, got {alpha}")
    colors = hand_colors(hands) if colors is None else colors
    if len(colors) != len(hands):
        raise ValueError(f"expected a colour for each of {len(hands)} hands, got {len(colors)}")
    image = image.copy()
    if mesh or outline:
        tints = {id(hand): color for hand, color in zip(hands, colors, strict=True)}
        for region, group in _groups(hands, image.shape[1], image.shape[0]):
            group_tints = np.array([tints[id(hand)] for hand in group], np.float32)
            solid = alpha if mesh else 0.0
            opacities = np.array([solid * (_firmness(hand) if fade else 1.0) for hand in group], np.float32)
            _draw_meshes(image, region, group, opacities, group_tints, outline, hide_covered)
    if joints:
        for hand in sorted(hands, key=lambda h: -float(h.translation[2])):
            draw_skeleton(image, hand)
    return image


def _firmness(hand: Hand) -> float:
    """The share of its opacity that a hand keeps."""
    return _LEAST_FIRMNESS + (1 - _LEAST_FIRMNESS) * min(1.0, hand.fit_score / _FIRM_FIT)


def _region(hand: Hand, width: int, height: int) -> Region:
    """Pixels (left, top, right, bottom), exclusive, that a hand covers; all of the picture when it reaches the eye."""
    vertices, K = np.ascontiguousarray(hand.vertices, np.float32), np.asarray(hand.K, np.float64)
    low_u, low_v, high_u, high_v, nearest = _bounds(vertices, K)
    if high_u < low_u:
        return 0, 0, 0, 0
    if nearest <= NEAR_M:
        return 0, 0, width, height
    left, top = (int(np.floor(min(max(low, 0.0), side))) for low, side in ((low_u, width), (low_v, height)))
    right, bottom = (int(np.ceil(min(max(high + 1, 0.0), side))) for high, side in ((high_u, width), (high_v, height)))
    return left, top, right, bottom


def _groups(hands: Sequence[Hand], width: int, height: int) -> list[tuple[Region, list[Hand]]]:
    """Hands that overlap in the picture share one region and one z-buffer; hands apart have a small one each."""
    groups: list[tuple[Region, list[Hand]]] = []
    for hand in hands:
        box, members = _region(hand, width, height), [hand]
        rest = []
        for other, others in groups:
            if box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3]:
                box = min(box[0], other[0]), min(box[1], other[1]), max(box[2], other[2]), max(box[3], other[3])
                members = others + members
            else:
                rest.append((other, others))
        groups = [*rest, (box, members)]
    return groups


def _draw_meshes(
    image: np.ndarray, region: Region, hands: list[Hand], opacities: np.ndarray, tints: np.ndarray, outline: bool,
    hide_covered: bool,
) -> None:
    left, top, right, bottom = region
    if right <= left or bottom <= top:
        return
    wide, high = right - left + 2, bottom - top + 2
    inverse_depth = np.zeros((high, wide), np.float32)
    face_index = np.full((high, wide), -1, np.int32)
    count = [len(hand.faces) for hand in hands]
    edges = np.empty((sum(count), 3, 3), np.float32)
    boxes = np.empty((sum(count), 4), np.int32)
    all_faces, light, first_vertex, first_face = [], [], 0, 0
    for hand in hands:
        vertices = np.ascontiguousarray(hand.vertices, np.float32)
        faces = np.ascontiguousarray(hand.faces, np.int32)
        normals = np.empty_like(vertices)
        vertex_normals(vertices, faces, normals)
        light.append(_vertex_light(vertices, normals, _KEY, _FILL))
        K = np.array(hand.K, np.float64)
        K[:2, 2] -= [left - 1, top - 1]
        rows = slice(first_face, first_face + len(faces))
        setup_edges(vertices, faces, K, wide, high, NEAR_M, True, edges[rows], boxes[rows])
        fill_faces(edges[rows], boxes[rows], NEAR_M, first_face, inverse_depth, face_index)
        all_faces.append(faces + first_vertex)
        first_vertex += len(vertices)
        first_face += len(faces)
    face_hand = np.repeat(np.arange(len(hands)), count)
    part = image[top:bottom, left:right]
    masks = [hand.mask if hide_covered else None for hand in hands]
    before = part.copy() if any(mask is not None for mask in masks) else None
    if opacities.any():
        planes = _light_planes(edges, boxes, np.concatenate(all_faces), np.concatenate(light))
        _blend(image, left, top, face_index, inverse_depth, edges, boxes, planes, tints, face_hand, opacities)
    # Face -1 is no face; it reads the entry after the last hand's.
    owner = np.append(face_hand, len(hands))[face_index[1:-1, 1:-1]] if outline or before is not None else None
    if owner is not None and outline:
        for number, tint in enumerate(tints):
            _draw_outline(part, owner == number, tint)
    if owner is not None and before is not None:
        _uncover(part, before, _covered_share(owner, masks, region))


def _uncover(part: np.ndarray, before: np.ndarray, share: np.ndarray) -> None:
    """Mix what was there before (h, w, 3) back into a part of a picture, by a share (h, w) of each pixel; in place."""
    part[:] = np.rint(part + share[..., None] * (before.astype(np.float32) - part)).astype(np.uint8)


def _covered_share(owner: np.ndarray, masks: Sequence[np.ndarray | None], region: Region) -> np.ndarray:
    """How much of each pixel of a region is before the hand that is drawn there: (h, w) float32, 0..1, soft at edges.

    Args:
        owner: (h, w) the hand of each pixel, len(masks) for none.
        masks: (H, W) bool of each hand.
        region: of the picture.
    """
    left, top, right, bottom = region
    hidden = np.zeros(owner.shape, np.uint8)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round(_NARROW / 2 * max(owner.shape)) + 1,) * 2)
    for number, mask in enumerate(masks):
        if mask is None:
            continue
        other = ~np.asarray(mask, bool)[top:bottom, left:right]
        core = cv2.morphologyEx(((owner == number) & other).astype(np.uint8), cv2.MORPH_OPEN, disc)
        # The rest of the object, where it reaches the hand's edge and the outline.
        hidden |= cv2.dilate(core, disc, iterations=2) & other
    return cv2.GaussianBlur(hidden.astype(np.float32), (0, 0), 1.0)


def _draw_outline(image: np.ndarray, is_hand: np.ndarray, tint: np.ndarray) -> None:
    """A line of the hand's colour along the edge of its visible surface, dark beside it, in place."""
    contours, _ = cv2.findContours(is_hand.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    thickness = max(1, round(max(image.shape[:2]) / 240))
    # Gaps of a few pixels between fingers need no ring of their own.
    contours = [contour for contour in contours if len(contour) > 12 * thickness]
    part = np.ascontiguousarray(image)
    for width, color in ((thickness + 2, tuple(0.25 * float(c) for c in tint)), (thickness, tuple(map(float, tint)))):
        cv2.drawContours(part, contours, -1, color, width, cv2.LINE_AA)
    image[:] = part

"""Laying one set of points over another: root-relative coordinates and similarity (Procrustes) alignment, batched."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from handmesh.skeleton import ROOT_JOINT

FloatArray = NDArray[np.floating[Any]]


def point_errors(predicted: FloatArray, true: FloatArray) -> NDArray[np.float64]:
    """Euclidean distances (..., P) between corresponding points (..., P, 3)."""
    difference = np.asarray(predicted, np.float64) - np.asarray(true, np.float64)
    errors: NDArray[np.float64] = np.linalg.norm(difference, axis=-1)
    return errors


def root_align(points: FloatArray, root: int = ROOT_JOINT) -> FloatArray:
    """(..., N, 3) moved so that point ``root`` lies at the origin."""
    return points - points[..., root : root + 1, :]


def similarity_align(
    source: FloatArray, target: FloatArray, allow_reflection: bool = True
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Move, turn and scale source onto target with the least squared error.

    As FreiHAND's official tool does it: both centred and divided by their Frobenius norm (+1e-8), the orthogonal
    matrix from an SVD, the scale from the sum of singular values, then back in the target's units.

    Args:
        source: (..., N, 3) points, any frame and unit.
        target: (..., N, 3) points, any frame and unit.
        allow_reflection: the official rule: the determinant is not corrected, so a mirrored hand fits perfectly. False:
            proper rotations only (Umeyama 1991).

    Returns:
        aligned: (..., N, 3) in the target's frame and units.
        is_reflected: (...) whether the best orthogonal matrix was a reflection (also when it was not allowed).

    Raises:
        ValueError: two shapes, or points that are not 3D.
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    if source.shape != target.shape or source.shape[-1] != 3:
        raise ValueError(f"expected two arrays of one shape (..., N, 3), got {source.shape} and {target.shape}")
    target_mean = target.mean(-2, keepdims=True)
    centred_target, centred_source = target - target_mean, source - source.mean(-2, keepdims=True)
    target_norm = np.linalg.norm(centred_target, axis=(-2, -1), keepdims=True) + 1e-8
    source_norm = np.linalg.norm(centred_source, axis=(-2, -1), keepdims=True) + 1e-8
    unit_target, unit_source = centred_target / target_norm, centred_source / source_norm
    u, singular, vt = np.linalg.svd(np.swapaxes(unit_target, -1, -2) @ unit_source)
    is_reflected = np.linalg.det(u @ vt) < 0
    if not allow_reflection:
        sign = np.ones_like(singular)
        sign[..., 2] = np.where(is_reflected, -1.0, 1.0)
        singular = singular * sign
        u = u * sign[..., None, :]
    rotation = u @ vt
    scale = singular.sum(-1)[..., None, None]
    aligned = (unit_source @ np.swapaxes(rotation, -1, -2)) * scale * target_norm + target_mean
    return aligned, is_reflected

"""The numbers of one hand model in MANO's format: read, checked, written, and named by a fingerprint."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from handmesh.errors import HandMeshError, printable, reason_of
from handmesh.io.files import atomic_path, user_path
from handmesh.io.npz import read_npz
from handmesh.skeleton import MANO_PARENTS, NUM_FACES, NUM_VERTICES

OPEN_HAND_PATH = Path(__file__).resolve().parent.parent / "assets" / "open_hand.npz"
ROOT_SENTINEL = 2**32 - 1  # what the original file stores as the parent of the root joint

SHAPES: dict[str, tuple[int, ...]] = {
    "v_template": (NUM_VERTICES, 3),
    "shapedirs": (NUM_VERTICES, 3, 10),
    "posedirs": (NUM_VERTICES, 3, 135),
    "J_regressor": (16, NUM_VERTICES),
    "weights": (NUM_VERTICES, 16),
    "faces": (NUM_FACES, 3),
    "parents": (16,),
    "hands_components": (45, 45),
    "hands_mean": (45,),
}
_INTEGER = ("faces", "parents")
#: Of all arrays of an .npz together, unpacked; the same as of a pickle. MANO in float64 with everything dense is 11 MB.
MAX_NPZ_BYTES = 64 * 2**20
#: Extent of the rest hand along its longest side, metres: from a toddler's to one larger than any measured. Beyond it
#: the numbers are in other units.
LENGTH_RANGE_M = (0.05, 0.5)
#: Largest magnitudes: metres a unit of shape or of rotation, weights of a joint's vertices, radians. A real hand is far
#: below all of them; above, its vertices overflow.
_LARGEST = {
    "shapedirs": 1.0, "posedirs": 1.0, "J_regressor": 10.0, "hands_components": 100.0, "hands_mean": 2 * math.pi,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class ManoArrays:
    """One right hand in MANO's format; metres, float64, axes as MANO's right hand (fingers towards -x).

    v_template (778, 3) rest vertices; shapedirs (778, 3, 10); posedirs (778, 3, 135) over 15 joints x vec(R -
    I) row-major; J_regressor (16, 778) dense, rows sum to 1; weights (778, 16), rows sum to 1; faces (1538,
    3) int64; parents (16,) int64 with -1 first; hands_components (45, 45) PCA rows; hands_mean (45,)
    axis-angle, radians.
    extras: further numeric arrays of the file by name (pose limits, vertex regions, ...), untouched.
    """

    v_template: np.ndarray
    shapedirs: np.ndarray
    posedirs: np.ndarray
    J_regressor: np.ndarray
    weights: np.ndarray
    faces: np.ndarray
    parents: np.ndarray
    hands_components: np.ndarray
    hands_mean: np.ndarray
    extras: Mapping[str, np.ndarray] = field(default_factory=dict)
    name: str = "unnamed"
    licence: str = ""

    def validate(self) -> ManoArrays:
        """Raise HandMeshError naming the first thing that is not a right hand in MANO's format; return
        self.
        """
        for key, shape in SHAPES.items():
            array = getattr(self, key)
            if array.shape != shape:
                raise self._wrong(key, f"shape {shape}", f"shape {array.shape}")
            if not np.isfinite(array).all():
                raise self._wrong(key, "finite numbers", "NaN or infinity")
            largest = float(np.abs(array).max())
            if largest > _LARGEST.get(key, math.inf):
                raise self._wrong(key, f"numbers up to {_LARGEST[key]:.3g}", f"{largest:.3g}")
        length_m = float(np.ptp(self.v_template, axis=0).max())
        if not LENGTH_RANGE_M[0] <= length_m <= LENGTH_RANGE_M[1]:
            expected = f"a hand in metres, {LENGTH_RANGE_M[0]} to {LENGTH_RANGE_M[1]} long,"
            raise self._wrong("v_template", expected, f"one of {length_m:.3g}")
        if self.faces.min() < 0 or self.faces.max() >= NUM_VERTICES:
            found = f"{self.faces.min()}..{self.faces.max()}"
            raise self._wrong("faces", f"vertex numbers 0..{NUM_VERTICES - 1}", found)
        corners = np.sort(self.faces, axis=1)
        if (corners[:, 1:] == corners[:, :-1]).any():
            raise self._wrong("faces", "three different corners in every triangle", "one vertex twice")
        if self.weights.min() < -1e-6:
            raise self._wrong("weights", "shares of 0 or more", f"{self.weights.min():.3g}")
        if tuple(self.parents.tolist()) != tuple(MANO_PARENTS):
            raise self._wrong("parents", str(tuple(MANO_PARENTS)), str(tuple(self.parents.tolist())))
        for key in ("weights", "J_regressor"):
            sums = getattr(self, key).sum(axis=1)
            if np.abs(sums - 1.0).max() > 1e-3:
                raise self._wrong(key, "rows that sum to 1", f"sums in {sums.min():.4f}..{sums.max():.4f}")
        return self._check_is_right()

    def _check_is_right(self) -> ManoArrays:
        # MANO's right hand points its fingers towards -x, its left one towards +x.
        joints = self.J_regressor @ self.v_template
        if joints[4, 0] > joints[0, 0]:
            raise HandMeshError(
                f"expected a right hand, fingers towards -x, in hand model '{self.name}', got a left one; "
                "left hands are mirrored right hands here: use the right hand's file (MANO_RIGHT.pkl)"
            )
        return self

    def _wrong(self, key: str, expected: str, found: str) -> HandMeshError:
        return HandMeshError(
            f"expected {expected} in '{key}' of hand model '{self.name}', got {found}; use the unmodified "
            "MANO v1.2 right-hand file or the open hand"
        )

    def fingerprint(self) -> str:
        """16 hexadecimal digits that name this hand: SHA-256 over the nine arrays.

        Taken over float32 and int64 copies, so the licensed pickle and its converted .npz have the same name
        whichever precision they were saved in. Extras, name and licence do not count: they do not move a
        vertex.
        """
        digest = hashlib.sha256()
        for key in SHAPES:
            kind = "<i8" if key in _INTEGER else "<f4"
            digest.update(key.encode())
            digest.update(np.ascontiguousarray(getattr(self, key), dtype=kind).tobytes())
        return digest.hexdigest()[:16]

    def mean_pose(self) -> np.ndarray:
        """The mean hand pose as matrices (15, 3, 3) float32."""
        # Imported here because that module loads torch, which readers of the arrays can do without.
        from handmesh.geometry.rotation_numpy import axis_angle_to_matrix_np

        return axis_angle_to_matrix_np(self.hands_mean.reshape(15, 3)).astype(np.float32)

    def to_struct_dict(self) -> dict[str, np.ndarray]:
        """MANO's own keys, for `smplx.MANO("", data_struct=smplx.utils.Struct(**d))` and for the .npz
        file.
        """
        kintree = np.stack([self.parents, np.arange(16)]).astype(np.int64)
        kintree[0, 0] = ROOT_SENTINEL
        return {
            "v_template": self.v_template,
            "shapedirs": self.shapedirs,
            "posedirs": self.posedirs,
            "J_regressor": self.J_regressor,
            "weights": self.weights,
            "kintree_table": kintree,
            "f": self.faces,
            "hands_components": self.hands_components,
            "hands_mean": self.hands_mean,
        }

    def save_npz(self, path: str | Path) -> Path:
        """Write everything as one .npz that `load_mano` reads; nothing half-written keeps the final name."""
        path = Path(path)
        content: dict[str, Any] = {**self.extras, **self.to_struct_dict()}
        content["name"], content["licence"] = np.array(self.name), np.array(self.licence)
        with atomic_path(path) as temporary, open(temporary, "wb") as handle:
            np.savez_compressed(handle, **content)
        return path


def arrays_from_mapping(content: Mapping[str, Any], name: str) -> ManoArrays:
    """Build and validate ManoArrays from MANO's keys (or `faces`, `parents` for `f`, `kintree_table`)."""
    content = dict(content)
    if "f" in content:
        content["faces"] = content.pop("f")
    if "kintree_table" in content:
        kintree = np.asarray(content.pop("kintree_table"))
        if kintree.ndim != 2 or not len(kintree):
            raise HandMeshError(
                f"expected 'kintree_table' of hand model '{name}' as two rows of joints, got shape {kintree.shape}; "
                "use the unmodified MANO v1.2 right-hand file or the open hand"
            )
        content["parents"] = kintree[0]
    missing = [key for key in SHAPES if key not in content]
    if missing:
        raise HandMeshError(
            f"expected the keys {', '.join(SHAPES)} (faces may be 'f', parents 'kintree_table') in hand "
            f"model '{name}', missing {', '.join(missing)}; use MANO_RIGHT.pkl, its .npz, or the open hand"
        )
    core: dict[str, Any] = {}
    for key in SHAPES:
        array = np.asarray(content.pop(key))
        if array.dtype.kind not in "fiu":
            raise HandMeshError(
                f"expected numbers in '{key}' of hand model '{name}', got dtype {array.dtype}"
            )
        if array.shape != SHAPES[key]:
            raise HandMeshError(
                f"expected shape {SHAPES[key]} in '{key}' of hand model '{name}', got shape {array.shape}; use the "
                "unmodified MANO v1.2 right-hand file or the open hand"
            )
        if key in _INTEGER and array.dtype.kind == "f":
            # Saved again by a program that knows one kind of number. What is no whole number becomes an error below.
            array = np.where(np.abs(array) < 2**31, array, -1)
        core[key] = array.astype(np.int64 if key in _INTEGER else np.float64)
    core["parents"][0] = -1  # the file holds an unsigned sentinel, re-saved copies hold anything
    label = printable(str(content.pop("name", name)))[:100]
    licence = printable(str(content.pop("licence", "")))[:1000]
    extras = {key: np.asarray(value) for key, value in content.items()}
    return ManoArrays(**core, extras=extras, name=label, licence=licence).validate()


def load_mano(path: str | Path = "open") -> ManoArrays:
    """Read a hand model: "open" for the one in the package, an .npz, or the licensed MANO_RIGHT.pkl.

    Raises HandMeshError when the file is missing, unreadable, or not a right hand in MANO's format.
    """
    source = OPEN_HAND_PATH if str(path) == "open" else user_path(path)
    if not source.is_file():
        raise HandMeshError(
            f"expected a hand model at {source}, found no such file; give MANO_RIGHT.pkl, an .npz written by "
            "'handmesh convert-mano', or 'open' for the hand in the package"
        )
    if source.suffix.lower() == ".pkl":
        from handmesh.mano.pickle_reader import read_mano_pickle

        return arrays_from_mapping(read_mano_pickle(source), source.stem)
    return arrays_from_mapping(_read_npz(source), source.stem)


def _read_npz(source: Path) -> dict[str, np.ndarray]:
    try:
        return read_npz(source, MAX_NPZ_BYTES)
    except (OSError, ValueError) as error:
        raise HandMeshError(
            f"expected an .npz hand model, could not read {source} ({reason_of(error)}); convert MANO_RIGHT.pkl again "
            "with 'handmesh convert-mano'"
        ) from None

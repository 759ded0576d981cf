"""``handmesh export``: a checkpoint becomes a file for another runtime, verified before it is kept.

Loads, folds, converts, reads the file back, and compares its output with that of the checkpoint in its training form:
a file that differs by more than a bound is not left behind. The formats are in formats.py.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from handmesh._version import __version__
from handmesh.config import Config, config_from_dict
from handmesh.errors import HandMeshError, reason_of
from handmesh.inference.export.formats import FORMATS, Format, Graph, Run, openvino_graph, save_openvino
from handmesh.inference.export.quantization import quantize
from handmesh.inference.export.sample_crops import photo_crops, rendered_crops
from handmesh.io.files import work_folder
from handmesh.mano.arrays import ManoArrays, load_mano
from handmesh.models.checkpoint import load_checkpoint
from handmesh.models.hand_mesh_net import HandMeshNet
from handmesh.models.outputs import HandMeshOutput
from handmesh.models.parameter_net import ParameterNet
from handmesh.skeleton import JOINT_NAMES

#: Pictures that a file is verified on.
VERIFIED = 16
#: How far vertices may be from where the checkpoint puts them, millimetres: the farthest one of a float file, and of an
#: int8 file, where a picture that could be two hands makes any largest figure an accident, the mean.
FLOAT_BOUND_MM = 0.1
INT8_BOUND_MM = 3.0


@dataclass(frozen=True)
class Exported:
    """What came of an export. Millimetres over all vertices of the pictures; None where nothing could be run."""

    file: Path
    runtime: str
    contains_hand: bool
    megabytes: float
    bound_mm: float
    largest_mm: float | None
    mean_mm: float | None
    milliseconds: float | None
    checkpoint_milliseconds: float


def export_checkpoint(
    checkpoint: str | Path,
    format_name: str,
    output: str | Path,
    *,
    mano: str | Path = "open",
    with_hand: bool | None = None,
    int8: bool = False,
    pictures: str | Path | None = None,
    calibration: int = 300,
    bound_mm: float | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> Exported:
    """Write a checkpoint as a file for another runtime, whole and verified, or not at all.

    Args:
        checkpoint: as load_checkpoint takes it.
        format_name: a key of FORMATS.
        output: the file; the format's suffix may be left out.
        mano: the hand model, as load_mano takes it.
        with_hand: whether the mesh is computed inside the file, whose arrays then are in it; None: for the open hand.
        int8: quantize the backbone (OpenVINO only).
        pictures: a folder of photos of hands to verify the file on and to quantize with; None renders some.
        calibration: crops to quantize with.
        bound_mm: the difference allowed, the largest or (int8) the mean; None for FLOAT_BOUND_MM or INT8_BOUND_MM.
        report: is given a line for each step.

    Raises:
        HandMeshError: an unknown format, a package that is missing, a folder that cannot be written, a file that
            differs by more than the bound.
    """
    if format_name not in FORMATS:
        raise HandMeshError(f"expected a format among {', '.join(FORMATS)}, got {format_name!r}; choose one of them")
    if int8 and format_name != "openvino":
        raise HandMeshError(f"expected --format openvino with --int8, got {format_name}; leave one of them out")
    kind = FORMATS[format_name]
    target = _named(Path(output), kind.suffix)
    arrays = load_mano(mano)
    net, header = load_checkpoint(checkpoint, arrays)
    config: Config = config_from_dict(header["config"])
    is_open = arrays.fingerprint() == load_mano("open").fingerprint()
    contains_hand = is_open if with_hand is None else with_hand
    with work_folder(target):
        pass  # A folder that cannot be written is an error before the work begins.
    report(f"making {VERIFIED} pictures to verify it on")
    own = photo_crops(pictures, net, arrays, config) if pictures else None
    shown = rendered_crops(arrays, config, VERIFIED) if own is None else own[:VERIFIED]
    expected, before_ms = _checkpoint_answers(net, shown)
    net.reparameterize()
    description = describe(net, arrays, config, contains_hand, "int8" if int8 else "float32")
    graph = _graph(net, contains_hand, description)
    with work_folder(target) as folder:
        part = folder / target.name
        report(f"converting for {kind.runtime}")
        if int8:
            crops = own if own is not None else rendered_crops(arrays, config, calibration, varied=True)
            report(f"quantizing with {min(len(crops), calibration)} crops")
            constants = [value.numpy() for value in graph.constants.values()]
            quantized = quantize(openvino_graph(graph), crops[:calibration], constants)
            with _writing(target):
                save_openvino(quantized, graph, part)
        else:
            with _writing(target):
                kind.write(graph, part)
        report("reading it back and comparing")
        bound = bound_mm if bound_mm is not None else INT8_BOUND_MM if int8 else FLOAT_BOUND_MM
        with _writing(target):  # OpenVINO writes on where the disk is full; such a file does not come back
            result = _verified(kind, graph, part, net, shown, expected)
        if result is not None and not result[1 if int8 else 0] <= bound:
            raise HandMeshError(
                f"expected vertices within {bound:g} mm of the checkpoint's{' on average' if int8 else ''}, got "
                f"{result[0]:.3f} mm at most and {result[1]:.3f} mm on average in {kind.runtime}; no file was left: "
                "try another format, or allow more with --bound"
            )
        size = sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())
        _move_in(folder, target)
    largest, mean, after_ms = result or (None, None, None)
    return Exported(target, kind.runtime, contains_hand, size / 1e6, bound, largest, mean, after_ms, before_ms)


def _named(output: Path, suffix: str) -> Path:
    if output.suffix == suffix:
        return output
    if output.suffix in {kind.suffix for kind in FORMATS.values()}:
        raise HandMeshError(
            f"expected --output to end in {suffix} for this format, got {output.name}; or leave the suffix out"
        )
    return output.with_name(output.name + suffix)


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    """A converter that cannot write as one line: most say so in a RuntimeError of their own."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        free_mb = shutil.disk_usage(target.parent).free / 1e6
        reason = reason_of(error)
        raise HandMeshError(
            f"expected to write {target}, got: {reason} ({free_mb:.0f} MB free there); free some space or name "
            "another place with --output"
        ) from error


def describe(
    net: HandMeshNet, arrays: ManoArrays, config: Config, contains_hand: bool, precision: str
) -> dict[str, str]:
    """The metadata of an exported file, every value a string.

    Args:
        net: the network.
        arrays: the hand model.
        config: of the checkpoint.
        contains_hand: whether the mesh is computed inside the file.
        precision: "float32" or "int8".
    """
    size = config.model.image_size
    metadata = {
        "handmesh_version": __version__,
        "backbone": config.model.backbone,
        "precision": precision,
        "image_size": str(size),
        "input": f"images uint8 (B, {size}, {size}, 3) RGB: square crops of right hands, left ones mirrored",
        "units": "metres in the crop's camera frame (x right, y down, z forward); keypoints_2d in crop pixels, a "
        "pixel's centre at whole numbers; rotations are matrices; confidence, presence and is_right 0..1",
        "joint_order": ",".join(JOINT_NAMES),
        "rotation_order": "MANO",
        "crop_padding": str(config.data.crop_padding),
        "crop_perspective": "yes" if config.data.perspective else "no",
        "hand_fingerprint": net.hand_fingerprint,
        "hand_name": arrays.name,
        "contains_hand": "yes" if contains_hand else "no",
    }
    if contains_hand:
        metadata["hand_licence"] = arrays.licence
        metadata["faces"] = json.dumps(arrays.faces.tolist(), separators=(",", ":"))
    return metadata


def _graph(net: HandMeshNet, contains_hand: bool, description: dict[str, str]) -> Graph:
    size = net.config.image_size
    if contains_hand:
        return Graph(net, size, {}, HandMeshOutput._fields, description)
    alone = ParameterNet(net).eval()
    metadata = {**description, "further_inputs": ", ".join(f"{k} {tuple(v.shape)}" for k, v in alone.constants.items())}
    return Graph(alone, size, alone.constants, alone.outputs, metadata)


def _checkpoint_answers(net: HandMeshNet, crops: NDArray[np.uint8]) -> tuple[NDArray[np.float32], float]:
    """Vertices (N, 778, 3) of the network as it was trained, and its median milliseconds a crop."""
    answers, times = [], []
    with torch.inference_mode():
        for crop in crops:
            start = time.perf_counter()
            answers.append(net(torch.from_numpy(crop[None])).vertices.numpy())
            times.append(time.perf_counter() - start)
    return np.concatenate(answers), 1e3 * float(np.median(times))


def _verified(
    kind: Format, graph: Graph, file: Path, net: HandMeshNet, crops: NDArray[np.uint8],
    expected: NDArray[np.float32],
) -> tuple[float, float, float] | None:  # fmt: skip
    """Largest and mean difference in mm and median milliseconds of the file, read back; None if it cannot run here."""
    run = kind.read(graph, file)
    if run is None:
        return None
    answers = np.concatenate([_vertices(run, crop[None], net) for crop in crops])
    apart = 1e3 * np.linalg.norm(answers - expected, axis=-1)
    times = []
    for crop in [*crops] * 4:
        start = time.perf_counter()
        run(crop[None])
        times.append(time.perf_counter() - start)
    return float(apart.max()), float(apart.mean()), 1e3 * float(np.median(times))


def _vertices(run: Run, crop: NDArray[np.uint8], net: HandMeshNet) -> NDArray[np.float32]:
    """(1, 778, 3): the file's, or those its parameters give."""
    output = run(crop)
    if "vertices" in output:
        return np.array(output["vertices"])
    rotations, betas = (torch.from_numpy(np.array(output[name])) for name in ("rotations", "betas"))
    with torch.inference_mode():
        vertices: Any = net.mano(rotations[:, 0], rotations[:, 1:], betas)[0]
    return np.asarray(vertices.numpy())


def _move_in(folder: Path, target: Path) -> None:
    """Everything written, to its final name; the file that is looked for last."""
    for part in sorted(folder.iterdir(), key=lambda each: each.name == target.name):
        final = target.parent / part.name
        if final.is_dir():
            shutil.rmtree(final)
        os.replace(part, final)

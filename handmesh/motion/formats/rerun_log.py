"""Hands in motion for rerun's viewer: picture, meshes, joints, boxes, milliseconds on one timeline, in a .rrd file."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread
from types import TracebackType

import cv2
import numpy as np
from numpy.typing import NDArray

from handmesh.errors import HandMeshError
from handmesh.io.files import atomic_path
from handmesh.motion.recording import RecordedFrame
from handmesh.rendering.colors import TrackColors
from handmesh.rendering.rasterizer import vertex_normals
from handmesh.results import Hand
from handmesh.skeleton import BONES, JOINT_NAMES

#: Of the pictures.
JPEG_QUALITY = 85
#: So long is waited for the encoder, and for what it wrote to reach the disk.
FLUSH_S = 60.0
_BLOCK = 1 << 16
#: Timelines: the source's own seconds, and the number of the frame.
TIME, FRAME = "time", "frame"


def expect_rerun(path: str | os.PathLike[str]) -> Path:
    """The path of a .rrd file, where rerun is installed.

    Raises:
        HandMeshError: another ending, or no rerun.
    """
    target = Path(path)
    if target.suffix.lower() != ".rrd":
        raise HandMeshError(f"expected --rerun as a name ending in .rrd, got {target.name}; add it")
    try:
        import rerun  # noqa: F401
    except ImportError as error:
        raise HandMeshError(
            'expected the package rerun-sdk for --rerun, got none; pip install "handmesh[rerun]"'
        ) from error
    return target


class _Pump(Thread):
    """Copies what rerun writes to a file.

    Rerun's own file writer ends where the disk is full, and whoever then flushes or disconnects waits for ever. So it
    writes to a pipe that always takes everything, and a full disk is met here.
    """

    def __init__(self, pipe: Path, target: Path) -> None:
        super().__init__(name="rerun file", daemon=True)
        self._pipe, self._target = pipe, target
        self._error: OSError | None = None

    def run(self) -> None:
        with self._pipe.open("rb") as pipe:
            try:
                with self._target.open("wb") as file:
                    shutil.copyfileobj(pipe, file, _BLOCK)
            except OSError as error:
                self._error = error
            while pipe.read(_BLOCK):
                pass

    def expect_written(self) -> None:
        """Raise what the file could not take."""
        if self._error is not None:
            raise OSError(self._error.errno, self._error.strerror)


@contextmanager
def _written_file(target: Path) -> Iterator[tuple[str, _Pump | None]]:
    """Where rerun is to write so that ``target`` receives it, and who copies it there."""
    if not hasattr(os, "mkfifo"):
        yield str(target), None
        return
    with tempfile.TemporaryDirectory(prefix="handmesh-rerun-", ignore_cleanup_errors=True) as folder:
        pipe = Path(folder) / "pipe.rrd"
        os.mkfifo(pipe, 0o600)
        pump = _Pump(pipe, target)
        pump.start()
        yield str(pipe), pump
        pump.join(FLUSH_S)
        if pump.is_alive():
            raise OSError("rerun did not end its file")
        pump.expect_written()


class RerunWriter:
    """Writes frames to a .rrd file; use as a context manager.

    Entities: ``camera`` (pinhole), ``camera/picture`` (JPEG), ``camera/boxes``, ``camera/keypoints``, for each hand
    ``hands/SIDE_TRACK/mesh``, ``/joints`` and ``/bones``, and ``milliseconds/STAGE``. Metres, camera frame (x right, y
    down, z forward). At the end of the block, also by Ctrl-C, the file gets its name; another exception leaves none.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = expect_rerun(path)
        self.frame_count = 0
        self._colors = TrackColors()
        self._shown: set[str] = set()
        self._with_faces: set[str] = set()
        self._camera: tuple[object, ...] = ()
        self._stack = ExitStack()
        self._pump: _Pump | None = None

    def __enter__(self) -> RerunWriter:
        import rerun

        with ExitStack() as stack:
            part = stack.enter_context(atomic_path(self.path))
            place, self._pump = stack.enter_context(_written_file(part))
            self._stream = rerun.RecordingStream("handmesh")
            stack.callback(self._stream.disconnect)
            self._stream.save(place)
            self._stream.log("/", rerun.ViewCoordinates.RDF, static=True)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and not issubclass(kind, KeyboardInterrupt):
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            try:
                self._stream.flush(timeout_sec=FLUSH_S)
            except RuntimeError as reason:
                raise OSError(f"rerun did not write the last frames: {reason}") from reason

    def write(
        self, frame: RecordedFrame, image: NDArray[np.uint8], stages_ms: Mapping[str, float] | None = None
    ) -> None:
        """Add a frame.

        Args:
            frame: its time, camera and hands.
            image: (H, W, 3) uint8 RGB, undistorted, without anything drawn on it.
            stages_ms: wall time by stage, milliseconds.
        """
        import rerun

        stream, hands = self._stream, frame.hands
        stream.set_time(TIME, duration=float(frame.timestamp_s))
        stream.set_time(FRAME, sequence=frame.index)
        self._log_camera(frame)
        encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
        stream.log("camera/picture", rerun.EncodedImage(contents=encoded.tobytes(), media_type="image/jpeg"))
        ids = [place if hand.track_id is None else hand.track_id for place, hand in enumerate(hands)]
        colors = self._colors(hands, ids)
        names = [f"{hand.side}_{number}" for hand, number in zip(hands, ids, strict=True)]
        stream.log(
            "camera/boxes",
            rerun.Boxes2D(
                array=np.array([hand.box_xyxy for hand in hands]).reshape(-1, 4), array_format=rerun.Box2DFormat.XYXY,
                labels=[f"{name} {hand.score:.2f}" for name, hand in zip(names, hands, strict=True)],
                colors=colors or None,
            ),
        )  # fmt: skip
        points = np.array([hand.keypoints_2d for hand in hands]).reshape(-1, 2)
        stream.log("camera/keypoints", rerun.Points2D(points, colors=np.repeat(colors, 21, 0) if colors else None))
        for gone in sorted(self._shown - set(names)):
            stream.log(f"hands/{gone}", rerun.Clear(recursive=True))
        for name, hand, color in zip(names, hands, colors, strict=True):
            self._log_hand(f"hands/{name}", hand, color)
        self._shown = set(names)
        for stage, duration_ms in (stages_ms or {}).items():
            stream.log(f"milliseconds/{stage}", rerun.Scalars(float(duration_ms)))
        self.frame_count += 1
        if self._pump is not None:
            self._pump.expect_written()

    def _log_camera(self, frame: RecordedFrame) -> None:
        """The pinhole, when it is another than the frame's before."""
        import rerun

        camera = (frame.image_size, np.asarray(frame.K, np.float64).tobytes())
        if camera == self._camera:
            return
        self._camera = camera
        width, height = frame.image_size
        self._stream.log(
            "camera", rerun.Pinhole(image_from_camera=np.asarray(frame.K, np.float32), width=width, height=height)
        )

    def _log_hand(self, entity: str, hand: Hand, color: tuple[int, int, int]) -> None:
        import rerun

        vertices, faces = np.ascontiguousarray(hand.vertices, np.float32), np.ascontiguousarray(hand.faces, np.int32)
        normals = np.empty_like(vertices)
        vertex_normals(vertices, faces, normals)
        if entity not in self._with_faces:
            # The faces never change: half of the file saved.
            self._stream.log(f"{entity}/mesh", rerun.Mesh3D.from_fields(triangle_indices=faces), static=True)
            self._with_faces.add(entity)
        self._stream.log(
            f"{entity}/mesh",
            rerun.Mesh3D.from_fields(
                vertex_positions=vertices, vertex_normals=normals, albedo_factor=rerun.components.AlbedoFactor(color)
            ),
        )
        joints = np.asarray(hand.joints, np.float32)
        self._stream.log(
            f"{entity}/joints", rerun.Points3D(joints, radii=0.003, labels=list(JOINT_NAMES), show_labels=False)
        )
        self._stream.log(
            f"{entity}/bones", rerun.LineStrips3D([joints[list(bone)] for bone in BONES], colors=color, radii=0.0015)
        )

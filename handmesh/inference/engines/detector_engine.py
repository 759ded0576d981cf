"""What runs the detector network: OpenVINO, PyTorch or ONNX Runtime; pictures of any sides that are multiples of 32."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from handmesh.errors import HandMeshError
from handmesh.inference.engines.fingerprint import conversion_fingerprint
from handmesh.inference.engines.integrity import is_intact
from handmesh.io.files import cache_dir
from handmesh.io.runtime.cpu_features import has_bfloat16
from handmesh.io.runtime.fork import renew_after_fork
from handmesh.io.runtime.openvino_loader import CompiledModel, convert_module, load_openvino
from handmesh.models.checkpoint_path import find_checkpoint

if TYPE_CHECKING:
    from torch import nn

#: What runs the detector; OpenVINO computes in bfloat16 where the processor multiplies it, unless told not to.
RUNTIMES = ("openvino", "openvino-float32", "torch", "onnx")
#: Names of the outputs: of the graph with the segmentation both, without it the first.
OUTPUTS = ("hands", "mask")
Run = Callable[[NDArray[np.uint8]], list[NDArray[np.float32]]]


class DetectorEngine:
    """Runs one detector network. Any number of threads may share one; in a forked child it is loaded anew."""

    def __init__(self, checkpoint: str | Path, name: str = "openvino", threads: int = 0) -> None:
        """Nothing is loaded yet.

        Args:
            checkpoint: as load_detector takes it.
            name: one of :data:`RUNTIMES`.
            threads: 0 = the runtime's own choice.

        Raises:
            HandMeshError: no such checkpoint, or another name.
        """
        if name not in RUNTIMES:
            raise HandMeshError(f"expected the detector's engine to be one of {', '.join(RUNTIMES)}, got {name!r}")
        self._file, self.runtime, self._threads = find_checkpoint(checkpoint), name, threads
        self._runs: dict[tuple[bool, tuple[int, ...]], Run] = {}
        self._models: dict[bool, Any] = {}
        self._digests: dict[bool, str] = {}
        self._net: Any = None
        self._lock = threading.RLock()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """A thread of the parent may have held the lock, and its threads are not here."""
        self._lock = threading.RLock()
        if not self.runtime.startswith("openvino"):  # OpenVINO's requests renew themselves
            self._runs = {}

    def hands(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The map of hands (8, H / 8, W / 8) of a picture (H, W, 3), sides multiples of 32."""
        return self._run(picture, with_mask=False)[0][0]

    def mask(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The probability that a pixel is hand, (H / 4, W / 4), of a picture (H, W, 3), sides multiples of 32."""
        return self._run(picture, with_mask=True)[1][0]

    def _run(self, picture: NDArray[np.uint8], with_mask: bool) -> list[NDArray[np.float32]]:
        images = np.ascontiguousarray(picture)[None]
        with self._lock:
            run = self._runs.get((with_mask, images.shape))
            if run is None:
                make = {"torch": self._torch, "onnx": self._onnx}.get(self.runtime, self._openvino)
                run = self._runs[with_mask, images.shape] = make(images.shape, with_mask)
        return run(images)

    def _graph(self, with_mask: bool) -> nn.Module:
        """The network, folded, loaded once."""
        from handmesh.models.detector_checkpoint import load_detector
        from handmesh.models.detector_net import HandsOnly

        if self._net is None:
            self._net = load_detector(self._file)[0].reparameterize()
        return self._net if with_mask else HandsOnly(self._net).eval()

    def _torch(self, shape: tuple[int, ...], with_mask: bool) -> Run:
        import torch

        graph = self._graph(with_mask)

        def run(images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
            with torch.inference_mode():
                found = graph(torch.from_numpy(images))
            return [part.numpy() for part in (found if with_mask else (found,))]

        return run

    def _onnx(self, shape: tuple[int, ...], with_mask: bool) -> Run:
        import torch

        from handmesh.inference.engines.onnx_engine import INPUT, open_session, write_onnx

        names = OUTPUTS if with_mask else OUTPUTS[:1]
        example = torch.zeros(2, *shape[1:], dtype=torch.uint8)
        with tempfile.TemporaryDirectory() as folder:
            part = Path(folder) / "detector.onnx"
            write_onnx(self._graph(with_mask), [example], [INPUT], names, part)
            session = open_session(part.read_bytes(), self._threads)
        return lambda images: list(session.run(list(names), {INPUT: images}))

    def _openvino(self, shape: tuple[int, ...], with_mask: bool) -> Run:
        if with_mask not in self._models:
            self._models[with_mask] = self._converted(with_mask)
        model = self._models[with_mask].clone()
        model.reshape(list(shape))
        precision = "bf16" if has_bfloat16() and self.runtime == "openvino" else "f32"
        keep = f"{self._digest(with_mask)} {shape} {precision}"
        return CompiledModel(model, self._threads, keep=keep, INFERENCE_PRECISION_HINT=precision)

    def _converted(self, with_mask: bool) -> Any:
        """The ov.Model, from the cache where it was converted before: that needs no PyTorch."""
        kept = cache_dir() / "engines" / f"{self._digest(with_mask)}.xml"
        if is_intact(kept):
            with suppress(OSError, RuntimeError):  # damaged all the same: made anew
                os.utime(kept)
                return load_openvino().Core().read_model(kept)
        from handmesh.inference.engines.cache import keep_openvino

        model = self._convert(with_mask)
        keep_openvino(model, kept)
        return model

    def _digest(self, with_mask: bool) -> str:
        """All that decides what is converted."""
        if with_mask not in self._digests:
            digest = hashlib.sha256(f"{conversion_fingerprint()} detector {with_mask}".encode())
            digest.update(self._file.read_bytes())
            self._digests[with_mask] = digest.hexdigest()[:32]
        return self._digests[with_mask]

    def _convert(self, with_mask: bool) -> Any:
        import torch

        with torch.no_grad():
            return convert_module(self._graph(with_mask), torch.zeros(1, 64, 96, 3, dtype=torch.uint8))

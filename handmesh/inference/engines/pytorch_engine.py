"""PyTorch as an engine: any device, and on CUDA the whole network as one recorded launch.

The plain CPU form is the reference that every other engine is held against.
"""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from handmesh.errors import reason_of
from handmesh.inference.engines.base import EngineOutput, Report, cuda_after_fork, in_pairs
from handmesh.io.runtime.fork import renew_after_fork

#: Shapes of one row of each output.
_SHAPES = ((778, 3), (21, 3), (16, 3, 3), (10,), (3,), (21, 2), (21,), (), ())
_ENDS = np.cumsum([int(np.prod(shape)) for shape in _SHAPES])
#: How far, in metres, a recorded CUDA graph may be from the same kernels launched one by one.
_GRAPH_TOLERANCE = 1e-5


class TorchEngine:
    """One network on one device."""

    def __init__(
        self,
        net: nn.Module,
        device: str = "cpu",
        *,
        half: bool = False,
        compiled: bool = False,
        graphs: bool = True,
        backend: str = "inductor",
        report: Report = lambda line: None,
    ) -> None:
        """Move a network to a device.

        Args:
            net: gives HandMeshOutput; put into evaluation mode.
            device: as torch names it.
            half: the backbone in float16 (``net.backbone.to_half()``); heads and hand stay float32.
            compiled: through torch.compile, which takes a minute before the first answer.
            graphs: on CUDA, record the kernels once for one crop and once for two, and replay them.
            backend: of torch.compile.
            report: is given one line where a graph cannot be recorded.
        """
        self._device = torch.device(device)
        self._net: Any = net.eval().to(self._device)
        self.any_size = bool(getattr(net, "any_size", False))
        if half:
            # A copy: the caller's network stays as it is.
            self._net = copy.deepcopy(self._net)
            self._net.backbone.to_half()
        self._in_pairs = compiled
        self._forward: Callable[[Tensor], Tensor] = self._flat
        if compiled:
            self._forward = torch.compile(self._flat, dynamic=False, backend=backend)
        self._graphs: dict[tuple[int, ...], _Recorded] = {}
        self._records = graphs and not compiled and self._device.type == "cuda"
        self._report = report
        words = [device.upper(), *(["half"] if half else []), *(["compiled"] if compiled else [])]
        self.name = f"PyTorch {' '.join(words)}"
        # One compiler and one set of recorded buffers; plain calls need no turns.
        self._lock: threading.Lock | None = threading.Lock() if compiled or self._records else None
        self._is_forked = False
        renew_after_fork(self)

    def after_fork(self) -> None:
        """A thread of the parent may have held the lock; its OpenMP threads are not here."""
        self._is_forked = True
        self._lock = None if self._lock is None else threading.Lock()

    def __call__(self, images: NDArray[np.uint8]) -> EngineOutput:
        """Run the network on crops (B, S, S, 3) uint8 RGB."""
        if self._is_forked:
            self._settle_after_fork()
        with self._lock or contextlib.nullcontext():
            return self._run_all(images)

    def _settle_after_fork(self) -> None:
        if self._device.type == "cuda":
            raise cuda_after_fork()
        settle_after_fork()
        self._is_forked = False

    def _run_all(self, images: NDArray[np.uint8]) -> EngineOutput:
        return in_pairs(self._run, images) if self._in_pairs or self._records else self._run(images)

    def _run(self, images: NDArray[np.uint8]) -> EngineOutput:
        pixels = torch.from_numpy(np.ascontiguousarray(images))
        with torch.inference_mode():
            flat = self._recorded(pixels) if self._records else self._forward(pixels.to(self._device))
            rows = flat.cpu().numpy()
        parts = np.split(rows, _ENDS[:-1], axis=1)
        # Copies, so that nothing the caller keeps holds the rest alive.
        return EngineOutput(*(part.reshape(-1, *shape).copy() for part, shape in zip(parts, _SHAPES, strict=True)))

    def _flat(self, pixels: Tensor) -> Tensor:
        """Every output of a row side by side (B, N) float32: one copy from the device instead of nine."""
        return torch.cat([part.float().reshape(len(pixels), -1) for part in self._net(pixels)], dim=1)

    def _recorded(self, pixels: Tensor) -> Tensor:
        shape = tuple(pixels.shape)
        if shape not in self._graphs:
            try:
                self._graphs[shape] = _Recorded(self._flat, pixels.to(self._device))
            except RuntimeError as error:
                self._records = False
                self._report(f"CUDA graphs are not used ({reason_of(error, 120)}); the answer is the same")
                return self._flat(pixels.to(self._device))
        return self._graphs[shape](pixels)


def settle_after_fork() -> None:
    """Have PyTorch use one thread in a forked child: a parallel region would wait for the parent's for ever.

    PyTorch's own loaders do the same in their workers.
    """
    torch.set_num_threads(1)


class _Recorded:
    """The kernels of one call with one batch size, replayed by one launch."""

    def __init__(self, forward: Callable[[Tensor], Tensor], example: Tensor) -> None:
        """Record the kernels of a forward pass.

        Raises:
            RuntimeError: what ran cannot be recorded, or gives another answer when replayed.
        """
        self._input = example.clone()
        # Libraries choose and allocate on their first calls, which must not be part of the record; PyTorch asks for
        # these calls to be made on another stream.
        stream = torch.cuda.Stream(example.device)
        stream.wait_stream(torch.cuda.current_stream(example.device))
        with torch.cuda.stream(stream):
            for _ in range(3):
                expected = forward(self._input)
        torch.cuda.current_stream(example.device).wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._output = forward(self._input)
        self._graph.replay()
        if not torch.allclose(self._output, expected, atol=_GRAPH_TOLERANCE, rtol=1e-4):
            raise RuntimeError("a replayed graph gave another answer")

    def __call__(self, pixels: Tensor) -> Tensor:
        self._input.copy_(pixels)
        self._graph.replay()
        return self._output

"""The file formats a network is exported to: how each is written, and how it is read back and run."""

from __future__ import annotations

import io
import json
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from handmesh.errors import HandMeshError
from handmesh.inference.engines.exported import SECTION, TORCHSCRIPT_ENTRY, load_torchscript
from handmesh.inference.engines.onnx_engine import INPUT, open_session, write_onnx
from handmesh.io.runtime.openvino_loader import CPU_OPTIONS, convert_module, load_openvino, signal_stack_kept

#: One crop (1, S, S, 3) uint8 -> the outputs by name.
Run = Callable[[NDArray[np.uint8]], Mapping[str, NDArray[np.float32]]]


class Graph(NamedTuple):
    """What is to be written."""

    #: (B, S, S, 3) uint8 pictures, then the constants, to a tuple of float32 tensors.
    module: nn.Module
    image_size: int
    #: Further inputs by name, which stay out of the file.
    constants: dict[str, Tensor]
    outputs: tuple[str, ...]
    description: dict[str, str]

    def examples(self, batch: int = 2) -> tuple[Tensor, ...]:
        """Inputs to trace with."""
        pixels = torch.zeros(batch, self.image_size, self.image_size, 3, dtype=torch.uint8)
        return (pixels, *self.constants.values())


class Format(NamedTuple):
    """One file format. ``read`` is None where this machine can write it but not run it."""

    suffix: str
    runtime: str
    write: Callable[[Graph, Path], None]
    read: Callable[[Graph, Path], Run | None]


def _write_onnx(graph: Graph, file: Path) -> None:
    write_onnx(graph.module, graph.examples(), [INPUT, *graph.constants], graph.outputs, file)
    import onnx

    model = onnx.load(str(file))
    onnx.helper.set_model_props(model, graph.description)
    onnx.save(model, str(file))


def _read_onnx(graph: Graph, file: Path) -> Run:
    session = open_session(str(file))
    constants = {name: value.numpy() for name, value in graph.constants.items()}
    return lambda pixels: dict(zip(graph.outputs, session.run(list(graph.outputs), {INPUT: pixels, **constants})))


def openvino_graph(graph: Graph) -> Any:
    """The graph as an ov.Model, its inputs and outputs named."""
    with torch.no_grad():
        model = convert_module(graph.module.eval(), graph.examples())
    size = graph.image_size
    shapes = [[-1, size, size, 3], *(list(value.shape) for value in graph.constants.values())]
    model.reshape({port: shape for port, shape in zip(model.inputs, shapes, strict=True)})
    for port, name in zip([*model.inputs, *model.outputs], [INPUT, *graph.constants, *graph.outputs], strict=True):
        port.get_tensor().set_names({name})
    return model


def save_openvino(model: Any, graph: Graph, file: Path) -> None:
    """Write an ov.Model with the graph's description: FILE.xml, and FILE.bin beside it.

    Args:
        model: the ov.Model.
        graph: it was made from.
        file: the path of the .xml.
    """
    for key, value in graph.description.items():
        model.set_rt_info(value, [SECTION, key])
    load_openvino().save_model(model, file, compress_to_fp16=False)


def _write_openvino(graph: Graph, file: Path) -> None:
    save_openvino(openvino_graph(graph), graph, file)


def _read_openvino(graph: Graph, file: Path) -> Run:
    core = load_openvino().Core()
    model = core.read_model(file)
    model.reshape({0: [1, *model.inputs[0].partial_shape[1:]]})
    options = {**CPU_OPTIONS, "INFERENCE_PRECISION_HINT": "f32"}
    with signal_stack_kept():
        request = core.compile_model(model, "CPU", options).create_infer_request()
    constants = [value.numpy() for value in graph.constants.values()]

    def run(pixels: NDArray[np.uint8]) -> Mapping[str, NDArray[np.float32]]:
        results = request.infer([pixels, *constants])
        return {name: results[index] for index, name in enumerate(graph.outputs)}

    return run


def _write_torchscript(graph: Graph, file: Path) -> None:
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(graph.module.eval(), graph.examples(), check_trace=False)
        # Into memory first: on a full disk the archive's own writer ends the whole process.
        archive = io.BytesIO()
        torch.jit.save(traced, archive, _extra_files={TORCHSCRIPT_ENTRY: json.dumps(graph.description)})
        file.write_bytes(archive.getbuffer())


def _read_torchscript(graph: Graph, file: Path) -> Run:
    module, _ = load_torchscript(file)
    constants = list(graph.constants.values())

    def run(pixels: NDArray[np.uint8]) -> Mapping[str, NDArray[np.float32]]:
        with torch.inference_mode():
            values = module(torch.from_numpy(pixels), *constants)
        return {name: value.numpy() for name, value in zip(graph.outputs, values, strict=True)}

    return run


class _PlanarPictures(nn.Module):
    """Pictures as Core ML hands them over, (1, 3, S, S) numbers 0..255, to a graph that takes (1, S, S, 3)."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, image: Tensor, *constants: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.module(image.permute(0, 2, 3, 1), *constants))


def _write_coreml(graph: Graph, file: Path) -> None:
    try:
        import coremltools
    except ImportError as error:
        raise HandMeshError(
            "expected coremltools, which is not installed; run pip install 'handmesh[export]' (not on Windows)"
        ) from error
    shape = (1, 3, graph.image_size, graph.image_size)
    examples = (torch.zeros(shape), *graph.constants.values())
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Attention does not get through torch.jit.trace here; through torch.export every variant does.
        program = torch.export.export(_PlanarPictures(graph.module).eval(), examples).run_decompositions({})
        constants = [coremltools.TensorType(name=name, shape=value.shape) for name, value in graph.constants.items()]
        model = coremltools.convert(
            program,
            inputs=[
                coremltools.ImageType(name=INPUT, shape=shape, color_layout=coremltools.colorlayout.RGB),
                *constants,
            ],
            outputs=[coremltools.TensorType(name=name) for name in graph.outputs],
            convert_to="mlprogram",
            compute_precision=coremltools.precision.FLOAT32,
            minimum_deployment_target=coremltools.target.iOS16,
            skip_model_load=True,
        )
    model.user_defined_metadata.update(graph.description)
    model.save(str(file))


def _read_coreml(graph: Graph, file: Path) -> Run | None:
    if sys.platform != "darwin":
        return None
    import coremltools
    from PIL import Image

    model = coremltools.models.MLModel(str(file))
    constants = {name: value.numpy() for name, value in graph.constants.items()}

    def run(pixels: NDArray[np.uint8]) -> Mapping[str, NDArray[np.float32]]:
        answer: Mapping[str, NDArray[np.float32]] = model.predict({INPUT: Image.fromarray(pixels[0]), **constants})
        return answer

    return run


FORMATS: dict[str, Format] = {
    "onnx": Format(".onnx", "ONNX Runtime", _write_onnx, _read_onnx),
    "openvino": Format(".xml", "OpenVINO", _write_openvino, _read_openvino),
    "torchscript": Format(".pt", "TorchScript", _write_torchscript, _read_torchscript),
    "coreml": Format(".mlpackage", "Core ML", _write_coreml, _read_coreml),
}

"""The network's two halves in two precisions: convolutions in bfloat16, head and hand model in float32.

Nine tenths of the arithmetic are the backbone's and the up-sampling path's convolutions, which bear eight bits of
mantissa: what they are wrong by stays below a tenth of a pixel. Soft-argmax, rotations and the hand model do not: eight
bits of a finger's length are half a millimetre.
"""

from __future__ import annotations

import re
from typing import Any

from handmesh.io.runtime.openvino_loader import load_openvino

#: Names of the operations of the first half; converters give them their module's path.
_CONVOLUTIONS = re.compile(r"\b(backbone|head\.up)\b")


def has_halves(model: Any) -> bool:
    """Whether :func:`halves` can part an ov.Model: whether it has a backbone and something behind it."""
    return bool(_edges(model, _first_half(model)))


def halves(model: Any) -> tuple[Any, Any]:
    """An ov.Model that :func:`has_halves` as two: pixels to the maps that the head reads, and those to all outputs.

    Args:
        model: of fixed shape; it stays as it is.

    Returns:
        Two models; the outputs of the first are the inputs of the second, in order.
    """
    ov = load_openvino()
    model = model.clone()
    results, pixels, first = model.get_results(), model.get_parameters(), _first_half(model)
    edges, given = _edges(model, first), []
    for edge in edges:
        parameter = ov.opset13.parameter(edge.get_partial_shape(), edge.get_element_type())
        for reader in _readers(edge, first):
            reader.replace_source_output(parameter.output(0))
        given.append(parameter)
    return ov.Model([ov.opset13.result(edge) for edge in edges], pixels), ov.Model(results, given)


def _edges(model: Any, first: set[str]) -> list[Any]:
    """The outputs of the first half that the second reads, in the order of the graph."""
    return [
        output
        for node in model.get_ordered_ops()
        if node.get_name() in first
        for output in node.outputs()
        if _readers(output, first)
    ]


def _readers(output: Any, first: set[str]) -> list[Any]:
    return [reader for reader in output.get_target_inputs() if reader.get_node().get_name() not in first]


def _first_half(model: Any) -> set[str]:
    """Names of the nodes of the first half: the convolutions' by their modules' paths, and whatever lies between them.

    Converters give some operations, such as a hard swish, no path.
    """
    nodes = [node for node in model.get_ordered_ops() if node.get_type_name() != "Constant"]
    named = {node.get_name() for node in nodes if _CONVOLUTIONS.search(node.get_friendly_name())}
    behind, before = set(named), set(named)
    for node in nodes:
        if any(each.get_source_output().get_node().get_name() in behind for each in node.inputs()):
            behind.add(node.get_name())
    for node in reversed(nodes):
        readers = [each.get_node() for output in node.outputs() for each in output.get_target_inputs()]
        if any(reader.get_name() in before for reader in readers):
            before.add(node.get_name())
    return behind & before

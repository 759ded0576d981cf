"""Eight-bit networks by post-training quantization (NNCF): the pointwise convolutions of the stages, and nothing else.

Those are nine tenths of the work. Depthwise convolutions and the stem gain little and cost most of the error; the
heads' soft-argmax and rotations and the hand model turn an eighth of a percent into a millimetre.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handmesh.errors import HandMeshError

#: Operations of any other name are left as they are; a depthwise convolution's ends in GroupConvolution.
_LEFT = r"^(?!.*\bbackbone\.net\.stages\..*/Convolution(_\d+)?$).*"


def quantize(model: Any, crops: NDArray[np.uint8], constants: list[NDArray[np.float32]]) -> Any:
    """An int8 form of an ov.Model that formats.py made.

    Args:
        model: the ov.Model.
        crops: (N, S, S, 3) uint8 RGB, on which the ranges are measured.
        constants: the model's further inputs, the same for every crop.

    Raises:
        HandMeshError: NNCF is not installed.
    """
    try:
        import nncf
    except ImportError as error:
        raise HandMeshError("expected nncf, which is not installed; run pip install 'handmesh[export]'") from error
    logging.getLogger("nncf").setLevel(logging.ERROR)
    return nncf.quantize(
        model,
        nncf.Dataset([[crop[None], *constants] for crop in crops]),
        subset_size=len(crops),
        # Weights and activations of a network without ReLU are both signed.
        preset=nncf.QuantizationPreset.MIXED,
        ignored_scope=nncf.IgnoredScope(patterns=[_LEFT], validate=False),
    )

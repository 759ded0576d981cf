"""OpenVINO without its telemetry.

Knows that the package, when imported and at every conversion, reports to a web service from processes it starts, unless
its telemetry package is absent, for which it has a stand-in of its own. A program that shows people's hands reports
nothing to anybody. Does not know what OpenVINO is used for.
"""

from __future__ import annotations

import sys
from typing import Any

_TELEMETRY = "openvino_telemetry"


def load_openvino() -> Any:
    """The module ``openvino``, imported as if its telemetry package were not installed."""
    if "openvino" not in sys.modules and _TELEMETRY not in sys.modules:
        # None makes ``import openvino_telemetry`` raise ImportError, in which case OpenVINO takes its stand-in.
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
        try:
            import openvino
            import openvino.tools.ovc.convert_impl  # its own import of the telemetry, when a model is converted
        finally:
            del sys.modules[_TELEMETRY]
        return openvino
    import openvino

    return openvino

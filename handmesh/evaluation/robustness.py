"""How much a network loses on worse pictures: aligned errors under every corruption and severity, beside clean ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from handmesh.data.loading import SampleSource
from handmesh.evaluation.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from handmesh.evaluation.metrics import pa_mpjpe
from handmesh.evaluation.protocols import Protocol, predict
from handmesh.inference.estimator import HandEstimator


@dataclass(frozen=True)
class Robustness:
    """PA-MPJPE in mm: of the clean pictures, and (severity 1..5) of each corruption."""

    samples: int
    clean: float
    corrupted: dict[str, tuple[float, ...]]

    def relative(self, name: str) -> float:
        """Mean over severities of the error, over the clean error: 1 is no loss."""
        return float(np.mean(self.corrupted[name]) / self.clean)


def measure_robustness(
    estimator: HandEstimator,
    source: SampleSource,
    protocol: Protocol,
    rounds: int = 2,
    batch_size: int = 32,
    report: Callable[[str], None] = lambda line: None,
) -> Robustness:
    """Run a network over a set once clean and once for each corruption and severity.

    Args:
        estimator: makes hands of crops.
        source: gives the samples.
        protocol: which box the first crop has: the clean picture's.
        rounds: from the second on the network places the crop itself.
        batch_size: samples at a time.
        report: is given a line for each run.
    """
    truth = np.stack([source.sample(i)["joints"] for i in range(len(source))])

    def error(name: str = "", severity: int = 0) -> float:
        alter = partial(corrupt, name=name, severity=severity) if name else None
        found = predict(estimator, source, protocol, rounds, 1, batch_size, alter=alter)
        value = pa_mpjpe(found.joints, truth)
        report(f"{name or 'clean'} {severity or ''}: {value:.2f} mm")
        return value

    clean = error()
    corrupted = {name: tuple(error(name, severity) for severity in SEVERITIES) for name in CORRUPTIONS}
    return Robustness(len(source), clean, corrupted)


def format_robustness(result: Robustness) -> str:
    """A table, a line a corruption: PA-MPJPE at each severity, and the mean over the clean error."""
    head = f"{'PA-MPJPE mm':16}" + "".join(f"{f'severity {s}':>12}" for s in SEVERITIES) + f"{'relative':>12}"
    lines = [head, f"{'clean':16}{result.clean:12.2f}{'':48}{1:12.2f}"]
    for name, errors in result.corrupted.items():
        lines.append(f"{name:16}" + "".join(f"{e:12.2f}" for e in errors) + f"{result.relative(name):12.2f}")
    return "\n".join(lines)

"""The runtime benchmark's figures as a Markdown table and a plot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from handmesh.io.files import atomic_path

Row = dict[str, Any]


def table(facts: Row, cases: list[Row], repmixer: Row) -> str:
    """Everything as Markdown."""
    lines = [
        f"{facts['processor']}, {facts['threads']} threads, device {facts['device']}, batch {facts['batch']}, "
        f"{facts['rounds']} rounds; a float32 matrix product reached {facts['gemm_gflops']:.0f} GFLOP/s; "
        f"load average {facts['load_average']:.1f}; torch {facts['torch']}.",
        "",
        "| network | px | engine | precision | form | GFLOP | median ms | quartiles | of GEMM | load s | MB |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for case in cases:
        head = f"| {case['variant']} | {case['size']} | {case['engine']} | {case['precision']} | {case['form']} "
        if not case["milliseconds"]:
            lines.append(f"{head}| {case['gflop']:.2f} | {case['note'] or 'not run'} | | | | |")
            continue
        low, middle, high = np.percentile(case["milliseconds"], [25, 50, 75])
        load = "" if case["load_s"] is None else f"{case['load_s']:.2f}"
        memory = "" if case["memory_mb"] is None else f"{case['memory_mb']:.0f}"
        lines.append(
            f"{head}| {case['gflop']:.2f} | {middle:.2f} | {low:.2f} - {high:.2f} "
            f"| {100 * np.median(case['gemm_share']):.0f} % | {load} | {memory} |"
        )
    if repmixer:
        lines += [
            "",
            f"RepMixer's folding, {repmixer['variant']}'s backbone in OpenVINO, median ms a picture:",
            "",
            "| px | all as trained | RepMixer as trained, rest folded | folded | RepMixer's gain |",
            "|---|---|---|---|---|",
        ]
        for row in repmixer["rows"]:
            lines.append(
                f"| {row['side']} | {row['as trained']:.2f} | {row['RepMixer as trained']:.2f} | {row['folded']:.2f} "
                f"| {100 * gain(row):.1f} % |"
            )
    return "\n".join(lines)


def gain(row: Row) -> float:
    """Share of the time that folding RepMixer saves."""
    return 1.0 - float(row["folded"]) / float(row["RepMixer as trained"])


def write(file: Path, words: str, facts: Row, cases: list[Row], repmixer: Row, text: str) -> None:
    """FILE.md with the table, and images/FILE.png beside it."""
    picture = file.parent / "images" / f"{file.stem}.png"
    _plot(picture, facts, cases, repmixer)
    content = f"""# Speed of the network

`{words}`

The whole network from the uint8 crop to vertices, hand model inside. Everything in a table took turns with everything
else, round by round; "of GEMM" is the share of the rate that a float32 matrix product had in the same round.

![Milliseconds by engine, and RepMixer's gain by resolution](images/{picture.name})

{text}
"""
    with atomic_path(file) as temporary:
        temporary.write_text(content, encoding="utf-8")


def _plot(file: Path, facts: Row, cases: list[Row], repmixer: Row) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    measured = [case for case in cases if case["milliseconds"]]
    figure, axes = pyplot.subplots(
        1, 2 if repmixer else 1, figsize=(13 if repmixer else 8, 1.2 + 0.4 * max(len(measured), 6)), squeeze=False
    )
    bars = axes[0][0]
    names = [
        f"{case['variant'].removeprefix('fastvit_')} {case['size']} px, {case['engine']}"
        + ("" if case["precision"] == "float32" else f" {case['precision']}")
        + ("" if case["form"] == "folded" else ", as trained")
        for case in measured
    ]
    low, middle, high = np.percentile([case["milliseconds"] for case in measured], [25, 50, 75], axis=1)
    places = np.arange(len(names))[::-1]
    spread = [middle - low, high - middle]
    bars.barh(places, middle, xerr=spread, height=0.6, color="#4477aa", ecolor="#222222", capsize=2)
    for place, value, end, case in zip(places, middle, high, measured, strict=True):
        share = 100 * np.median(case["gemm_share"])
        bars.text(end, place, f"  {value:.1f} ms, {share:.0f} %", va="center", fontsize=8)
    bars.set_yticks(places, names, fontsize=8)
    bars.set_xlim(0, 1.4 * float(high.max()))
    bars.set_ylim(-1, len(names))
    bars.set_xlabel(f"ms a call, quartiles; % of the float32 matrix product's rate, {facts['threads']} threads")
    if repmixer:
        lines = axes[0][1]
        sides = [row["side"] for row in repmixer["rows"]]
        lines.plot(sides, [100 * gain(row) for row in repmixer["rows"]], "o-", color="#228833", label="RepMixer folded")
        whole = [100 * (1 - row["folded"] / row["as trained"]) for row in repmixer["rows"]]
        lines.plot(sides, whole, "s--", color="#ccbb44", label="everything folded")
        lines.set(xlabel="side of the picture, px", ylabel="time saved, %", xscale="log")
        lines.set_xticks(sides, [str(side) for side in sides])
        lines.minorticks_off()
        lines.axhline(0, color="#888888", linewidth=0.8)
        lines.legend(frameon=False)
        lines.set_title(f"{repmixer['variant']}'s backbone, OpenVINO", fontsize=10)
    figure.tight_layout()
    with atomic_path(file) as temporary:
        figure.savefig(temporary, dpi=110)
    pyplot.close(figure)

"""Hostile and damaged files, each through the command that a user would give it to: message, time, memory.

    python -m scripts.benchmarks.bad_input FOLDER [--only KIND/NAME] [--markdown TABLE.md]

FOLDER has a sub-folder a kind: calibration, clip, engine, image, json, npz, pickle, yaml. Every file must end within
--seconds of CPU and --memory, either in exit code 2 with one line ("error: ..."), no traceback and no file left, or in
exit code 0: then the result is for a person to look at (--keep). Exit code 1 where a file did otherwise.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from handmesh.errors import run_command
from handmesh.web.page import EXAMPLES

ROOT = Path(__file__).resolve().parents[2]
PHOTO = EXAMPLES[0].path


class Outcome(NamedTuple):
    """What one file's command did; ``fault`` is empty where that is what it should do."""

    name: str
    command: str
    code: int
    line: str
    seconds: float
    cpu_s: float
    peak_mb: float
    fault: str


def words_for(kind: str, file: Path, freihand: Path) -> list[str]:
    """The command that reads such a file, as a user would type it in an empty folder."""
    predict = ["predict", str(PHOTO), "--output", "out", "--formats", "json"]
    return {
        "calibration": [*predict, "--camera", str(file)],
        "clip": ["video", str(file), "--output", "out.mp4"],
        "engine": [*predict, "--engine", str(file)],
        "image": ["predict", str(file), "--output", "out"],
        "json": ["evaluate", "--checkpoint", "default", "--data", str(freihand), "--split", "training"],
        "npz": [*predict, "--mano", str(file)],
        "pickle": ["convert-mano", str(file), "--output", "out.npz"],
        "yaml": ["train", str(file), f"data.root={freihand}", "data.workers=0", "train.steps=1"],
    }[kind]


def attempt(kind: str, file: Path, freihand: Path, args: argparse.Namespace) -> Outcome:
    """Run one file's command in an empty folder and judge what it did."""
    if kind == "json":
        shutil.copyfile(file, freihand / "training_xyz.json")
    words = words_for(kind, file, freihand)
    shown = " ".join(["handmesh", words[0], *(word for word in words[1:] if word.startswith("--"))])
    with tempfile.TemporaryDirectory(prefix="handmesh-bad-input-") as name:
        folder = Path(name)
        start_s = time.perf_counter()
        with open(folder / "errors", "wb") as stderr:
            child = subprocess.Popen(
                [sys.executable, "-m", "handmesh", *words], cwd=folder, stdout=subprocess.DEVNULL, stderr=stderr,
                env={**os.environ, "PYTHONPATH": str(ROOT)}, start_new_session=True,
            )  # fmt: skip
        watch = threading.Timer(10 * args.seconds, child.kill)
        watch.start()
        _, status, usage = os.wait4(child.pid, 0)
        watch.cancel()
        child.returncode = os.waitstatus_to_exitcode(status)
        seconds, peak_mb = time.perf_counter() - start_s, usage.ru_maxrss / 1024
        cpu_s = usage.ru_utime + usage.ru_stime
        text = (folder / "errors").read_text(errors="replace")
        left = sorted(str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file())
        left.remove("errors")
        if args.keep and left:
            shutil.copytree(folder, args.keep / f"{kind}-{file.stem}", dirs_exist_ok=True)
    lines = text.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    fault = ""
    if child.returncode not in (0, 2):
        fault = f"exit code {child.returncode}"
    elif "Traceback" in text:
        fault = "a traceback"
    elif child.returncode == 2 and (len(errors) != 1 or len(errors[0]) > 500 or not errors[0].isprintable()):
        fault = f"{len(errors)} error lines, or one that is long or not printable"
    elif child.returncode == 2 and left:
        fault = f"left behind: {', '.join(left)}"
    elif cpu_s > args.seconds or peak_mb > args.memory:
        fault = "too slow or too large"
    line = (errors or lines or [""])[-1].removeprefix("error: ").replace(str(file.parent) + "/", "")
    if child.returncode == 0:
        line = f"read; written: {', '.join(left)}"
    return Outcome(f"{kind}/{file.name}", shown, child.returncode, line, seconds, cpu_s, peak_mb, fault)


def as_row(outcome: Outcome) -> str:
    """One line of the table in Markdown."""
    # Until it is its command, a new process counts the memory of this one.
    floor_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    peak = f"< {floor_mb + 1:.0f}" if outcome.peak_mb <= floor_mb else f"{outcome.peak_mb:.0f}"
    line = outcome.line.replace("|", "\\|").replace(str(ROOT) + "/", "").replace("`", "'")
    return (
        f"| {outcome.name} | {outcome.command} | {outcome.code} | {line} | {outcome.seconds:.1f} | "
        f"{outcome.cpu_s:.1f} | {peak} |" + (f" **{outcome.fault}**" if outcome.fault else "")
    )


def main(argv: Sequence[str]) -> int:
    """Run every file, print and write the table; 1 where there was a fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="", help="files whose kind/name contains this")
    parser.add_argument("--markdown", type=Path, help="write the table here")
    parser.add_argument("--keep", type=Path, help="copy what was written for files that are read here")
    parser.add_argument("--seconds", type=float, default=10.0, help="of CPU a file may take (default 10)")
    parser.add_argument("--memory", type=float, default=1024.0, help="megabytes a command may take (default 1024)")
    args = parser.parse_args(argv)
    files = sorted(file for file in args.folder.resolve().glob("*/*") if args.only in f"{file.parent.name}/{file.name}")
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="handmesh-bad-input-") as name:
        freihand = Path(name) / "set"
        from handmesh.synthesis import write_dataset

        if any(file.parent.name in ("json", "yaml") for file in files):
            write_dataset(freihand, 2, 1, 0, 64, 1, None, "open", pictures="plain")
        # The very first command on a machine converts the network, whatever it reads.
        attempt("image", PHOTO, freihand, args)
        for file in files:
            outcomes.append(attempt(file.parent.name, file, freihand, args))
            print(as_row(outcomes[-1]), flush=True)
    faults = [outcome for outcome in outcomes if outcome.fault]
    print(f"{len(outcomes)} files, {len(faults)} faults")
    if args.markdown:
        head = "| file | command | exit | line | s | CPU s | MB |\n|---|---|---|---|---|---|---|\n"
        args.markdown.write_text(head + "\n".join(map(as_row, outcomes)) + "\n", encoding="utf-8")
    return 1 if faults else 0


if __name__ == "__main__":
    run_command(main, sys.argv[1:])

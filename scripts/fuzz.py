"""Damaged and hostile inputs by the thousand: every reader of files must end in a result or in one clear line.

    python scripts/fuzz.py                          200 inputs of every kind
    python scripts/fuzz.py pickle json --count 5000 --keep faults/

Whole files, made as the tests make them, are changed at random: bits and slices of the bytes, numbers and brackets of
texts, headers rebuilt so that checksums hold. Each batch runs in a process of its own, which ends where an input takes
more than --seconds of the processor, or 30 times as long by the clock, or the process more than --memory. A fault is
any other exception than HandMeshError, an error of more than one line, a crash, a hang, or too much memory. The same
seed gives the same inputs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from fuzz_inputs import KINDS, inputs

from handmesh.errors import HandMeshError


def run_batch(args: argparse.Namespace) -> None:
    """In a process of its own: a line of JSON before each input and one for each fault."""
    kind = KINDS[args.kinds[0]]
    with tempfile.TemporaryDirectory() as folder:
        for number, name, data in inputs(kind, args.seed, args.first, args.count):
            path = Path(folder) / name
            path.write_bytes(data)
            print(json.dumps({"number": number, "name": name}), flush=True)
            try:
                kind.read(path)
            except HandMeshError as error:
                if "\n" in str(error) or len(str(error)) > 1500:
                    print(json.dumps({"fault": f"a long error: {str(error)[:200]}"}), flush=True)
            except Exception as error:  # noqa: BLE001 - every kind is a fault that is looked for
                where = error.__traceback__
                while where and where.tb_next:
                    where = where.tb_next
                place = f"{Path(where.tb_frame.f_code.co_filename).name}:{where.tb_lineno}" if where else ""
                print(json.dumps({"fault": f"{type(error).__name__} at {place}: {str(error)[:200]}"}), flush=True)


class Batch(NamedTuple):
    """What came of one process: how many inputs it read, what went wrong by input, and its largest memory."""

    done: int
    faults: list[tuple[int, str]]
    peak_mb: float


def watch_batch(name: str, first: int, count: int, args: argparse.Namespace) -> Batch:
    """Run one batch; end it where an input takes too long or the process too much memory."""
    words = ["--batch-from", str(first), "--count", str(count), "--seed", str(args.seed)]
    child = subprocess.Popen(
        [sys.executable, __file__, name, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    assert child.stdout
    os.set_blocking(child.stdout.fileno(), False)
    number, done, peak_mb, faults = first, 0, 0.0, list[tuple[int, str]]()
    # The first answer waits for imports and for whole files to be made. On a busy machine the clock says little of how
    # much an input costs: the processor's time counts, and the clock for what waits for ever.
    rest, most_s, used_s = b"", 20 * args.seconds, 0.0
    began_s, began_used_s = time.monotonic(), 0.0
    while True:
        ended = child.poll() is not None
        *lines, rest = (rest + (child.stdout.read() or b"")).split(b"\n")
        for line in lines:
            answer = json.loads(line)
            if "fault" in answer:
                faults.append((number, answer["fault"]))
            else:
                number, done, most_s = answer["number"], done + 1, args.seconds
                began_s, began_used_s = time.monotonic(), used_s
        with contextlib.suppress(OSError, IndexError):
            status = Path(f"/proc/{child.pid}/status").read_text()
            peak_mb = max(peak_mb, int(status.split("VmHWM:")[1].split()[0]) / 1024)
            ticks = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
            used_s = sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
        if ended:
            if child.returncode != 0:
                faults.append((number, f"the process ended with {child.returncode}"))
            return Batch(done, faults, peak_mb)
        is_slow = used_s - began_used_s > most_s or time.monotonic() - began_s > 30 * most_s
        if is_slow or peak_mb > args.memory:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            why = f"{peak_mb:.0f} MB" if peak_mb > args.memory else f"more than {most_s:g} s"
            return Batch(done, [*faults, (number, why)], peak_mb)
        time.sleep(0.1)


def main() -> int:
    """Run what was asked for and print a line a kind; 1 when there was a fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", choices=[*KINDS, []], help="what to read; default: every kind")
    parser.add_argument("--count", type=int, default=200, help="inputs of each kind (default 200)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=500, help="inputs read by one process (default 500)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of CPU an input may take (default 10)")
    parser.add_argument("--memory", type=float, default=1024.0, help="megabytes a process may take (default 1024)")
    parser.add_argument("--keep", type=Path, help="folder for inputs with a fault")
    parser.add_argument("--batch-from", dest="first", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.first is not None:
        run_batch(args)
        return 0
    total = 0
    for name in args.kinds or KINDS:
        start, faults, done, peak_mb = time.monotonic(), list[tuple[int, str]](), 0, 0.0
        first = 0
        while first < args.count:
            batch = watch_batch(name, first, min(args.batch, args.count - first), args)
            faults += batch.faults
            done, peak_mb = done + batch.done, max(peak_mb, batch.peak_mb)
            # After a crash or a hang, the next process goes on behind the input that caused it.
            first += max(batch.done, 1)
        print(
            f"{name:12} {done:6d} inputs, {len(faults):3d} faults, {peak_mb:5.0f} MB at most, "
            f"{time.monotonic() - start:5.0f} s", flush=True,
        )  # fmt: skip
        for number, fault in faults:
            print(f"    input {number}: {fault}")
            if args.keep:
                args.keep.mkdir(parents=True, exist_ok=True)
                _, file, data = next(inputs(KINDS[name], args.seed, number, 1))
                (args.keep / f"{name}-{number}-{file}").write_bytes(data)
        total += len(faults)
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())

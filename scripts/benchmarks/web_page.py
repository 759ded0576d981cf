"""The web page under load: many visitors at once, and hostile ones among them.

    python -m scripts.benchmarks.web_page [--visitors 20] [--photos 3] [--no-hostile]

Starts the page as a user would, on a port of its own, and lets every visitor upload photos and wait for the results,
while hostile visitors send a decompression bomb, too large a file, files of the wrong type, half requests and
cross-origin POSTs. Prints for each kind what it got, the waiting times of the others, and the server's memory and disk.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import io
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from handmesh.web.page import EXAMPLES

BOUNDARY = "handmesh-load"


class Visitor:
    """Speaks gradio's protocol over plain HTTP."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        """One request; its status and its whole answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def upload(self, name: str, content: bytes) -> tuple[int, bytes]:
        """A file to the page, as the browser sends it."""
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
        body = head.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()
        return self.ask("POST", "/gradio_api/upload", body, Content_Type=f"multipart/form-data; boundary={BOUNDARY}")

    def recover(self, name: str, content: bytes) -> str:
        """Upload a picture and wait for its result; in a word what came."""
        status, answer = self.upload(name, content)
        if status != 200:
            return f"upload refused ({status})"
        file = {"path": json.loads(answer)[0], "orig_name": name, "meta": {"_type": "gradio.FileData"}}
        words = json.dumps({"data": [file, 60]}).encode()
        status, answer = self.ask("POST", "/gradio_api/call/recover", words, Content_Type="application/json")
        if status != 200:
            return f"call refused ({status})"
        text = self.ask("GET", f"/gradio_api/call/recover/{json.loads(answer)['event_id']}")[1].decode()
        for sign, word in (("found</h2>", "result"), ("No hand was found", "no hand"), ("role=\\\"alert", "refused")):
            if sign in text:
                return word
        return "error " + text[-200:]


def bomb(side: int) -> bytes:
    """A PNG of side x side white pixels, a hundredth of that in bytes or less."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    squeeze = zlib.compressobj(1)
    row = b"\0" + b"\xff" * (side * 3)
    data = b"".join(squeeze.compress(row) for _ in range(side)) + squeeze.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def lying_tiff(width: int, height: int) -> bytes:
    """A TIFF of 16 x 16 pixels whose header says another size."""
    from PIL import Image

    encoded = io.BytesIO()
    Image.new("RGB", (16, 16)).save(encoded, "TIFF", compression="tiff_adobe_deflate")
    content = bytearray(encoded.getvalue())
    start = struct.unpack_from("<I", content, 4)[0]
    for entry in range(start + 2, start + 2 + 12 * struct.unpack_from("<H", content, start)[0], 12):
        tag = struct.unpack_from("<H", content, entry)[0]
        if tag in (256, 257, 278):  # width, height, rows of a strip
            struct.pack_into("<HII", content, entry + 2, 4, 1, width if tag == 256 else height)
    return bytes(content)


def half_request(port: int) -> str:
    """The beginning of an upload that never ends; the server has to end it."""
    start_s = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=300) as connection:
        connection.sendall(
            b"POST /gradio_api/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n"
            b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
        )
        answer = connection.recv(1000)
    status = answer.split(b" ")[1].decode() if answer else "no answer"
    return f"ended ({status}) after {(time.monotonic() - start_s) / 10:.0f}0 s"


def hostile_visits(port: int) -> list[tuple[str, Callable[[], str]]]:
    """What hostile visitors do, by name."""
    visitor = Visitor(port)
    loop = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n{} loop\n%%EOF\n"
    call = b'{"data": [{"path": "http://127.0.0.1:1/x.jpg", "meta": {"_type": "gradio.FileData"}}, 60]}'
    return [
        ("bomb of 144 megapixels", lambda: visitor.recover("bomb.png", bomb(12_000))),
        ("bomb just below the limit", lambda: visitor.recover("large.png", bomb(7_000))),
        ("TIFF that lies of its size", lambda: visitor.recover("large.tif", lying_tiff(24_000, 2_000))),
        ("60 MB", lambda: visitor.recover("huge.jpg", b"\xff" * (60 << 20))),
        ("PostScript that never ends", lambda: visitor.recover("loop.jpg", loop)),
        ("a program", lambda: visitor.recover("hand.png", b"MZ" + os.urandom(5000))),
        ("text", lambda: visitor.recover("hand.svg", b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>")),
        ("empty", lambda: visitor.recover("hand.jpg", b"")),
        ("another site", lambda: f"{visitor.ask('POST', '/live/frame', b'x', Origin='https://evil.example')[0]}"),
        ("an address", lambda: f"{visitor.ask('POST', '/gradio_api/call/recover', call)[0]}"),
        ("another host's name", lambda: f"{visitor.ask('GET', '/', Host='evil.example')[0]}"),
        ("half a request", lambda: half_request(port)),
    ]


@contextlib.contextmanager
def served(folder: Path) -> Iterator[tuple[int, int]]:
    """The page on a free port with its files under ``folder``: port and process id."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "handmesh", "app", "--port", str(port)],
        env={**os.environ, "TMPDIR": str(folder)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        if not any("open http" in line for line in process.stdout):
            sys.exit("the page did not start")
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(timeout=60)


def memory_mb(pid: int) -> float:
    """Resident memory of a process and its children, on Linux."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    pages = sum(int(Path(f"/proc/{each}/statm").read_text().split()[1]) for each in [str(pid), *children])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    """Run the load and print what came."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--visitors", type=int, default=20)
    parser.add_argument("--photos", type=int, default=3, help="of each visitor")
    parser.add_argument("--no-hostile", action="store_true")
    args = parser.parse_args()
    outcomes: Counter[str] = Counter()
    waits_s: list[float] = []
    answers: dict[str, str] = {}
    peak_mb = 0.0
    photos = [example.path.read_bytes() for example in EXAMPLES]

    def visit(number: int, port: int) -> None:
        for turn in range(args.photos):
            start_s = time.monotonic()
            try:
                came = Visitor(port).recover(f"hand-{number}-{turn}.jpg", photos[(number + turn) % len(photos)])
            except (OSError, http.client.HTTPException) as error:
                came = type(error).__name__
            waits_s.append(time.monotonic() - start_s)
            outcomes[came] += 1

    def attack(name: str, act: Callable[[], str]) -> None:
        try:
            answers[name] = act()
        except (OSError, http.client.HTTPException) as error:
            answers[name] = f"the connection was closed ({type(error).__name__})"

    with tempfile.TemporaryDirectory() as name, served(Path(name)) as (port, pid):
        before_mb = memory_mb(pid)
        start_s = time.monotonic()
        threads = [threading.Thread(target=visit, args=(number, port)) for number in range(args.visitors)]
        if not args.no_hostile:
            threads += [threading.Thread(target=attack, args=each) for each in hostile_visits(port)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            with contextlib.suppress(OSError, IndexError):
                peak_mb = max(peak_mb, memory_mb(pid))
            time.sleep(0.2)
        took_s = time.monotonic() - start_s
        after = Visitor(port).recover("after.jpg", photos[0])
        disk_mb = sum(file.stat().st_size for file in Path(name).rglob("*") if file.is_file()) / 1e6
    print(f"{args.visitors} visitors, {args.photos} photos each, in {took_s:.0f} s: {dict(outcomes)}")
    if waits_s:
        print(f"waited: median {np.median(waits_s):.1f} s, longest {max(waits_s):.1f} s")
    for kind, word in answers.items():
        print(f"  {kind}: {word}")
    print(f"afterwards: {after}; memory {before_mb:.0f} MB before, {peak_mb:.0f} MB at most; disk {disk_mb:.0f} MB")


if __name__ == "__main__":
    main()

"""Where the wrists are, from a stream: python demo/stream_receiver.py ws://127.0.0.1:8765 (or udp://127.0.0.1:5005)

Start the other side first: handmesh webcam --stream ws://:8765. Prints a line a hand: metres, the camera's axes.
"""

import json
import socket
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit


def messages(url: str) -> Iterator[str | bytes]:
    if url.startswith("ws://"):
        from websockets.sync.client import connect

        with connect(url) as stream:
            yield from stream
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind((urlsplit(url).hostname, urlsplit(url).port))
        while True:
            yield receiver.recv(65536)


for message in map(json.loads, messages(sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8765")):
    for hand in message.get("hands", []):  # the header has none
        print(message["sequence"], "right" if hand["is_right"] else "left", *hand["joints"][0], flush=True)

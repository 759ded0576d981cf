"""Streams over loopback: what is received is what is recorded, whoever reads slowly, stops, vanishes or loses some."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handmesh.errors import HandMeshError
from handmesh.mano.hand_model import HandModel
from handmesh.motion.formats.tables import RecordingHeader
from handmesh.motion.recording import RecordedFrame, Recording
from handmesh.motion.recording_files import dump_line
from handmesh.motion.streams import live as live_module
from handmesh.motion.streams import udp as udp_module
from handmesh.motion.streams import websocket
from handmesh.motion.streams.address import MAX_DATAGRAM_BYTES, StreamAddress
from handmesh.motion.streams.live import LiveStream, StreamMessage, StreamTarget
from handmesh.motion.streams.targets import open_targets
from handmesh.motion.streams.udp import UdpTarget, fitting_line
from handmesh.motion.streams.websocket import WebSocketTarget

ROOT = Path(__file__).resolve().parents[2]
STREAM_KEYS = ("sequence", "stale", "grabbed_unix_s")
#: Long enough for a machine that is busy; nothing waits for so long unless it fails.
PATIENCE_S = 20.0


class Collector:
    """A target that keeps everything."""

    url = "test://"

    def __init__(self) -> None:
        self.messages: list[StreamMessage] = []

    def offer(self, message: StreamMessage) -> None:
        self.messages.append(message)

    def close(self) -> None: ...


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with udp_socket() as receiver:
        yield receiver


def everything(listener: socket.socket) -> list[dict[str, Any]]:
    """What has come to a UDP socket, until it is silent."""
    listener.settimeout(0.2)
    received = []
    try:
        while True:
            received.append(json.loads(listener.recv(65536)))
    except TimeoutError:
        return received


def udp_socket(port: int = 0) -> socket.socket:
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    receiver.bind(("127.0.0.1", port))
    receiver.settimeout(PATIENCE_S)
    return receiver


@pytest.fixture
def no_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames come as slowly as a busy machine lets them: only what is sent is to arrive."""
    monkeypatch.setattr(LiveStream, "_fill_silences", lambda self: None)


@pytest.fixture
def server() -> Iterator[WebSocketTarget]:
    target = WebSocketTarget(StreamAddress("ws", "127.0.0.1", 0))
    yield target
    target.close()


def stream_to(
    targets: list[StreamTarget], frames: list[RecordedFrame], header: RecordingHeader, model: HandModel
) -> None:
    with LiveStream(targets, header, model) as stream:
        for frame in frames:
            stream.send(frame, time.perf_counter())


def saved_lines(recording: Recording, folder: Path) -> list[dict[str, Any]]:
    """Of the recording's file; how many frames it has is known at its end alone, which a stream does not have."""
    recording.save(folder / "saved.jsonl")
    header, *lines = map(json.loads, (folder / "saved.jsonl").read_bytes().splitlines())
    assert header.pop("frame_count") == len(lines)
    return [header, *lines]


def check_equal(received: list[dict[str, Any]], lines: list[dict[str, Any]]) -> None:
    """Header and frames as a recording of the same frames has them, and the stream's own keys."""
    header, *messages = received
    assert header == lines[0]
    assert [message["sequence"] for message in messages] == list(range(len(lines) - 1))
    for message, line in zip(messages, lines[1:], strict=True):
        assert message["stale"] is False and abs(time.time() - message["grabbed_unix_s"]) < 60
        assert {key: value for key, value in message.items() if key not in STREAM_KEYS} == line


def test_datagrams_are_the_recording(
    listener: socket.socket, frames: list[RecordedFrame], header: RecordingHeader, model: HandModel,
    recording: Recording, tmp_path: Path, no_heartbeat: None,
) -> None:  # fmt: skip
    with open_targets([f"udp://:{listener.getsockname()[1]}"], print) as targets:
        stream_to(targets, frames[:20], header, model)
    data = [listener.recv(65536) for _ in range(21)]
    lines = saved_lines(recording, tmp_path)
    # The header of the fixture has the whole clip's; that of a stream is made from its first frame.
    lines[0]["fov_deg"] = json.loads(data[0])["fov_deg"]
    check_equal([json.loads(each) for each in data], lines[:21])
    # Written one below the other they are a file that can be read.
    (tmp_path / "kept.jsonl").write_bytes(b"".join(data))
    kept = Recording.load(tmp_path / "kept.jsonl")
    np.testing.assert_array_equal(kept.hands.joints, recording.hands.joints[: len(kept.hands)])
    assert all(len(each) <= MAX_DATAGRAM_BYTES and b"vertices" not in each for each in data)


def test_a_websocket_client_gets_the_recording(
    server: WebSocketTarget, frames: list[RecordedFrame], header: RecordingHeader, model: HandModel,
    recording: Recording, tmp_path: Path, no_heartbeat: None,
) -> None:  # fmt: skip
    client = pytest.importorskip("websockets.sync.client")
    lines = saved_lines(recording, tmp_path)
    with client.connect(server.url) as early, LiveStream([server], header, model) as stream:
        received = []
        wait_for(lambda: len(server._news) == 1)
        for frame in frames[:10]:
            stream.send(frame)
            # One at a time: what is not taken in time is replaced by the next.
            received += [early.recv(PATIENCE_S) for _ in range(1 if received else 2)]
        with client.connect(server.url) as late:
            assert late.recv(PATIENCE_S) == received[0]
            stream.send(frames[10])
            assert late.recv(PATIENCE_S) == early.recv(PATIENCE_S)
    lines[0]["fov_deg"] = json.loads(received[0])["fov_deg"]
    check_equal([json.loads(text) for text in received], lines[:11])


def test_sequence_numbers_show_what_was_lost(
    listener: socket.socket, frames: list[RecordedFrame], header: RecordingHeader, model: HandModel,
    monkeypatch: pytest.MonkeyPatch, no_heartbeat: None,
) -> None:  # fmt: skip
    with open_targets([f"udp://:{listener.getsockname()[1]}"], print) as targets:
        send, count = targets[0]._socket.send, iter(range(1000))
        monkeypatch.setattr(targets[0]._socket, "send", lambda data: next(count) % 3 == 1 or send(data))
        stream_to(targets, frames[:12], header, model)
    received = everything(listener)
    assert [each["sequence"] for each in received if "hands" in each] == [1, 2, 4, 5, 7, 8, 10, 11]
    assert all(each["index"] == each["sequence"] for each in received[1:])


def test_the_header_comes_once_a_second(
    listener: socket.socket, frames: list[RecordedFrame], header: RecordingHeader, model: HandModel,
    monkeypatch: pytest.MonkeyPatch, no_heartbeat: None,
) -> None:  # fmt: skip
    now_s = iter(np.arange(0, 100, 0.25).tolist())
    monkeypatch.setattr(udp_module.time, "monotonic", lambda: next(now_s))
    with open_targets([f"udp://:{listener.getsockname()[1]}"], print) as targets:
        message = StreamMessage(b'{"format":1}\n', {"hands": []}, b'{"hands":[]}\n', model)
        for _ in range(9):
            targets[0].offer(message)
    kinds = "".join("h" if b"format" in listener.recv(65536) else "." for _ in range(12))
    assert kinds == "h....h....h."


def test_hands_that_do_not_fit_are_counted(
    frames: list[RecordedFrame], header: RecordingHeader, model: HandModel
) -> None:
    hand = frames[10].hands[0]
    many = [replace(hand, track_id=number, score=0.5 + (number * 7 % 40) / 100) for number in range(40)]
    kept = Collector()
    stream_to([kept], [replace(frames[10], hands=many)], header, model)
    message = kept.messages[0]
    assert len(message.line) > MAX_DATAGRAM_BYTES
    line, left_out = fitting_line(message.record, message.line, MAX_DATAGRAM_BYTES)
    content = json.loads(line)
    assert 0 < left_out == content["hands_left_out"] and len(line) <= MAX_DATAGRAM_BYTES
    ids = [each["track_id"] for each in content["hands"]]
    best = sorted(range(40), key=lambda number: -many[number].score)[: 40 - left_out]
    # The surest ones, in the order they had.
    assert ids == sorted(best)
    more = dump_line({**message.record, "hands": [each for each in message.record["hands"] if each["track_id"] in ids]})
    assert len(more) + len(dump_line(message.record["hands"][0])) > MAX_DATAGRAM_BYTES
    assert fitting_line(message.record, message.line, len(message.line)) == (message.line, 0)
    assert fitting_line({"hands": []}, b"0123", 2) == (b"", 0)


def test_a_system_that_sends_less_is_learned(
    listener: socket.socket, frames: list[RecordedFrame], header: RecordingHeader, model: HandModel,
    monkeypatch: pytest.MonkeyPatch, no_heartbeat: None,
) -> None:  # fmt: skip
    reported: list[str] = []
    target = UdpTarget(StreamAddress("udp", "127.0.0.1", listener.getsockname()[1]), reported.append)
    send = target._socket.send
    monkeypatch.setattr(target._socket, "send", lambda data: len(data) <= 4000 and send(data))
    stream_to([target], frames[10:13], header, model)
    target.close()
    received = [json.loads(listener.recv(65536)) for _ in range(4)]
    assert [len(each["hands"]) for each in received[1:]] == [1, 1, 1]
    assert [each["hands_left_out"] for each in received[1:]] == [1, 1, 1] and len(reported) == 1


def test_stale_after_two_tenths_without_a_hand(
    frames: list[RecordedFrame], header: RecordingHeader, model: HandModel, no_heartbeat: None
) -> None:
    times = np.arange(0, 2, 0.0625)
    seen = (times >= 0.5) & (times < 1.0)
    kept = Collector()
    hand = frames[0].hands
    made = [replace(frames[0], index=n, timestamp_s=float(t), hands=hand if there else [])
            for n, (t, there) in enumerate(zip(times, seen, strict=True))]  # fmt: skip
    stream_to([kept], made, header, model)
    # Before the first hand it counts from the first frame.
    since = np.where(times < 0.5, times, np.where(seen, 0.0, times - times[seen].max()))
    assert [message.record["stale"] for message in kept.messages] == (since >= 0.2).tolist()


def test_a_silent_camera_is_stale(
    frames: list[RecordedFrame], header: RecordingHeader, model: HandModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_module, "STALE_S", 0.02)
    kept = Collector()
    with LiveStream([kept], header, model) as stream:
        # Nothing is sent before the first frame: there is no header yet.
        time.sleep(0.05)
        assert not kept.messages
        stream.send(frames[10])
        wait_for(lambda: len(kept.messages) >= 4)
        stream.send(frames[11])
    records = [message.record for message in kept.messages]
    assert [record["sequence"] for record in records] == list(range(len(records)))
    for record in records:
        is_frame = bool(record["hands"])
        assert record["stale"] is not is_frame and {"index", "timestamp_s", "K", "image_size"} <= set(record)
        if not is_frame:
            assert record["index"] in (10, 11)
    assert stream.frame_count == 2 and sum(bool(record["hands"]) for record in records) == 2


def wait_for(is_so: Callable[[], bool]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end_s
        time.sleep(0.005)


def test_a_client_that_stops_reading_holds_up_nobody(server: WebSocketTarget, model: HandModel) -> None:
    """More is sent than any buffer on the way holds; another client gets its frames; the rest is replaced, not kept."""
    client = pytest.importorskip("websockets.sync.client")
    padding, count = "x" * 200_000, 200

    def offer(sequence: int) -> None:
        server.offer(StreamMessage(b'{"format": 1}', {}, dump_line({"sequence": sequence, "padding": padding}), model))

    with client.connect(server.url) as reader:
        stuck = raw_client(server.port)
        wait_for(lambda: len(server._news) == 2)
        for number in range(count):
            offer(number)
            if number % 10 == 0:
                # The loop that serves the clients turns all the while.
                while json.loads(reader.recv(PATIENCE_S)).get("sequence", -1) < number:
                    pass
        first, *received = drain(stuck)
        sequences = [message["sequence"] for message in received]
        assert first == {"format": 1} and sequences == sorted(set(sequences)) and len(sequences) < count / 2
        # What waited for it is the newest frame, and so is what it reads next.
        assert sequences[-1] == count - 1
        offer(count)
        assert drain(stuck, until=count)[-1]["sequence"] == count
        stuck.close()


def raw_client(port: int) -> socket.socket:
    """A WebSocket client that reads only when told to, with a small buffer."""
    wire = socket.socket()
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
    wire.settimeout(PATIENCE_S)
    wire.connect(("127.0.0.1", port))
    wire.sendall(
        b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += wire.recv(1)
    assert b" 101 " in answer
    return wire


def drain(wire: socket.socket, until: int = -1) -> list[dict[str, Any]]:
    """The messages there are for a raw client, to a sequence number, or to half a second without any."""
    messages: list[dict[str, Any]] = []
    wire.settimeout(PATIENCE_S if until >= 0 else 0.5)

    def exactly(size: int) -> bytes:
        data = b""
        while len(data) < size:
            data += wire.recv(size - len(data))
        return data

    try:
        while not messages or until < 0 or messages[-1].get("sequence", -1) < until:
            first, size = exactly(2)
            size = int.from_bytes(exactly({126: 2, 127: 8}[size]), "big") if size > 125 else size
            content = exactly(size)
            if first & 15 == 1:
                messages.append(json.loads(content))
    except TimeoutError:
        assert until < 0
    return messages


def test_a_client_that_vanishes_and_comes_back(
    server: WebSocketTarget, frames: list[RecordedFrame], header: RecordingHeader, model: HandModel, no_heartbeat: None
) -> None:
    client = pytest.importorskip("websockets.sync.client")
    with LiveStream([server], header, model) as stream:
        stream.send(frames[0])
        with client.connect(server.url) as first:
            assert "format" in json.loads(first.recv(PATIENCE_S))
            first.socket.close()  # without a word
        wait_for(lambda: stream.send(frames[1]) is None and not server._news)
        stream.send(frames[2])
        with client.connect(server.url) as again:
            assert "format" in json.loads(again.recv(PATIENCE_S))
            stream.send(frames[3])
            assert json.loads(again.recv(PATIENCE_S))["index"] == 3


def test_a_udp_receiver_that_vanishes_and_comes_back(
    frames: list[RecordedFrame], header: RecordingHeader, model: HandModel, no_heartbeat: None
) -> None:
    reported: list[str] = []
    first = udp_socket()
    port = first.getsockname()[1]
    with open_targets([f"udp://127.0.0.1:{port}"], reported.append) as targets:
        with LiveStream(targets, header, model) as stream:
            stream.send(frames[0])
            assert "format" in json.loads(first.recv(65536)) and json.loads(first.recv(65536))["sequence"] == 0
            first.close()
            for frame in frames[1:4]:
                stream.send(frame)
            with udp_socket(port) as again:
                stream.send(frames[4])
                assert json.loads(again.recv(65536))["sequence"] == 4
    # Nobody there is nothing to complain about; a network that is down is said once.
    assert len(reported) <= 1


def test_a_udp_receiver_that_stops_reading(
    listener: socket.socket, frames: list[RecordedFrame], header: RecordingHeader, model: HandModel, no_heartbeat: None
) -> None:
    """Its system's buffer fills up and the rest is dropped, while every call returns."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    with open_targets([f"udp://:{listener.getsockname()[1]}"], print) as targets:
        kept = Collector()
        with LiveStream([*targets, kept], header, model) as stream:
            for _ in range(300):
                stream.send(frames[10])
    assert len(kept.messages) == 300
    received = everything(listener)
    sequences = [each["sequence"] for each in received if "hands" in each]
    assert 0 < len(sequences) < 300 and sequences == sorted(set(sequences))


def test_pages_of_strangers_may_not_read(server: WebSocketTarget) -> None:
    client = pytest.importorskip("websockets.sync.client")
    for origin in ("http://localhost:8000", "http://127.0.0.1", "https://[::1]:1"):
        client.connect(server.url, origin=origin).close()
    for origin in ("https://example.org", "null", "http://localhost.example.org", "http://127.0.0.1.example.org"):
        with pytest.raises(Exception, match="403"):
            client.connect(server.url, origin=origin)


def test_threads_and_ports_are_given_back(
    frames: list[RecordedFrame], header: RecordingHeader, model: HandModel
) -> None:
    client = pytest.importorskip("websockets.sync.client")
    before = set(threading.enumerate())
    first = WebSocketTarget(StreamAddress("ws", "127.0.0.1", 0))
    with client.connect(first.url), LiveStream([first], header, model) as stream:
        stream.send(frames[0])
        stuck = raw_client(first.port)
    first.close()
    first.close()
    stuck.close()
    assert set(threading.enumerate()) == before
    first.offer(StreamMessage(b"", {}, b"", model))
    WebSocketTarget(StreamAddress("ws", "127.0.0.1", first.port)).close()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("tcp://127.0.0.1:5005", "no such kind"),
        ("127.0.0.1:5005", "no such kind"),
        ("udp://127.0.0.1", "names no port"),
        ("ws://8765", "names no port"),
        ("udp://127.0.0.1:0", "names no port"),
        ("udp://127.0.0.1:70000", "1 to 65535"),
        ("osc://127.0.0.1:vmc", "1 to 65535"),
        ("ws://[::1:8765", "no host and port"),
        ("udp://a\0b:8765", "a\\x00b"),
        ("ws://127.0.0.1:8765/hands", "after the port"),
        ("ws://me@127.0.0.1:8765", "before the host"),
        ("udp://no-such-host.invalid:5005", "no-such-host.invalid"),
        ("ws://no-such-host.invalid:5005", "no-such-host.invalid"),
        ("osc://" + "a" * 80 + ".invalid:5005", "can be found"),
        ("ws://192.0.2.1:8765", "address of this machine"),
    ],
)
def test_what_is_no_address(url: str, says: str) -> None:
    with pytest.raises(HandMeshError, match="expected") as refusal, open_targets([url], print):
        pass
    assert says in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize("is_silent", [False, True])
def test_a_server_that_does_not_come_up_is_one_error(is_silent: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that fails in a way of its own, and one that never answers: neither is waited for without end."""
    asyncio_server = pytest.importorskip("websockets.asyncio.server")

    async def serve(*_: object, **__: object) -> None:
        if is_silent:
            await asyncio.sleep(3)
        raise ValueError("no such thing")

    monkeypatch.setattr(asyncio_server, "serve", serve)
    monkeypatch.setattr(websocket, "_START_S", 0.2 if is_silent else 30.0)
    with pytest.raises(HandMeshError, match="not listening" if is_silent else "no such thing"):
        WebSocketTarget(StreamAddress("ws", "127.0.0.1", 0))


def test_a_port_in_use(server: WebSocketTarget) -> None:
    with pytest.raises(HandMeshError, match="another program listens"):
        WebSocketTarget(StreamAddress("ws", "127.0.0.1", server.port))


def test_addresses_are_of_this_machine_unless_named() -> None:
    for scheme in ("udp", "ws", "osc"):
        assert StreamAddress.parse(f"{scheme}://:5005") == StreamAddress(scheme, "127.0.0.1", 5005)
    for url in ("udp://192.0.2.1:5005", "ws://[::1]:8765", "osc://0.0.0.0:39539"):
        assert StreamAddress.parse(url).url == url
    assert StreamAddress.parse("WS://localhost:1/").url == "ws://localhost:1"


@pytest.mark.parametrize(("url", "package"), [("ws://:8765", "websockets"), ("osc://:39539", "pythonosc")])
def test_a_missing_package_is_named_with_the_line_to_type(
    url: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(HandMeshError, match=r"pip install 'handmesh\[stream\]'"), open_targets([url], print):
        pass


@pytest.mark.parametrize("scheme", ["udp", "ws"])
def test_the_receiver_of_the_demo(
    scheme: str, frames: list[RecordedFrame], header: RecordingHeader, model: HandModel
) -> None:
    if scheme == "ws":
        pytest.importorskip("websockets")
        target: StreamTarget = WebSocketTarget(StreamAddress("ws", "127.0.0.1", 0))
        url = target.url
    else:
        with udp_socket() as probe:
            url = f"udp://127.0.0.1:{probe.getsockname()[1]}"
        target = UdpTarget(StreamAddress.parse(url), print)
    program = subprocess.Popen(
        [sys.executable, str(ROOT / "demo" / "stream_receiver.py"), url], stdout=subprocess.PIPE, text=True
    )
    lines: list[str] = []
    assert program.stdout is not None
    reading = threading.Thread(target=lambda: lines.extend(program.stdout.readline() for _ in range(2)), daemon=True)
    reading.start()
    try:
        with LiveStream([target], header, model) as stream:
            wait_for(lambda: stream.send(frames[10]) is None and not reading.is_alive())
    finally:
        program.kill()
        program.communicate(timeout=30)
        target.close()
    for line, hand in zip(lines, frames[10].hands, strict=True):
        words = line.split()
        assert ("right" in words) == hand.is_right
        np.testing.assert_allclose([float(word) for word in words[-3:]], hand.joints[0], atol=1e-3)

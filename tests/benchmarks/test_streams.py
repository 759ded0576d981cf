"""The stream of a recording: every frame, in order, at a rate of one's own."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from handmesh.errors import HandMeshError
from handmesh.geometry.camera import intrinsics_from_fov
from handmesh.mano.arrays import ManoArrays
from handmesh.motion.formats.tables import RecordingHeader
from handmesh.motion.recorder import recording_of
from handmesh.motion.recording import RecordedFrame
from handmesh.motion.streams.live import LiveStream
from handmesh.results import Hand


def test_a_recording_is_sent_again_and_again(
    script: Callable[[str], ModuleType], hands: list[Hand], open_mano: ManoArrays, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    streams = script("benchmarks.streams")
    monkeypatch.setattr(LiveStream, "_fill_silences", lambda self: None)
    monkeypatch.setattr(streams.time, "sleep", lambda s: None)
    header = RecordingHeader(
        hand_model=open_mano.name, hand_model_fingerprint=open_mano.fingerprint(), image_size=(80, 60),
        rest_joints=tuple((0.0, 0.0, 0.0) for _ in range(16)),
    )  # fmt: skip
    K = intrinsics_from_fov(80, 60)
    recording_of(header, [RecordedFrame(n, n / 30, (80, 60), K, hands) for n in range(3)]).save(tmp_path / "r.npz")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(20)
        url = f"udp://:{receiver.getsockname()[1]}"
        streams.main([str(tmp_path / "r.npz"), "--stream", url, "--rate", "50", "--frames", "7"])
        messages = [json.loads(receiver.recv(65536)) for _ in range(8)]
    assert [message["index"] for message in messages[1:]] == list(range(7))
    assert [message["timestamp_s"] for message in messages[1:]] == [n / 50 for n in range(7)]
    assert json.loads(capsys.readouterr().out)["frames"] == 7
    with pytest.raises(HandMeshError, match="rate"):
        streams.main([str(tmp_path / "r.npz"), "--stream", url, "--rate", "0"])

"""Visitors' pictures decoded in a child process: the same pixels, and a child that hangs or dies harms nobody."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from handmesh.errors import HandMeshError
from handmesh.io.images import read_image, write_image
from handmesh.web.decoder import PhotoDecoder


@pytest.fixture(scope="module")
def decoder() -> Iterator[PhotoDecoder]:
    decoder = PhotoDecoder(time_limit_s=20.0)
    yield decoder
    decoder.close()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "my photo.jpg"
    write_image(path, np.random.default_rng(0).integers(0, 255, (37, 53, 3), np.uint8))
    return path


def test_the_pixels_are_those_of_read_image(decoder: PhotoDecoder, photo: Path) -> None:
    image = decoder(photo)
    assert np.array_equal(image, read_image(photo))
    image[0] = 0  # it is the caller's own


@pytest.mark.parametrize(("content", "words"), [(b"not a picture", "not an image"), (b"", "empty"), (None, "no such")])
def test_a_bad_file_is_one_sentence_without_the_folder(
    content: bytes | None, words: str, decoder: PhotoDecoder, tmp_path: Path
) -> None:
    path = tmp_path / "upload.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(HandMeshError, match=words) as error:
        decoder(path)
    assert "upload.png" in str(error.value) and str(tmp_path) not in str(error.value)


def test_a_child_that_hangs_is_ended_and_the_next_picture_is_read(photo: Path) -> None:
    decoder = PhotoDecoder(time_limit_s=20.0)
    decoder(photo)
    process = decoder._process
    assert process is not None and process.pid is not None
    os.kill(process.pid, signal.SIGSTOP)  # as a reader that never ends
    decoder.time_limit_s = 0.2
    with pytest.raises(HandMeshError, match="within"):
        decoder(photo)
    assert not process.is_alive()
    decoder.time_limit_s = 20.0
    assert decoder(photo).shape == (37, 53, 3)
    decoder.close()


def test_a_child_that_is_killed_is_an_error_once(photo: Path) -> None:
    decoder = PhotoDecoder(time_limit_s=20.0)
    decoder(photo)
    process = decoder._process
    assert process is not None and process.pid is not None
    os.kill(process.pid, signal.SIGSTOP)
    os.kill(process.pid, signal.SIGKILL)
    process.join(10.0)
    assert decoder(photo).shape == (37, 53, 3), "a dead child is replaced before it is asked"
    decoder.close()

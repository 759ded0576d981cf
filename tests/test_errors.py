"""An error is one line that a terminal shows and does not obey."""

from __future__ import annotations

from pathlib import Path

import pytest

from handmesh.errors import HandMeshError, printable, reason_of, run_command


def test_what_a_terminal_would_obey_is_written_out() -> None:
    assert printable("a\x1b[2J\n\tb\u202ec\x07") == "a\\x1b[2J b\\u202ec\\x07"
    assert printable("größe 手 photo.jpg") == "größe 手 photo.jpg"


def test_an_error_of_a_command_is_one_printable_line(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise HandMeshError("expected a\x1b]0;title\x07 photo,\n got none")

    with pytest.raises(SystemExit) as stop:
        run_command(fail)
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: expected a\\x1b]0;title\\x07 photo, got none\n"


def test_what_a_library_quotes_of_a_file_is_cut_to_one_short_line() -> None:
    text = reason_of(ValueError("cannot parse\n\x1b[2J" + "," * 10_000))
    assert len(text) == 200 and text.startswith("cannot parse \\x1b[2J,,,")


@pytest.mark.parametrize("letters", [300, 5000])
def test_a_name_that_is_too_long_is_one_short_line(letters: int, capsys: pytest.CaptureFixture[str]) -> None:
    def look() -> None:
        (Path("/tmp") / ("x" * letters)).stat()

    with pytest.raises(SystemExit) as stop:
        run_command(look)
    line = capsys.readouterr().err
    assert stop.value.code == 2 and line.count("\n") == 1 and len(line) < 250
    assert "longer than the system allows" in line


def test_endless_words_are_cut_and_the_next_step_stays(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise HandMeshError(f"expected a photo, got {'x' * 100_000}; check the path")

    with pytest.raises(SystemExit):
        run_command(fail)
    line = capsys.readouterr().err
    assert len(line) < 1100 and line.startswith("error: expected a photo") and line.endswith("check the path\n")


def test_other_errors_of_the_system_keep_their_traceback() -> None:
    def fail() -> None:
        raise PermissionError(13, "no")

    with pytest.raises(PermissionError):
        run_command(fail)

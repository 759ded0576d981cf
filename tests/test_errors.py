"""An error is one line that a terminal shows and does not obey."""

from __future__ import annotations

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

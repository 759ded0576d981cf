"""doctor: what is missing decides the exit code, and every missing thing comes with its fix."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from handmesh.cli.commands import doctor
from handmesh.cli.commands.doctor import Finding, examine, report
from handmesh.io.runtime import system_libraries


def test_only_what_the_main_job_needs_makes_it_fail() -> None:
    fine = [Finding("a", "ok", "1.0"), Finding("b", "optional", "none", "get one")]
    assert report(fine)[1] == 0
    text, code = report([*fine, Finding("c", "missing", "not there", "put it there")])
    assert code == 1
    assert "put it there" in text and "cannot run here: c" in text


def test_every_finding_that_is_not_ok_says_how_to_mend_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANDMESH_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    for finding in examine(mano=str(tmp_path / "none.pkl"), data=str(tmp_path)):
        assert finding.status == "ok" or finding.fix, finding
    assert not (tmp_path / "cache").exists(), "doctor writes nothing"


def test_the_detector_is_in_the_package_and_others_name_their_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HANDMESH_HOME", str(tmp_path))
    found = {f.what: f for f in examine()}
    assert found["hand detector"].status == "ok"
    fetched = found["MediaPipe's models"]
    assert fetched.status == "optional" and fetched.fix == "handmesh fetch"


def test_named_files_that_are_not_there_fail(tmp_path: Path) -> None:
    by_name = {f.what: f for f in examine(mano=str(tmp_path / "none.pkl"), data=str(tmp_path))}
    assert by_name["MANO"].status == "missing"
    assert by_name["FreiHAND"].status == "missing"
    by_name = {f.what: f for f in examine()}
    assert by_name["MANO"].status != "missing"
    assert by_name["FreiHAND"].status != "missing"


def test_an_old_package_counts_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"torch": "1.2.3+cpu", "numpy": None}
    monkeypatch.setattr(doctor.importlib.metadata, "requires", lambda _: ["torch>=2.4", "numpy>=1.26", "tqdm"])
    monkeypatch.setattr(doctor, "_version", lambda name: versions.get(name, "10.0"))
    assert [f.status for f in doctor._packages()] == ["missing", "missing", "ok"]


@pytest.mark.parametrize(
    ("requirement", "have", "status"),
    [
        ("torch>=2.4", "2.10.0a0+git1234", "ok"), ("torch>=2.4", "2.4.0+cpu", "ok"),
        ("torch>=2.4", "2.4rc1", "missing"), ("numpy<3,>=1.26", "3.0", "missing"),
        ("gone; sys_platform == 'none'", None, None),
        ("odd>=1", "built here", "ok"),
    ],
)  # fmt: skip
def test_versions_count_as_pip_counts_them(
    monkeypatch: pytest.MonkeyPatch, requirement: str, have: str | None, status: str | None
) -> None:
    monkeypatch.setattr(doctor.importlib.metadata, "requires", lambda _: [requirement])
    monkeypatch.setattr(doctor, "_version", lambda name: have)
    assert [f.status for f in doctor._packages()] == ([status] if status else [])


def test_extras_that_are_absent_are_told_together(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["gradio>=6; extra == 'demo'", "rare>=1; extra == 'demo'", "nose>=1; extra == 'dev'",
              "mac>=1; sys_platform == 'none' and extra == 'demo'"]  # fmt: skip
    monkeypatch.setattr(doctor.importlib.metadata, "requires", lambda _: wanted)
    monkeypatch.setattr(doctor, "_version", lambda name: None)
    (one,) = doctor._packages()
    assert one.status == "optional" and one.detail == "not installed: gradio, rare"
    assert one.fix == "pip install 'handmesh[demo]'"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux borrows libraries from the system")
def test_missing_libraries_are_named_with_their_debian_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = {"libGL.so.1", "libusb-1.0.so.0"}
    monkeypatch.setattr(system_libraries, "is_loadable", lambda soname: soname not in gone)
    missing = system_libraries.missing_libraries()
    assert {library.soname for library in missing} == gone
    assert system_libraries.install_line(missing) == "sudo apt-get install -y libgl1 libusb-1.0-0"
    assert system_libraries.main() == 4
    monkeypatch.setattr(system_libraries, "is_loadable", lambda soname: soname != "libusb-1.0.so.0")
    assert system_libraries.main() == 3

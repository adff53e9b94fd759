"""An artefact is what was published, or it is damaged and says how (F30)."""

import subprocess
from pathlib import Path

import pytest

from ablate.artefacts import damage, publish, set_aside


@pytest.fixture
def artefact(tmp_path: Path) -> Path:
    partial = tmp_path / "job.tmp-1"
    (partial / "inner").mkdir(parents=True)
    (partial / "weights").write_bytes(b"weights")
    (partial / "inner" / "config.json").write_text("{}")
    publish(partial, tmp_path / "job")
    assert not partial.exists()
    return tmp_path / "job"


def test_artefact_as_published_is_whole_and_the_system_can_check_it(artefact: Path) -> None:
    assert damage(artefact) is None
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=artefact, check=True, capture_output=True)


def test_artefact_with_a_flipped_bit_is_damaged(artefact: Path) -> None:
    (artefact / "weights").write_bytes(b"weighus")
    assert damage(artefact) == "weights is not what was written"


def test_artefact_without_a_file_is_damaged(artefact: Path) -> None:
    (artefact / "inner" / "config.json").unlink()
    assert damage(artefact) == "inner/config.json is missing"


def test_artefact_with_a_file_more_is_damaged(artefact: Path) -> None:
    (artefact / "extra").touch()
    assert damage(artefact) == "extra is not what was written"


def test_artefact_without_its_sums_is_damaged(artefact: Path) -> None:
    (artefact / "SHA256SUMS").unlink()
    assert damage(artefact) == "SHA256SUMS is missing"


def test_artefact_that_is_gone_says_so(artefact: Path) -> None:
    set_aside(artefact)
    assert damage(artefact) == "it is not there"
    assert list(artefact.parent.iterdir()) == []
    set_aside(artefact)


def test_artefact_published_twice_stays_as_it_was(artefact: Path, tmp_path: Path) -> None:
    again = tmp_path / "job.tmp-2"
    again.mkdir()
    publish(again, artefact)
    assert damage(artefact) is None
    assert (artefact / "weights").exists()
    assert not again.exists()

"""An artefact is what was published, or it is damaged and says how (F30)."""

import subprocess
from pathlib import Path

import pytest

from ablate.artefacts import damage, publish, set_aside, visible_damage


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


def test_damage_that_shows_without_reading_is_of_names_and_sizes(artefact: Path) -> None:
    assert visible_damage(artefact) is None
    (artefact / "weights").write_bytes(b"weighus")
    assert visible_damage(artefact) is None  # as long as before: only reading it tells
    (artefact / "weights").write_bytes(b"")
    assert visible_damage(artefact) == "weights is not what was written"
    (artefact / "weights").unlink()
    assert visible_damage(artefact) == "weights is missing"


def test_artefact_from_before_sizes_were_kept_is_judged_by_names(artefact: Path) -> None:
    sums = artefact / "SHA256SUMS"
    sums.write_text("".join(line for line in sums.read_text().splitlines(keepends=True) if not line.startswith("#")))
    assert (damage(artefact), visible_damage(artefact)) == (None, None)
    (artefact / "extra").touch()
    assert visible_damage(artefact) == "extra is not what was written"


def test_link_out_of_an_artefact_is_no_part_of_it(tmp_path: Path) -> None:
    """It could lead to any file of the machine, whose content would then be copied along with the artefact (B50)."""
    partial = tmp_path / "job.tmp-1"
    partial.mkdir()
    (tmp_path / "outside").write_bytes(b"private")
    (partial / "link").symlink_to(tmp_path / "outside")
    (partial / "folder").symlink_to(tmp_path)
    publish(partial, tmp_path / "job")
    assert (tmp_path / "job" / "SHA256SUMS").read_text() == ""
    (tmp_path / "outside").unlink()
    assert damage(tmp_path / "job") is None

"""Ray keeps files of its own, in a folder that may be full (F14)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.test_storage import fill, needs_mount, small_disk

__all__ = ["small_disk"]

START = """
import sys
from ablate.errors import AblateError
from ablate.schedule.ray_tasks import start_ray
try:
    start_ray(address="local", slots=1)
except AblateError as error:
    print(error)
    sys.exit(error.exit_code)
"""


@needs_mount
@pytest.mark.slow
@pytest.mark.fault("F14")
def test_full_disk_of_rays_own_files_is_refused_before_anything_starts(small_disk: Path) -> None:
    fill(small_disk)
    environment = os.environ | {"RAY_TMPDIR": str(small_disk)}
    found = subprocess.run([sys.executable, "-c", START], env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == 3
    assert f"no space left for Ray's temporary files in {small_disk}" in found.stdout
    assert "another folder with RAY_TMPDIR" in found.stdout
    assert sorted(path.name for path in small_disk.iterdir()) == ["ballast"]

"""The wheel carries what it needs: shipped studies, bases, the report's template, the pages' style."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_wheel_installed_elsewhere_plans_runs_and_reports_from_any_folder(tmp_path: Path) -> None:
    source, site, folder = tmp_path / "source", tmp_path / "site", tmp_path / "folder"
    folder.mkdir()
    # a copy, because a build leaves folders beside its sources
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target", str(site), str(source)]
    subprocess.run(install, check=True, capture_output=True, timeout=100)

    environment = os.environ | {"PYTHONPATH": str(site)}

    def ablate(*arguments: str) -> str:
        command = [sys.executable, "-m", "ablate", *arguments]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True, timeout=100).stdout

    where = [sys.executable, "-c", "import ablate, dashboards, model_zoo, studies; print(ablate.__file__)"]
    assert str(site) in subprocess.run(where, cwd=folder, env=environment, capture_output=True, text=True, check=True).stdout
    assert (site / "dashboards" / "assets").is_dir()
    assert (site / "ablate" / "data" / "mm1_reference.json").is_file()
    assert json.loads(ablate("plan", "quickstart", "--json"))["totals"]["trials"] == 12
    ablate("init", ".")
    text = (
        (folder / "my-study.yaml")
        .read_text()
        .replace("trainer: model_zoo ", "trainer: synthetic ")
        .replace("base: bases/tiny.yaml", "base: {}")
    )
    text = text.replace("connector.kind:", "connector:").replace("axis: connector.kind", "axis: connector").replace("few_shot/4", "score/4")
    (folder / "my-study.yaml").write_text(text)
    assert "9 done of 9 trials" in ablate("run", "my-study.yaml")
    ablate("report", "my-study")
    assert (folder / "report.html").stat().st_size > 1_000_000

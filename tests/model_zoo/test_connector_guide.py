"""docs/connectors.md as a stranger follows it, in a copy of the zoo: one file, one line, the tests, the study."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from model_zoo.connectors import KINDS

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "connectors.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)


@pytest.mark.slow
def test_guide_leads_to_a_connector_that_is_tested_and_planned(tmp_path: Path) -> None:
    for part in ("model_zoo", "tests"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    (file,), (line,), (study,) = (blocks(language) for language in ("python", "text", "yaml"))
    (tmp_path / "model_zoo" / "connectors" / "space_to_depth.py").write_text(file, encoding="utf-8")
    menu = tmp_path / "model_zoo" / "connectors" / "__init__.py"
    menu.write_text(menu.read_text(encoding="utf-8").replace("MENU = (\n", f"MENU = (\n{line}"), encoding="utf-8")
    (tmp_path / "study.yaml").write_text(study, encoding="utf-8")

    def follow(*words: str) -> str:
        done = subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    (command,) = re.findall(r"`python (-m pytest tests/model_zoo/test_connectors\.py -k space_to_depth)`", GUIDE)
    said = follow(*command.split(), "-p", "no:dash", "-p", "no:xdist", "--rootdir", str(tmp_path))
    assert re.search(r"\d\d passed", said), said
    assert "connector.kind" in follow("-m", "ablate", "plan", "study.yaml")
    if (known := ROOT / ".mypy_cache").exists():  # of the libraries, from `make check`: twenty seconds
        shutil.copytree(known, tmp_path / "cache")
    strict = ["--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(tmp_path / "cache")]
    assert "Success" in follow("-m", "mypy", *strict, "model_zoo/connectors/space_to_depth.py")


def test_guide_lists_every_kind() -> None:
    assert re.findall(r"^\| `(\w+)` \|", GUIDE, re.MULTILINE) == list(KINDS)

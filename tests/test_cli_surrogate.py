"""What `ablate surrogate` prints and writes."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ablate.cli import main
from ablate.surface import Surface
from tests.conftest import make_study
from tests.stores.ran import run, workspace_at

Ablate = Callable[..., str]


@pytest.fixture
def ablate(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Ablate:
    """What the verb prints; with a code, what it says of why it refused. Two arms of two seeds are recorded."""
    run(make_study(name="recorded", base={"steps": 3}, seeds=2), workspace_at(tmp_path / ".ablate"))
    monkeypatch.chdir(tmp_path)

    def said(*arguments: str, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["ablate", "surrogate", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        assert (end.value.code or 0) == code, printed.err
        return printed.err if code else printed.out

    return said


def test_error_is_printed_and_the_file_is_one_that_reads_back(ablate: Ablate) -> None:
    said = ablate("recorded", "-o", "surface.json").splitlines()
    assert said[0] == "Surface of recorded (simulated themselves): 4 trials, 2 arms, 2 seeds"
    assert said[1] == "inputs: num_tokens"
    assert said[4].split("  ")[0] == "metric"
    assert [line.split()[0] for line in said[5:9]] == ["loss", "score/0", "score/4", "score/8"]
    assert said[-2:] == ["  trainer: surrogate", "  surrogate: {file: surface.json}"]
    surface = Surface.model_validate_json(Path("surface.json").read_bytes())
    assert (surface.studies, surface.trials) == (("recorded",), 4)


def test_json_is_one_document_with_the_held_out_errors_and_no_tables(ablate: Ablate) -> None:
    answer = json.loads(ablate("recorded", "--json"))
    assert {row["metric"]: row["trials"] for row in answer["held_out"]} == {"loss": 4, "score/0": 4, "score/4": 4, "score/8": 4}
    assert set(answer["held_out"][0]) == {"metric", "new_arm", "new_seed", "mean", "between_seeds", "trials"}
    assert "coefficients" not in answer
    assert [path.name for path in Path().iterdir()] == [".ablate"]


def test_file_that_is_there_is_not_replaced(ablate: Ablate) -> None:
    Path("surface.json").write_text("mine", encoding="utf-8")
    assert ablate("recorded", "-o", "surface.json", code=2) == "surface.json exists already; move it away, or name another file\n"
    assert Path("surface.json").read_text(encoding="utf-8") == "mine"
    assert "no study 'other' in the store (there: recorded)" in ablate("other", "-o", "new.json", code=2)
    assert not Path("new.json").exists()

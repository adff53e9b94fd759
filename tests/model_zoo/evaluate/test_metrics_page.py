"""The metrics of the zoo and the table in docs/study-format.md that explains them."""

import re
from pathlib import Path

from model_zoo.evaluate.averages import SHOTS
from model_zoo.trainable import METRICS

PAGE = Path(__file__).parents[3] / "docs" / "study-format.md"


def test_every_metric_stands_in_the_table_and_no_other():
    section = PAGE.read_text(encoding="utf-8").partition("### Metrics of `model_zoo`")[2].partition("\n## ")[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    names = [name for cell in cells for name in re.findall("`([^`]*)`", cell)]
    told = [re.sub("K$", str(shots), name) for name in names for shots in (SHOTS if name.endswith("/K") else SHOTS[:1])]
    assert sorted(told) == sorted(METRICS)

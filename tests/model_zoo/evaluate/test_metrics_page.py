"""The metrics of the zoo and the table in docs/study-format.md that explains them."""

import re
from pathlib import Path

from ablate.metric_scales import scales_of
from model_zoo.evaluate.averages import SHOTS
from model_zoo.trainable import METRICS

PAGE = Path(__file__).parents[3] / "docs" / "study-format.md"
SECTION = PAGE.read_text(encoding="utf-8").partition("### Metrics of `model_zoo`")[2].partition("\n## ")[0]
ROWS = [line.split("|")[1:-1] for line in SECTION.splitlines() if line.startswith("| `")]


def names_of(cell):
    for name in re.findall("`([^`]*)`", cell):
        yield from (re.sub("K$", str(shots), name) for shots in (SHOTS if name.endswith("/K") else SHOTS[:1]))


def test_every_metric_stands_in_the_table_and_no_other():
    assert sorted(name for cell, *_ in ROWS for name in names_of(cell)) == sorted(METRICS)


def test_unit_bounds_direction_and_chance_are_those_that_pages_show():
    scales = scales_of({"trainer": "model_zoo"})
    for cell, _, said in ROWS:
        for name in names_of(cell):
            assert said.strip() == (scales[name].words or "as it gives it"), name

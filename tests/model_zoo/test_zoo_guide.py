"""docs/zoo.md names every kind of the menus, each with a line, and no other."""

import re
from pathlib import Path
from typing import get_args

import pytest

from model_zoo.connectors import MENU as CONNECTORS
from model_zoo.decoders.decoder import Decoder
from model_zoo.encoders import MENU as ENCODERS

GUIDE = (Path(__file__).parents[2] / "docs" / "zoo.md").read_text(encoding="utf-8")
DECODERS = tuple(kind.model_fields["kind"].default for kind in get_args(get_args(Decoder)[0]))


@pytest.mark.parametrize(("part", "menu"), [("encoder", ENCODERS), ("connector", CONNECTORS), ("decoder", DECODERS)])
def test_guide_has_a_line_for_each_kind(part: str, menu: tuple[str, ...]) -> None:
    table = GUIDE.partition(f"| `{part}.kind` | is |\n|---|---|\n")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| `(\w+)` \| .+ \|$", table, re.MULTILINE)
    assert tuple(rows) == menu

"""Values become YAML that a person can read and `ablate.marked_yaml` reads back as they were."""

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

ONE_LINE = 100
"""Characters of a list or mapping of plain values that stands on one line."""


class _Dumper(yaml.SafeDumper):
    """Small lists and mappings of plain values on one line, all else with a line an entry; texts are never folded."""

    def represent_sequence(self, tag: str, sequence: Iterable[Any], flow_style: bool | None = None) -> yaml.SequenceNode:
        node = super().represent_sequence(tag, sequence, flow_style=flow_style)
        node.flow_style = _is_small(node.value)
        return node

    def represent_mapping(self, tag: str, mapping: Any, flow_style: bool | None = None) -> yaml.MappingNode:
        node = super().represent_mapping(tag, mapping, flow_style=flow_style)
        node.flow_style = _is_small([part for pair in node.value for part in pair])
        return node

    def ignore_aliases(self, data: Any) -> bool:
        return True


def yaml_text(values: Mapping[str, Any], *, header: str = "") -> str:
    """Keys in their order. `header`: lines that become comments above them."""
    comments = "".join(f"# {line}\n" for line in header.splitlines())
    return comments + str(yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=float("inf")))


def _is_small(nodes: list[yaml.Node]) -> bool:
    return all(isinstance(node, yaml.ScalarNode) for node in nodes) and sum(len(node.value) + 2 for node in nodes) <= ONE_LINE

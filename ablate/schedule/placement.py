"""Where on a cluster a job can run: what is asked of Ray for it, and what no node can ever give."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from ablate.errors import EnvironmentMissing
from ablate.study import Resources

Node = Mapping[str, float]
"""Ray's resource name -> amount."""


def living_nodes() -> list[Node]:
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def node_ids() -> set[str]:
    return {node["NodeID"] for node in ray.nodes() if node["Alive"]}


def refuse_unplaceable(asked: Iterable[Resources]) -> None:
    """Ray would leave a job that fits no node pending for ever."""
    nodes = living_nodes()
    for resources in set(asked):
        if why := why_unplaceable(resources, nodes):
            raise EnvironmentMissing(why)


def why_unplaceable(resources: Resources, nodes: Sequence[Node]) -> str | None:
    """What is asked, what there is, and what to do; None where enough nodes can hold it when they are empty."""
    asked = bundle(resources)
    fitting = [node for node in nodes if all(node.get(name, 0.0) >= amount for name, amount in asked.items())]
    if len(fitting) >= resources.nodes:
        return None
    where = f"{len(fitting)} of {resources.nodes} nodes" if resources.nodes > 1 else "no node"
    there = ", ".join(sorted({_shown(node, memory=resources.memory_gib is not None) for node in nodes})) or "no node at all"
    return (
        f"{where} can hold a job of {_shown(asked, memory=resources.memory_gib is not None)} (there is: {there}); "
        "lower `resources` in the study or join a larger cluster with --address"
    )


def bundle(resources: Resources) -> dict[str, float]:
    """What one node has to give, in Ray's words."""
    memory = {} if resources.memory_gib is None else {"memory": resources.memory_gib * 2**30}
    return {"CPU": resources.cpus} | ({"GPU": resources.gpus} if resources.gpus else {}) | memory


def reserve(resources: Resources) -> PlacementGroup | None:
    """Several nodes at once, for a job that asks for them; the tasks and actors it starts itself run there too."""
    if resources.nodes == 1:
        return None
    group: PlacementGroup = placement_group([bundle(resources)] * resources.nodes, strategy="STRICT_SPREAD")
    return group


def task_options(resources: Resources, *, alone: bool, bad_nodes: Iterable[str], group: PlacementGroup | None) -> dict[str, Any]:
    """`alone`: all cores of the largest node that can hold it. Bad nodes are left alone while there are others."""
    asked = bundle(resources)
    if alone and group is None:
        fitting = [node for node in living_nodes() if all(node.get(name, 0.0) >= amount for name, amount in asked.items())]
        asked["CPU"] = max((node["CPU"] for node in fitting), default=asked["CPU"])
    options: dict[str, Any] = {"num_cpus": asked["CPU"], "num_gpus": asked.get("GPU", 0)}
    if "memory" in asked:
        options["memory"] = int(asked["memory"])
    if group is not None:
        options["scheduling_strategy"] = PlacementGroupSchedulingStrategy(
            group, placement_group_bundle_index=0, placement_group_capture_child_tasks=True
        )
        return options
    avoided = set(bad_nodes)
    if avoided and node_ids() - avoided:
        options["label_selector"] = {"ray.io/node-id": f"!in({','.join(sorted(avoided))})"}
    return options


def _shown(amounts: Node, *, memory: bool) -> str:
    text = f"{amounts.get('CPU', 0):g} CPUs and {amounts.get('GPU', 0):g} GPUs"
    return f"{text} and {amounts.get('memory', 0) / 2**30:.3g} GiB of memory" if memory else text

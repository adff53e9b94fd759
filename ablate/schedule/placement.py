"""Where on a cluster a job can run: what is asked of Ray for it, and what no node can ever give."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import ray
from ray.exceptions import RayError
from ray.experimental.internal_kv import _internal_kv_get
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


def autoscales() -> bool:
    """Whether an autoscaler stands behind the cluster, so that nodes may come which are larger than all that are up.

    Its state is what `ray status` shows. It names no sizes, so what it cannot make is only known by waiting. A cluster that was put
    together by hand has one as well, which calls every node by its own name and adds none.
    """
    try:
        said = json.loads(_internal_kv_get("__autoscaling_status") or b"{}").get("autoscaler_report") or {}
    except (RayError, ValueError):
        return False
    kinds = {*(said.get("node_type_mapping") or {}).values(), *(said.get("pending_launches") or {}), *(said.get("active_nodes") or {})}
    return any(not kind.startswith("node_") for kind in kinds)


def refuse_unplaceable(resources: Resources) -> None:
    """Ray would leave a job that fits no node pending for ever. Where nodes may come, the run waits for them for a while instead."""
    if (why := why_unplaceable(bundle(resources), living_nodes(), wanted=resources.nodes)) and not autoscales():
        raise EnvironmentMissing(why)


def why_unplaceable(asked: Node, nodes: Sequence[Node], *, wanted: int) -> str | None:
    """What is asked, what there is, and what to do; None where enough nodes can hold it when they are empty."""
    fitting = _fitting(asked, nodes)
    if len(fitting) >= wanted:
        return None
    where = f"{len(fitting)} of {wanted} nodes" if wanted > 1 else "no node"
    there = ", ".join(sorted({_shown(node, memory="memory" in asked) for node in nodes})) or "no node at all"
    return (
        f"{where} can hold a job of {_shown(asked, memory='memory' in asked)} (there is: {there}); "
        "lower `resources` in the study or join a larger cluster with --address"
    )


def bundle(resources: Resources) -> dict[str, float]:
    """What one node has to give, in Ray's words."""
    memory = {} if resources.memory_gib is None else {"memory": resources.memory_gib * 2**30}
    return {"CPU": resources.cpus} | ({"GPU": resources.gpus} if resources.gpus else {}) | memory


def asked_of_ray(resources: Resources, *, claim: float, alone: bool, nodes: Sequence[Node]) -> dict[str, float]:
    """`claim`: bytes of main memory the job is expected to need. `alone`: all of the node that has the most memory."""
    asked = bundle(resources)
    fitting = _fitting(asked, nodes)
    if claim:
        asked["memory"] = claim
    if alone and resources.nodes == 1 and fitting:
        largest = max(fitting, key=lambda node: (node.get("memory", 0.0), node["CPU"]))
        asked |= {"CPU": largest["CPU"], "memory": largest.get("memory", 0.0)}
        if resources.gpus:
            asked["GPU"] = math.ceil(resources.gpus)  # a share of a device is not alone on it
    return asked


def reserve(asked: Node, *, nodes: int) -> PlacementGroup | None:
    """Several nodes at once, for a job that asks for them; the tasks and actors it starts itself run there too."""
    if nodes == 1:
        return None
    group: PlacementGroup = placement_group([dict(asked)] * nodes, strategy="STRICT_SPREAD")
    return group


def task_options(asked: Node, *, bad_nodes: Iterable[str], group: PlacementGroup | None) -> dict[str, Any]:
    """Bad nodes are left alone while there are others."""
    options: dict[str, Any] = {"num_cpus": asked["CPU"], "num_gpus": asked.get("GPU", 0)}
    if asked.get("memory"):
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


def _fitting(asked: Node, nodes: Sequence[Node]) -> list[Node]:
    return [node for node in nodes if all(node.get(name, 0.0) >= amount for name, amount in asked.items())]


def _shown(amounts: Node, *, memory: bool) -> str:
    text = f"{amounts.get('CPU', 0):g} CPUs and {amounts.get('GPU', 0):g} GPUs"
    return f"{text} and {amounts.get('memory', 0) / 2**30:.3g} GiB of memory" if memory else text

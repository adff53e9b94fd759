"""Identity and sharing: what a plan counts once, and what changes an id."""

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.fingerprint import CanonicalTexts, canonical, fingerprint, slug
from ablate.planned import Plan, job_identity, unfinished
from ablate.planner import make_plan
from model_zoo.trainable import StageSpec
from tests.conftest import make_arm, make_small_plan, make_study


def zoo_plan(*widths: int, seeds: int = 2) -> Plan:
    """One arm a decoder width, all with the default encoder."""
    from ablate.draft import Arm
    from model_zoo.trainable import Config

    study = make_study(
        trainer="model_zoo",
        axes={"decoder.width": list(widths)},
        metric={"name": "val_loss", "goal": "min"},
        seeds=list(range(seeds)),
    )
    configs = [Config.model_validate({"decoder": {"width": width}}) for width in widths]
    return make_plan(
        study,
        [
            Arm(f"width={width}", {"decoder.width": width}, {}, config.model_dump(mode="json"), config)
            for width, config in zip(widths, configs, strict=True)
        ],
    )


def test_stage_that_trials_agree_on_is_one_job() -> None:
    plan = zoo_plan(32, 64, seeds=2)
    stages = [job.spec.name for job in plan.jobs.values()]
    assert (stages.count("encoder"), stages.count("pretrain"), plan.unshared_jobs) == (1, 4, 8)
    assert {trial.chain[0] for trial in plan.trials} == {next(iter(plan.jobs))}


def test_upstream_jobs_come_first() -> None:
    plan = zoo_plan(32, 64)
    order = list(plan.jobs)
    assert all(order.index(up) < order.index(job.id) for job in plan.jobs.values() for up in job.needs.values())


def test_ids_are_the_same_in_another_process_and_key_order() -> None:
    code = "from tests.conftest import make_small_plan; print([t.id for t in make_small_plan().trials])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert found == str([trial.id for trial in make_small_plan().trials])
    assert fingerprint({"a": 1, "b": [1, 2]}) == fingerprint({"b": [1, 2], "a": 1})


@pytest.mark.parametrize("changed", [{"noise_sd": 0.5}, {"num_tokens": 65}])
def test_config_that_differs_has_another_id(changed: Mapping[str, Any]) -> None:
    study = make_study()
    plan = make_plan(study, [make_arm("one", num_tokens=64), make_arm("two", **{"num_tokens": 64, **changed})])
    assert plan.trials[0].chain != plan.trials[1].chain


def test_growing_a_study_keeps_the_ids_it_had() -> None:
    before = {trial.id for trial in make_small_plan(seeds=2).trials}
    after = {trial.id for trial in make_small_plan(seeds=3).trials}
    assert before < after


def test_name_resources_and_metric_are_no_identity() -> None:
    arm = make_arm("base")
    plain = make_plan(make_study(), [arm])
    other = make_plan(make_study(name="other", resources={"cpus": 2}, metric={"name": "score/0", "goal": "max"}), [arm])
    assert set(plain.jobs) == set(other.jobs)


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ({}, {"encoder", "pretrain"}),
        ({"encoder": "done"}, {"pretrain"}),
        ({"encoder": "done", "pretrain": "done"}, set()),
        ({"encoder": "done", "pretrain": "failed"}, set()),
        ({"encoder": "failed"}, set()),
        ({"encoder": "done", "pretrain": "lost"}, {"pretrain"}),
    ],
)
def test_unfinished_is_what_is_neither_done_nor_failed(states: Mapping[str, str], expected: set[str]) -> None:
    plan = zoo_plan(32, seeds=1)
    by_id = {job.id: states[job.spec.name] for job in plan.jobs.values() if job.spec.name in states}
    present = frozenset(job for job, state in by_id.items() if state == "done")
    assert {job.spec.name for job in unfinished(plan, states=by_id, artefacts=present)} == expected


def test_lost_artefact_is_rebuilt_only_where_somebody_reads_it() -> None:
    plan = zoo_plan(32, 64, seeds=1)
    encoder, first, second = plan.jobs
    finished = {encoder: "done", first: "done", second: "done"}
    assert unfinished(plan, states=finished, artefacts=frozenset()) == ()
    wanted = unfinished(plan, states=finished | {second: "queued"}, artefacts=frozenset())
    assert [job.id for job in wanted] == [encoder, second]


def test_fingerprint_refuses_what_has_no_stable_form() -> None:
    with pytest.raises(TypeError):
        fingerprint({"a": object()})
    with pytest.raises(ValueError, match="JSON compliant"):
        fingerprint({"a": float("nan")})


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=12,
    ),
    st.dictionaries(st.text(), st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False), max_size=3), max_size=4),
)
def test_canonical_text_of_shared_parts_is_that_of_the_whole(plain: Any, groups: dict[str, Any]) -> None:
    value = groups | {"plain": plain, "seen twice": groups}
    shared, whole = CanonicalTexts(), json.dumps(value, sort_keys=True, separators=(",", ":"))
    assert [shared.text(value), shared.text(value), canonical(value)] == [whole] * 3


@pytest.mark.parametrize("plan", [make_small_plan(), zoo_plan(32, 64)], ids=["synthetic", "model_zoo"])
def test_job_id_is_the_fingerprint_of_its_identity(plan: Plan) -> None:
    """The plan writes each part of the identity once; the store keeps it whole."""
    for job in plan.jobs.values():
        identity = job_identity(job.spec, trainer=job.trainer, seed=job.seed, needs=job.needs)
        assert job.id == f"{job.spec.name}-{fingerprint(identity)}"


def test_counts_and_costs_are_no_identity() -> None:
    """A trainer may learn to count better; nothing is run again for it."""
    plan = zoo_plan(32, seeds=1)
    spec = list(plan.jobs.values())[-1].spec
    assert isinstance(spec, StageSpec)
    other = spec._replace(num_params=1, embedding_params=2, active_params=3, total_params=4, train_flops=5.0, memory_bytes=6.0)
    assert job_identity(spec, trainer="model_zoo", seed=0, needs={}) == job_identity(other, trainer="model_zoo", seed=0, needs={})


def test_slug_keeps_the_sign_of_an_exponent() -> None:
    assert slug("num_params=1e+08") == "num_params=1e+08"


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b:c", "<img src=x>", "…", "-rf", "x" * 300])
def test_slug_is_one_harmless_file_name(name: str) -> None:
    made = slug(name)
    assert 0 < len(made) <= 60
    assert not set(made) & set("/\\:<> ")
    assert not made.startswith((".", "-"))

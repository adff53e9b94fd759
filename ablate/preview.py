"""A study becomes a `Preview`: its plan, what the store knows of it, what it costs and what it can see. Executes and writes nothing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ablate.artefacts import visible_damage
from ablate.axes import Axis, labels_of
from ablate.blocks import Fractional
from ablate.cells import fraction
from ablate.collector import paused_collector
from ablate.continued import FROM, Donor, continued, trials_to_choose
from ablate.cost import Cost, Span, ToChoose, make_cost, over_budget
from ablate.design import arm_for, count_removed, make_arms, search_space
from ablate.detect import Detection, SeedNoise, detect, known_noise
from ablate.errors import EnvironmentMissing, InputError
from ablate.fractional import FractionalDesign
from ablate.measured import measured_noise, measured_throughput
from ablate.planned import Plan, plan_json, trial_state, unfinished
from ablate.planner import make_plan
from ablate.prospects import Prospect, prospects
from ablate.stores import Store, open_store
from ablate.study import Budget, Study
from ablate.workspace import Workspace

PARAMETERS = ("num_params", "active_params", "embedding_params", "total_params")


@dataclass(frozen=True)
class Preview:
    """All that `ablate plan` shows."""

    plan: Plan
    space: tuple[Axis, ...]
    removed: Mapping[str, int]
    """Condition -> cells it removes."""
    fractions: tuple[FractionalDesign, ...]
    """The two-level designs in it, with what they cannot tell apart."""
    states: Mapping[str, str]
    """Trial -> state."""
    jobs: Mapping[str, str]
    """Job -> state, for those the store knows from any study; `stale` is one that has to run again, see `rebuild`."""
    rebuild: Mapping[str, str]
    """Job that is done and that others are to read -> what is wrong with its artefact."""
    cost: Cost
    detection: Detection
    prospects: tuple[Prospect, ...]
    """What the study can say of each claim."""
    over: tuple[str, ...]
    """What breaks the budget, or cannot be checked against it; empty where the study may run."""

    def to_json(self) -> dict[str, Any]:
        """The plan document of `ablate plan --json`."""
        budget = self.plan.study.budget.model_dump(mode="json", exclude_none=True)
        return plan_json(self.plan, states=self.states, jobs=self.jobs) | {
            "parameters": [
                {"stage": stage.stage} | {name: _span_json(getattr(stage, name), known=stage.total_params.high > 0) for name in PARAMETERS}
                for stage in self.cost.stages
            ],
            "fractions": [
                {"resolution": found.resolution, "generators": list(found.generators), "aliases": [list(group) for group in found.aliases]}
                for found in self.fractions
            ],
            "rebuild": dict(self.rebuild),
            "cost": self.cost.to_json(),
            "detectable": self.detection.to_json(),
            "claims": [prospect.to_json() for prospect in self.prospects],
            "budget": {"limits": budget, "over": list(self.over)},
        }


def refuse_over_budget(previews: Iterable[Preview]) -> None:
    """Raises InputError with every limit that a study breaks."""
    refused = [f"{preview.plan.study.name}: over budget: {sentence}" for preview in previews for sentence in preview.over]
    if refused:
        raise InputError("\n".join(refused))


def check_budgets(studies: Iterable[Study], workspace: Workspace) -> None:
    """The same before a run, for the studies that have a budget; the others are not planned for it."""
    previews = []
    for study in studies:
        if study.budget != Budget():
            try:
                previews.append(make_preview(study, workspace))
            except EnvironmentMissing:  # no store yet: the run makes it
                previews.append(preview_with(study, store=None))
    refuse_over_budget(previews)


def make_preview(study: Study, workspace: Workspace) -> Preview:
    """Asks the store only where there is one."""
    if not workspace.has_store:
        return preview_with(study, store=None)
    store = open_store(workspace.store_url)
    try:
        return preview_with(study, store=store, artifacts=workspace.artifacts)
    finally:
        store.close()


@paused_collector()
def preview_with(study: Study, *, store: Store | None, artifacts: Path | None = None) -> Preview:
    """The same with a store that is open, or none; `artifacts`: where jobs that are done have left what others read."""
    plan = plan_so_far(study, store)
    known = {job: state for job, (state, _) in store.job_states(plan.jobs).items()} if store else {}
    rebuild = _to_rebuild(plan, known, artifacts) if artifacts else {}
    known |= dict.fromkeys(rebuild, "stale")
    begun = bool(store and store.study(study.name)) and any(state != "queued" for state in known.values())
    throughput = measured_throughput(store, study) if store else {}
    space = search_space(study)
    axes = labels_of(space)

    def noise_of(metric: str) -> SeedNoise:
        measured = measured_noise(store, study.name, metric=metric) if store else None
        return known_noise(measured, declared=study.metric.noise_sd if metric == study.metric.name else None)

    detection = detect(plan, axes=axes, noise=noise_of(study.metric.name))
    cost = make_cost(plan, measured=throughput, states=known, to_choose=_to_choose(study, plan), begun=begun)
    return Preview(
        plan=plan,
        space=space,
        removed=count_removed(study),
        fractions=tuple(fraction(block, space) for block in study.design if isinstance(block, Fractional)),
        states=_states(plan, known),
        jobs=known,
        rebuild=rebuild,
        cost=cost,
        detection=detection,
        prospects=() if study.search else prospects(study, levels=axes, found=detection.axes, noise_of=noise_of),
        over=tuple(over_budget(cost, study.budget)),
    )


def plan_so_far(study: Study, store: Store | None) -> Plan:
    """A planned study's plan is known; a search has the arms it has decided on, which the store remembers."""
    if not study.search:
        return make_plan(study, make_arms(study))
    trials = store.trials(study.name) if store else []
    plan = make_plan(study, [arm_for(study, dict(trial.levels)) for trial in trials if FROM not in trial.changes])
    jobs = {trial.id: trial.chain[-1] for trial in trials}
    for trial in trials:
        donor, _, step = str(trial.changes.get(FROM, "")).rpartition("@")
        if donor in jobs:  # what went on from a trial that has left the study leaves it too
            one = continued(make_plan(study, [arm_for(study, dict(trial.levels))]), Donor(donor, jobs[donor], int(step)))
            plan = replace(plan, trials=(*plan.trials, *one.trials), jobs={**plan.jobs, **one.jobs})
    return plan


def _to_rebuild(plan: Plan, known: Mapping[str, str], artifacts: Path) -> dict[str, str]:
    """The jobs that are done and whose artefact, which a job still to run reads, is not as it was left."""
    read = {upstream for job in unfinished(plan, states=known, artefacts=frozenset()) for upstream in job.needs.values()}
    damaged = {job: trouble for job in read if known.get(job) == "done" and (trouble := visible_damage(artifacts / job))}
    again = unfinished(plan, states=known, artefacts=frozenset(read - set(damaged)))
    return {job.id: damaged[job.id] for job in again if job.id in damaged}


def _states(plan: Plan, known: Mapping[str, str]) -> dict[str, str]:
    """Trial -> state. `known`: job -> state."""
    if not known:
        return dict.fromkeys((trial.id for trial in plan.trials), "queued")
    return {trial.id: trial_state([known.get(job, "queued") for job in trial.chain]) for trial in plan.trials}


def _to_choose(study: Study, plan: Plan) -> ToChoose | None:
    if not study.search:
        return None
    return ToChoose(make_plan(study, [arm_for(study, {})]), trials_to_choose(plan))


def _span_json(span: Span, *, known: bool) -> dict[str, int] | None:
    """None where the trainer does not know its parameters and this count is not declared."""
    return {"min": span.low, "max": span.high} if known or span.high else None

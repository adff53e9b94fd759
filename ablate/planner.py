"""Arms and seeds become a `Plan`: trials, and the jobs they come down to once shared stages are counted once.

A job's identity is what the author wrote for its stage, the code and data version, the seed where it enters, and the identity of the
stages before it. Nothing about the machine enters, so the same plan has the same ids everywhere and growth only adds jobs.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

from ablate.collector import paused_collector
from ablate.design import search_space
from ablate.draft import Arm
from ablate.fingerprint import LENGTH, CanonicalTexts, canonical, fingerprint_of, slug
from ablate.planned import Job, Plan, Trial
from ablate.study import Study
from ablate.trainers import Stage, trainer_of

KEPT_STAGES = 10_000
CONFIG_FIRST = '{"config":'


@paused_collector()
def make_plan(study: Study, arms: Sequence[Arm]) -> Plan:
    """Every arm with each of its seeds; an arm's stages are asked for once, and a stage that no seed enters is named once."""
    trainer, namer = trainer_of(study), _Namer(study)
    trials = tuple(trial for arm in arms for trial in namer.trials(arm, trainer.stages(arm.settings)))
    return Plan(study=study, arms=tuple(arms), trials=trials, jobs=namer.jobs)


def is_simulated(study: Study) -> bool:
    """Whether the trainer says its results are simulated."""
    return bool(getattr(trainer_of(study), "SIMULATED", False))


class _Namer:
    """Trials and their jobs while a plan is made; each job is kept once."""

    def __init__(self, study: Study) -> None:
        self.jobs: dict[str, Job] = {}
        self._study = study
        self._texts = CanonicalTexts()
        self._rests: dict[tuple[str, str], str] = {}
        self._unseeded: dict[int, tuple[Stage, str]] = {}
        """Jobs of stages that neither seeds nor other stages enter, by the stage's `id`: a trainer may name one stage for many arms."""

    def trials(self, arm: Arm, stages: Sequence[Stage]) -> Iterator[Trial]:
        label, metric = slug(arm.name), self._study.metric.name
        # canonical configs of the stages, written once for all seeds
        texts = [None if id(stage) in self._unseeded else self._texts.text(stage.config) for stage in stages]
        for seed in arm.seeds or self._study.seeds:
            chain: dict[str, str] = {}
            for stage, text in zip(stages, texts, strict=True):
                chain[stage.name] = self._job(stage, text, seed, chain, metric if stage is stages[-1] else None)
            jobs = tuple(chain.values())
            yield Trial(f"{label}.s{seed}-{jobs[-1][-LENGTH:-4]}", arm.name, seed, arm.levels, arm.changes, arm.config, jobs)

    def _job(self, stage: Stage, text: str | None, seed: int, chain: Mapping[str, str], metric: str | None) -> str:
        """The id of the stage's job, which is new or known. `text`: the stage's config, written; None where the job is known."""
        if known := self._unseeded.get(id(stage)):
            return known[1]
        assert text is not None
        needs = {name: chain[name] for name in stage.needs}
        found = self._id(stage, text, seed=seed, needs=needs)
        if found not in self.jobs:
            own_seed = seed if stage.seeded else 0
            self.jobs[found] = Job(found, self._study.trainer, stage, own_seed, needs, self._study.resources, metric)
        if not (stage.seeded or stage.needs) and len(self._unseeded) < KEPT_STAGES:
            self._unseeded[id(stage)] = stage, found  # the stage is kept, so that its id stays its own
        return found

    def _id(self, stage: Stage, text: str, *, seed: int, needs: Mapping[str, str]) -> str:
        # the canonical text of `job_identity`, without writing the same things again for every seed and every arm
        names = ",".join([f'"{name}":"{job}"' for name, job in sorted(needs.items())])
        middle = f'"needs":{{{names}}},"seed":{seed if stage.seeded else "null"}'
        return f"{stage.name}-{fingerprint_of(f'{CONFIG_FIRST}{text},{middle},{self._rest(stage.name, stage.version)}')}"

    def _rest(self, name: str, version: str) -> str:
        if (name, version) not in self._rests:
            self._rests[name, version] = canonical({"stage": name, "trainer": self._study.trainer, "version": version})[1:]
        return self._rests[name, version]


def wanted_trials(study: Study) -> int:
    """Trials a search is to have in the end: as many as it asks for, or every arm there is."""
    assert study.search
    axes = search_space(study)
    arms = math.inf if any(axis.bounds for axis in axes) else math.prod(len(axis.levels) for axis in axes)
    return int(min(study.search.trials, arms))

"""What a trial is said to report against what it does."""

import pytest

from model_zoo import trainable
from model_zoo.evaluate.names import reported
from tests.model_zoo.conftest import change, run


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"eval": {"tasks": ["caption"], "latency": "measured"}},
        {"eval": {"tasks": []}, "encoder": {"pretrain": {"objective": "none"}}},
        {"eval": {"tasks": ["text"]}, "encoder": {"pretrain": {"objective": "reconstructive", "steps": 2, "batch_size": 8}}},
        {"eval": {"tasks": []}, "decoder": {"moe": {"num_experts": 2, "every": 1}}},
    ],
)
def test_trial_reports_what_its_config_says(changed, tiny, make_worker):
    config, told = change(tiny, **changed), set[str]()

    def make(name, **settings):
        workers.append(make_worker(name, **settings))
        return workers[-1]

    workers = []
    run(config, make)
    for worker in workers:
        told |= worker.last.keys()
    assert set(reported(config)) == told
    assert told <= trainable.METRICS.keys()

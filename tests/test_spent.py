from ablate.spent import Bill, bill, spent
from ablate.stores import AttemptRecord, JobRecord
from tests.conftest import make_study

BEFORE = 1_000.0
"""When the study came into the store."""


def job(name: str, *, state: str = "done", seconds: float | None = 10.0, flops: float = 1e9, attempts: int = 1) -> JobRecord:
    return JobRecord(name, "train", state, seconds, flops, attempts, "")


def attempt(of: str, *, started: float, seconds: float | None = 10.0, state: str = "done", number: int = 1) -> AttemptRecord:
    return AttemptRecord(of, number, state, None, "", started, seconds, "host", 1)


def test_spent_counts_every_attempt_and_no_pause_twice() -> None:
    jobs = [job("early"), job("a", attempts=2), job("b", state="failed", seconds=None)]
    attempts = [
        attempt("early", started=500.0),
        attempt("a", started=1_010.0, seconds=4.0, state="lost"),
        attempt("a", started=1_100.0, number=2),
        attempt("b", started=1_105.0, seconds=2.0, state="failed"),
    ]
    found = spent(make_study(), jobs=jobs, attempts=attempts, seconds=26.0, since=BEFORE)
    assert (found.jobs, found.jobs_done, found.jobs_before) == (3, 2, 1)
    assert (found.attempts, found.retries, found.attempts_without_end) == (4, 1, 0)
    assert (found.seconds, found.seconds_lost) == (26.0, 6.0)
    assert found.wall_seconds == 100.0
    assert found.train_flops == 2e9
    assert (found.device_hours, found.money) == (None, None)


def test_spent_unknown_numbers_are_none() -> None:
    found = spent(make_study(), jobs=[job("a", seconds=None, flops=0.0)], attempts=[], seconds=None, since=BEFORE)
    assert (found.seconds, found.train_flops, found.wall_seconds) == (None, None, None)
    assert found.attempts_without_end == 1
    nothing = spent(make_study(), jobs=[], attempts=[], seconds=None, since=BEFORE)
    assert (nothing.seconds, nothing.train_flops) == (None, None)


def test_spent_gpu_hours_and_money_are_of_the_devices_a_job_holds() -> None:
    hardware = {"peak_flops": 1e12, "utilisation": 0.4, "price_per_hour": 2.0, "currency": "EUR"}
    study = make_study(resources={"gpus": 4}, hardware=hardware)
    found = spent(study, jobs=[job("a", seconds=1800.0)], attempts=[], seconds=1800.0, since=BEFORE)
    assert (found.device_hours, found.money, found.currency) == (2.0, 4.0, "EUR")
    assert bill(study, seconds=1800.0) == Bill(1800.0, 2.0, 4.0, "EUR")
    assert bill(study, seconds=None) == Bill(None, None, None, "EUR")

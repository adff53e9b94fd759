"""Several devices: two processes over gloo come to what one comes to, go on where they were stopped, and leave nothing behind."""

import contextlib
import os
import select
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load
from torch import distributed, multiprocessing

from ablate.attempt import AttemptContext
from ablate.journal import Journal
from ablate.study import Resources
from model_zoo import parallel, trainable
from model_zoo.config import Config, Sharding, Train
from model_zoo.data.files import SourceError
from model_zoo.train import REPORT_EVERY
from tests.conftest import make_small_plan
from tests.model_zoo.conftest import Worker, change, weights

BASE = Config.model_validate(
    {
        "encoder": {"width": 16, "depth": 1, "training": "full", "pretrain": {"objective": "none"}},
        "decoder": {"width": 16, "depth": 2, "keys": "smeared"},
        "data": {"num_scenes": 50},
        # unclipped, the first moments after one step are a tenth of its gradient
        "train": {"steps": 4, "warmup_steps": 2, "rows_per_step": 4, "learning_rate": 1e-3, "clip_norm": 1e9},
        "eval": {"tasks": [], "num_validations": 4, "validation_documents": 4},
    }
)
CASES = {
    "plain": BASE,
    "accumulated": change(BASE, train={"accumulate": 2}),
    "frozen": change(BASE, encoder={"training": "frozen"}),
    "slow": change(BASE, encoder={"training": "slow"}, train={"checkpoint_layers": True, "precision": "bfloat16"}),
    "experts": change(BASE, decoder={"moe": {"num_experts": 4, "every": 2}}),
    "adapters": change(BASE, encoder={"training": "lora"}, decoder={"training": "lora"}),
    "llama": Config.model_validate(BASE.model_dump(mode="json") | {"decoder": {"kind": "llama", "width": 16, "depth": 2}}),
    # of two rows at most one has images, so at least one process has none, and in some steps both
    "few images": change(BASE, data={"mix": {"interleaved": 0.3, "text": 0.7}}, train={"rows_per_step": 2}),
}
ALIKE_IN_PARTS = {"slow", "experts"}
"""Roundings of bfloat16, and the routing losses, are those of a micro-batch: one process must have as many of them."""
LONG = change(BASE, train={"steps": REPORT_EVERY + 4})


class Recorder(Worker):
    """Keeps every state it is given."""

    def __init__(self, folder, **settings):
        super().__init__(folder, **settings)
        self.states = []

    def checkpoint(self, state):
        super().checkpoint(state)
        self.states.append(state)


def train(config, worker):
    (stage,) = trainable.stages(config)
    trainable.train(stage, {}, worker)
    return worker


def sharded(config, sharding):
    return change(config, train={"sharding": sharding})


def share(number, folder):
    """One of two processes that train all there is to compare; the first one writes down what comes of it."""
    distributed.init_process_group("gloo", store=distributed.FileStore(str(folder / "meeting"), 2), rank=number, world_size=2)
    for sharding in Sharding:
        found = {}
        for name, config in CASES.items():
            worker = train(sharded(config, sharding), Recorder(folder / f"{sharding}-{name}-{number}"))
            if number == 0:
                found[name] = {"states": worker.states, "weights": weights(worker), "last": worker.last}
        # the second process is never asked whether to stop
        stopped = train(sharded(LONG, sharding), Worker(folder / f"{sharding}-stopped-{number}", stop=number == 0))
        kept = [stopped.kept]
        distributed.broadcast_object_list(kept, src=0)
        for name, state in (("calm", None), ("resumed", kept[0])):
            worker = Worker(folder / f"{sharding}-{name}-{number}")
            worker.kept = state
            train(sharded(LONG, sharding), worker)
            if number == 0:
                found[name] = {"kept": state, "weights": weights(worker), "last": worker.last}
            else:
                assert not list(worker.dir.iterdir())
        if number == 0:
            torch.save(found, folder / f"{sharding}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Sharding -> case -> what two processes came to; started once for all, since starting them is what takes long."""
    folder = tmp_path_factory.mktemp("shared")
    multiprocessing.spawn(share, (folder,), nprocs=2)
    return {sharding: torch.load(folder / f"{sharding}.pt", weights_only=True) for sharding in Sharding}


def gradients(state):
    """By the number of the parameter; a tenth of them, and None where there was none."""
    return {name: tensor for name, tensor in load(state).items() if name.endswith("/exp_avg")}


@pytest.mark.slow
@pytest.mark.parametrize("sharding", Sharding)
@pytest.mark.parametrize("case", CASES)
def test_two_processes_come_to_what_one_comes_to(shared, case, sharding, make_worker):
    config, found = CASES[case], shared[sharding][case]
    parts = {"accumulate": 2} if case in ALIKE_IN_PARTS else {}
    alone = train(change(config, train=parts), Recorder(make_worker("alone").dir / "recorder"))
    first = gradients(alone.states[0])
    assert gradients(found["states"][0]).keys() == first.keys()
    for name, gradient in gradients(found["states"][0]).items():
        torch.testing.assert_close(gradient, first[name], rtol=0, atol=2e-5 * first[name].abs().max().item() + 1e-9)
    for name, tensor in weights(alone).items():
        # a bias of keys changes no attention: its gradient is rounding, which AdamW makes as large as any other
        if not name.endswith("qkv.bias"):
            torch.testing.assert_close(found["weights"][name], tensor, rtol=0, atol=1e-5)
    assert found["last"] == pytest.approx(alone.last, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("sharding", Sharding)
def test_stopped_processes_go_on_to_the_same_bits(shared, sharding):
    calm, resumed = shared[sharding]["calm"], shared[sharding]["resumed"]
    assert int(load(resumed["kept"])["step"]) == REPORT_EVERY
    assert all(torch.equal(tensor, resumed["weights"][name]) for name, tensor in calm["weights"].items())
    assert resumed["last"] == calm["last"]


@pytest.mark.slow
@pytest.mark.parametrize("sharding", Sharding)
def test_what_two_processes_kept_one_goes_on_from(shared, sharding, make_worker):
    alone = make_worker("alone")
    alone.kept = shared[sharding]["resumed"]["kept"]
    train(LONG, alone)
    assert alone.last == pytest.approx(shared[sharding]["calm"]["last"], rel=1e-4)


def record_processes(monkeypatch):
    """Whatever processes are started from here on."""
    found = list[subprocess.Popen[bytes]]()

    class Recorded(subprocess.Popen):
        def __init__(self, *words, **settings):
            super().__init__(*words, **settings)
            found.append(self)

    monkeypatch.setattr(parallel.subprocess, "Popen", Recorded)
    return found


@pytest.mark.slow
def test_a_stage_is_shared_by_processes_that_tell_their_worker_everything(make_worker, monkeypatch):
    started = record_processes(monkeypatch)
    config = change(BASE, train={"sharding": "sharded"})
    alone, both = train(BASE, make_worker("alone")), train(config, make_worker("both", num_devices=2))
    assert len(started) == 2
    assert [process.returncode for process in started] == [0, 0]
    assert both.last == pytest.approx(alone.last, rel=1e-4)
    assert [point[:2] for point in both.points] == [point[:2] for point in alone.points]
    assert [name for name in both.phases if name != "eval"] == [name for name in alone.phases if name != "eval"]
    assert sorted(path.name for path in both.dir.iterdir()) == sorted(path.name for path in alone.dir.iterdir())
    assert load(both.kept).keys() == load(alone.kept).keys()


@pytest.mark.slow
def test_a_killed_process_ends_all_of_them_with_its_name(make_worker, monkeypatch):
    started = record_processes(monkeypatch)
    worker = make_worker(num_devices=2)
    monkeypatch.setattr(worker, "report", lambda *_, **__: started[1].kill())
    with pytest.raises(RuntimeError, match=r"process 2 of 2 \(cpu\) ended by signal SIGKILL"):
        train(BASE, worker)
    assert [process.returncode for process in started] == [-signal.SIGKILL, -signal.SIGKILL]


def test_one_that_died_is_blamed_before_one_that_missed_it():
    lines, others = zip(*(parallel.Pipe() for _ in range(2)), strict=True)
    processes = [subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) for _ in range(2)]
    ranks = [parallel._Rank(*each) for each in zip(processes, lines, ("first", "second"), strict=True)]
    others[0].send(("failed", RuntimeError("connection closed by peer"), ""))
    processes[1].kill()
    with pytest.raises(RuntimeError, match=r"^second ended by signal SIGKILL"):
        parallel._relay(ranks, Worker)
    for process, line, other in zip(processes, lines, others, strict=True):
        process.communicate()
        line.close()
        other.close()


@pytest.mark.slow
def test_what_a_process_raises_the_worker_raises(make_worker, tmp_path, monkeypatch):
    started = record_processes(monkeypatch)
    source = {"train": [str(tmp_path / "none.jsonl")], "held_out": [str(tmp_path / "none.jsonl")]}
    files = {"tokenizer": str(tmp_path / "none"), "vocabulary_size": 50, "max_tokens": 64, "max_images": 2, "text": source}
    config = change(BASE, data={"mix": {"text": 1.0}, "files": files})
    with pytest.raises(SourceError, match="none") as raised:
        train(config, make_worker(num_devices=2))
    assert raised.value.__notes__[0].startswith("in process ")
    assert "_open_tokenizer" in raised.value.__notes__[0]
    assert all(process.returncode for process in started)


WORKER = """
import signal, sys
from pathlib import Path
from tests.model_zoo.test_parallel import BASE, Worker, record_processes, train
import pytest

def report(*_, **__):
    for process in started:  # so that none of them can see for itself that its worker is gone
        process.send_signal(signal.SIGSTOP)
    print(*(process.pid for process in started), flush=True)

started = record_processes(pytest.MonkeyPatch())
worker = Worker(Path(sys.argv[1]), num_devices=2)
worker.report = report
train(BASE, worker)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process cannot ask to die with another")
def test_processes_die_with_their_worker(tmp_path):
    argv = [sys.executable, "-c", WORKER, str(tmp_path / "worker")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as worker:
        assert worker.stdout
        deaths = [os.pidfd_open(int(pid)) for pid in worker.stdout.readline().split()]
        worker.kill()
    ended = [select.select([death], [], [], 10)[0] for death in deaths]  # readable once it is dead
    for death in deaths:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(death, signal.SIGKILL)
        os.close(death)
    assert ended == [[death] for death in deaths]
    assert len(deaths) == 2


def test_fewer_rows_than_shares_are_refused_with_the_fewest_there_can_be(make_worker):
    config = change(BASE, train={"accumulate": 2})
    with pytest.raises(ValueError, match="rows_per_step is 4, and 3 devices x 2 micro-batches need a row each: at least 6"):
        train(config, make_worker(num_devices=3))


def test_several_machines_are_refused(make_worker, monkeypatch):
    monkeypatch.setenv("ABLATE_HOSTS", "10.0.0.1,10.0.0.2")
    with pytest.raises(ValueError, match=r"2 machines .*: set resources.nodes to 1"):
        train(BASE, make_worker())


def test_shards_have_an_optimizer_that_can_be_shared():
    with pytest.raises(ValueError, match="adafactor needs whole matrices"):
        Train.model_validate({"optimizer": "adafactor", "sharding": "sharded"})
    assert "sharding" not in Train().model_dump()
    assert Train.model_validate({"sharding": "sharded"}).model_dump(mode="json")["sharding"] == "sharded"


@pytest.mark.parametrize(("gpus", "number"), [(0, 1), (0.5, 1), (1, 1), (4, 4)])
def test_an_attempt_has_as_many_devices_as_gpus(tmp_path, gpus, number):
    job = replace(next(iter(make_small_plan().jobs.values())), resources=Resources(gpus=gpus))
    with Journal(tmp_path / "metrics.jsonl", log=print) as journal:
        assert AttemptContext(job, artefact=tmp_path, journal=journal, folder=tmp_path, log=print).num_devices == number

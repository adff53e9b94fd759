"""Several devices: two processes over gloo come to what one comes to, go on where they were stopped, and leave nothing behind."""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import AuthenticationError
from pathlib import Path

import pytest
import torch
from safetensors.torch import load
from torch import distributed, multiprocessing

from ablate.attempt import AttemptContext
from ablate.causes import cause_of
from ablate.journal import Journal
from ablate.study import Resources
from model_zoo import launcher, lines, processes, rank, trainable
from model_zoo.config import Config, Sharding, Train
from model_zoo.data.files import SourceError
from model_zoo.lines import LOOPBACK
from model_zoo.processes import ProcessLost
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


def children(parent):
    return [int(text) for path in Path(f"/proc/{parent}/task").glob("*/children") for text in path.read_text().split()]


def inherited(pid):
    """The environment that a process was started with; empty where there is none such."""
    with contextlib.suppress(OSError):
        return dict(item.split("=", 1) for item in Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0") if "=" in item)
    return {}


def processes_of(worker):
    """RANK, or "launcher" -> id of each process of a worker's stage; those of other machines too where these are only called so."""
    stages = {inherited(child).get(lines.ADDRESS_VARIABLE): child for child in children(worker)}
    stages.pop(None, None)
    every = {pid: inherited(pid) for pid in (int(name) for name in os.listdir("/proc") if name.isdecimal())}
    ranks = {int(found["RANK"]): pid for pid, found in every.items() if "RANK" in found and found.get(lines.ADDRESS_VARIABLE) in stages}
    return dict(zip(["launcher"], stages.values(), strict=False)) | ranks


class Deaths:
    """Of processes by their ids, also where a later one gets the same."""

    def __init__(self, pids):
        self._descriptors = [os.pidfd_open(pid) for pid in pids]

    def have_all_come(self, *, seconds=0.0):
        """Within so many seconds each; those who live on are killed."""
        come = [bool(select.select([death], [], [], seconds)[0]) for death in self._descriptors]
        for death in self._descriptors:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(death, signal.SIGKILL)
            os.close(death)
        return bool(come) and all(come)


linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process cannot ask to die with another")


class Watched(Worker):
    """Looks at its processes at the first report, when all of them are there."""

    def __init__(self, folder, *, act=lambda processes: None):
        super().__init__(folder, num_devices=2)
        self.processes, self._act = {}, act

    def report(self, step, **metrics):
        super().report(step, **metrics)
        if not self.processes:
            self.processes = processes_of(os.getpid())
            self.deaths = Deaths(self.processes.values())
            self._act(self.processes)


@linux
@pytest.mark.slow
def test_a_stage_is_shared_by_processes_that_tell_their_worker_everything(make_worker, tmp_path):
    config = change(BASE, train={"sharding": "sharded"})
    groups = []
    both = train(config, Watched(tmp_path / "both", act=lambda found: groups.extend(os.getpgid(pid) for pid in found.values())))
    assert both.processes.keys() == {"launcher", 0, 1}
    assert os.getpgid(0) not in groups  # which the terminal's Ctrl-C goes to
    alone = train(BASE, make_worker("alone"))
    assert both.deaths.have_all_come()
    assert both.last == pytest.approx(alone.last, rel=1e-4)
    assert [point[:2] for point in both.points] == [point[:2] for point in alone.points]
    assert [name for name in both.phases if name != "eval"] == [name for name in alone.phases if name != "eval"]
    assert sorted(path.name for path in both.dir.iterdir()) == sorted(path.name for path in alone.dir.iterdir())
    assert load(both.kept).keys() == load(alone.kept).keys()


@linux
@pytest.mark.slow
def test_a_killed_process_ends_all_of_them_with_its_name(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    worker = Watched(tmp_path / "worker", act=lambda processes: os.kill(processes[1], signal.SIGKILL))
    with pytest.raises(ProcessLost, match=r"process 2 of 2 \(cpu\) ended by signal SIGKILL; all of them were ended") as raised:
        train(BASE, worker)
    assert worker.deaths.have_all_come()
    assert cause_of(raised.value) == "lost"
    left = {path.name for path in tmp_path.iterdir()}
    assert {name for name in left if not name.startswith("torchinductor_")} == {"worker"}  # torch's cache is everybody's


@linux
@pytest.mark.slow
def test_what_a_process_raises_the_worker_raises(tmp_path):
    source = {"train": [str(tmp_path / "none.jsonl")], "held_out": [str(tmp_path / "none.jsonl")]}
    files = {"tokenizer": str(tmp_path / "none"), "vocabulary_size": 50, "max_tokens": 64, "max_images": 2, "text": source}
    config = change(BASE, data={"mix": {"text": 1.0}, "files": files})
    with pytest.raises(SourceError, match="none") as raised:
        train(config, Worker(tmp_path / "worker", num_devices=2))
    assert raised.value.__notes__[0].startswith("in process ")
    assert "_open_tokenizer" in raised.value.__notes__[0]
    assert cause_of(raised.value) == "user"
    assert processes_of(os.getpid()) == {}


WORKER = """
import os, signal, sys
from pathlib import Path
from tests.model_zoo.test_parallel import BASE, Watched, train

def stop(processes):
    for pid in processes.values():  # so that none of them can see for itself that its worker is gone
        os.kill(pid, signal.SIGSTOP)
    print(*processes.values(), flush=True)

train(BASE, Watched(Path(sys.argv[1]), act=stop))
"""


@linux
@pytest.mark.slow
def test_processes_die_with_their_worker(tmp_path):
    argv = [sys.executable, "-c", WORKER, str(tmp_path / "worker")]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2], env=environment) as worker:
        assert worker.stdout
        pids = worker.stdout.readline().split()
        deaths = Deaths(int(pid) for pid in pids)
        worker.kill()
    assert len(pids) == 3
    assert deaths.have_all_come(seconds=10)
    left = {path.name for path in tmp_path.iterdir()}
    assert {name for name in left if not name.startswith("torchinductor_")} == {"worker"}  # torch's cache is everybody's


@linux
@pytest.mark.slow
def test_a_launcher_ends_when_the_worker_hangs_up(server, key):
    with launcher.launched(0, {}) as started:
        line = lines.answer(server, key)
        assert line.recv() == ("launcher", 0)
        line.send(launcher.Launch(2, 1, (LOOPBACK, LOOPBACK), meeting_seconds=60))
        word, port = line.recv()
        assert word == "meeting"
        line.send(port)
        line.close()  # while it waits for another machine
        assert started.wait(30) == -signal.SIGKILL


@linux
@pytest.mark.slow
def test_what_a_launcher_raises_is_told_to_the_worker_from_another_machine(server, key):
    with launcher.launched(1, {}) as started:
        line = lines.answer(server, key)
        assert line.recv() == ("launcher", 1)
        line.send(launcher.Launch(2, 1, (LOOPBACK, LOOPBACK), meeting_seconds=1))
        line.send(1)  # a port at which nobody waits
        output = lines.answer(server, key)
        assert output.recv() == ("output", 1)
        printed = b""
        while more := os.read(output.fileno(), 4096):
            printed += more
        assert b"Traceback" in printed
        assert b"DistNetworkError" in printed
        assert started.wait(30) == 1
        with pytest.raises(EOFError):  # and no word that all have ended: it counts as gone
            line.recv()


@pytest.fixture
def stage():
    (stage,) = trainable.stages(BASE)
    return stage


@pytest.fixture
def key(monkeypatch):
    monkeypatch.setenv(lines.KEY_VARIABLE, "ab" * 32)
    return bytes.fromhex("ab" * 32)


@pytest.fixture
def server(monkeypatch):
    with lines.open_to_calls(LOOPBACK) as server:
        monkeypatch.setenv(lines.ADDRESS_VARIABLE, lines.address_of(server))
        yield server


@pytest.fixture
def exchange(stage, make_worker, server, key):
    """Of a stage of two processes on each of two machines."""
    worker = make_worker(num_devices=2)
    crew = processes._crew(stage, {}, worker, hosts=(LOOPBACK, LOOPBACK))
    made = processes.Exchange(server, key, crew=crew, context=worker)
    yield made
    made.close()


@pytest.fixture
def join(exchange):
    """Calls as a launcher or a process; answers the caller's end of the line."""
    with contextlib.ExitStack() as opened, ThreadPoolExecutor(1) as caller:

        def hello(kind, number):
            line = opened.enter_context(lines.call())
            line.send((kind, number))
            return line

        def make(kind, number):
            found = caller.submit(hello, kind, number)
            exchange._answer()
            return found.result()

        yield make


NEVER_ENDED = [lambda: False] * 2


def test_one_that_died_is_blamed_before_one_that_missed_it(exchange, join):
    machine, first, second = join("launcher", 0), join("process", 0), join("process", 1)
    ours = exchange._lines_of("process")[0]
    second.close()
    # as torchrun has it: whom it ended itself comes in any order
    machine.send(("ended", {0: -signal.SIGTERM, 1: -signal.SIGKILL}, False))
    with pytest.raises(ProcessLost, match=r"^process 2 of 4 \(cpu of 127.0.0.1\) ended by signal SIGKILL"):
        exchange._do(ours, "failed", RuntimeError("connection closed by peer"), "", phases=[])
    first.close()


def test_one_that_failed_is_blamed_where_none_died(exchange, join, monkeypatch):
    monkeypatch.setattr(processes, "BLAME_SECONDS", 0.01)
    join("launcher", 0)
    join("process", 2).send(("failed", KeyError("here"), "Traceback"))
    with pytest.raises(KeyError, match="here") as raised:
        exchange.run(NEVER_ENDED)
    assert raised.value.__notes__ == ["in process 3 of 4 (cpu of 127.0.0.1):\nTraceback"]


def test_a_process_that_ends_by_an_exit_code_fails_for_good(exchange, join):
    join("launcher", 1).send(("ended", {3: 7}, True))
    with pytest.raises(RuntimeError, match=r"^process 4 of 4 .* ended by exit code 7") as raised:
        exchange.run(NEVER_ENDED)
    assert cause_of(raised.value) == "user"


def test_a_process_that_the_kernel_ended_ran_out_of_memory(exchange, join):
    join("launcher", 0).send(("ended", {0: -signal.SIGKILL}, True))
    with pytest.raises(MemoryError, match=r"^the kernel ended process 1 of 4 .* for want of memory") as raised:
        exchange.run(NEVER_ENDED)
    assert cause_of(raised.value) == "oom"


def test_the_kernels_kills_are_counted(tmp_path):
    (tmp_path / "vmstat").write_text("nr_free_pages 7\noom_kill 3\npgfault 5\n")
    assert launcher.kernel_kills(tmp_path / "vmstat") == 3
    assert launcher.kernel_kills(tmp_path / "none") == 0


def test_a_machine_that_is_gone_is_lost_with_its_processes(exchange, join):
    first, second = join("launcher", 0), join("launcher", 1)
    first.send(("ended", {}, False))
    second.close()
    with pytest.raises(ProcessLost, match=r"the launcher of machine 2 of 2 \(127.0.0.1\) is gone"):
        exchange.run(NEVER_ENDED)


def test_those_who_never_call_are_named(exchange, join, monkeypatch):
    monkeypatch.setattr(processes, "LOOK_SECONDS", 0.01)
    join("launcher", 0)
    with pytest.raises(ProcessLost, match=r"the launcher of machine 2 of 2 .* ended before it called"):
        exchange.run([lambda: True] * 2)
    monkeypatch.setattr(processes, "MEETING_SECONDS", 0)
    join("launcher", 1)
    join("process", 0)
    join("process", 3)
    with pytest.raises(ProcessLost, match=r"not there after 0 s: process 2 of 4 \(.*\), process 3 of 4 \([^,]*\)$"):
        exchange.run(NEVER_ENDED)


def test_launchers_are_told_where_to_meet_whenever_they_call(exchange, join):
    first, early = join("launcher", 0), join("launcher", 1)
    exchange._do(exchange._lines_of("launcher")[0], "meeting", 1234, phases=[])
    late = join("launcher", 1)
    assert first.recv() == early.recv() == late.recv() == (2, 2, (LOOPBACK, LOOPBACK), processes.MEETING_SECONDS)
    assert first.recv() == early.recv() == late.recv() == 1234


def test_what_a_process_said_last_is_heard_though_its_launcher_was_faster(exchange, join):
    for number in range(2):
        join("launcher", number).send(("ended", {}, False))
    last = join("process", 0)
    for step in range(1, 6):
        last.send(("report", step, {"loss": float(step)}))
    last.close()
    exchange.run(NEVER_ENDED)
    assert exchange._context.last == {"loss": 5.0}


def test_what_other_machines_print_comes_out_here_to_the_last_word(exchange, join, capfd):
    for number in range(2):
        join("launcher", number).send(("ended", {}, False))
    output = join("output", 1)
    os.write(output.fileno(), b"from afar")
    output.close()
    exchange.run(NEVER_ENDED)
    exchange.close()
    assert capfd.readouterr().out == "from afar"


@pytest.mark.parametrize("word", [b"", b"GET / HTTP/1.1\r\n\r\n"])
def test_callers_without_the_key_are_hung_up_on(server, key, word, monkeypatch):
    with socket.create_connection(server.getsockname()) as stranger, monkeypatch.context() as impatient:
        impatient.setattr(lines, "HANDSHAKE_SECONDS", 0.01)
        stranger.send(word)
        assert lines.answer(server, key) is None
    with ThreadPoolExecutor(1) as caller:
        found = caller.submit(lines.call)
        line = lines.answer(server, key)
        with line, found.result() as theirs:
            line.send("hello")
            assert theirs.recv() == "hello"
            for end in (line, theirs):
                with socket.socket(fileno=os.dup(end.fileno())) as opened:
                    assert not any(opened.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16))  # it may be silent from here on
                    assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)  # but not gone


def test_a_caller_with_another_key_is_hung_up_on(server, key):
    with ThreadPoolExecutor(1) as caller:
        found = caller.submit(lines.call)
        assert lines.answer(server, b"another") is None
        with pytest.raises(AuthenticationError):
            found.result()


def test_a_caller_that_drips_is_hung_up_on(server, key, monkeypatch):
    monkeypatch.setattr(lines, "HANDSHAKE_SECONDS", 0.2)
    with socket.create_connection(server.getsockname()) as stranger:
        stranger.send(b"\0\0\0\xff")  # so many bytes are to come
        gone = threading.Event()

        def drip():
            with contextlib.suppress(OSError):
                while not gone.wait(0.02):
                    stranger.send(b"x")

        dripping = threading.Thread(target=drip)
        dripping.start()
        assert lines.answer(server, key) is None
        gone.set()
        dripping.join()


def test_who_was_hung_up_on_calls_again(server, key, monkeypatch):
    monkeypatch.setattr(lines, "AGAIN_SECONDS", 0.0)
    with ThreadPoolExecutor(1) as caller:
        found = caller.submit(lines.call)
        server.accept()[0].close()
        with lines.answer(server, key) as line, found.result() as theirs:
            line.send("hello")
            assert theirs.recv() == "hello"


def test_who_is_never_answered_gives_up(server, key, monkeypatch):
    monkeypatch.setattr(lines, "CALL_SECONDS", -1.0)
    with ThreadPoolExecutor(1) as caller:
        found = caller.submit(lines.call)
        server.accept()[0].close()
        with pytest.raises((EOFError, OSError)):
            found.result()


PROGRAM = """
import os
from model_zoo import rank
os.environ.update(dict.fromkeys([*rank.TORCHRUN_VARIABLES, rank.ADDRESS_VARIABLE, rank.KEY_VARIABLE], "0"))
rank._forget_torchrun()
from accelerate import PartialState
print(PartialState().num_processes, *(name for name in os.environ if name.startswith("ABLATE_STAGE")))
"""


@pytest.mark.slow
def test_what_a_stage_starts_waits_for_no_other_process():
    """lm-evaluation-harness asks accelerate, which believes torchrun's variables."""
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, cwd=Path(__file__).parents[2])
    assert ran.stdout == "1\n", ran.stderr


@linux
@pytest.mark.slow
def test_torchrun_leaves_no_variable_that_is_not_forgotten(server, key):
    """Of a process started by it, against this one's."""
    with launcher.launched(0, {"RANK_PROGRAM": "1"}):
        line = lines.answer(server, key)
        assert line.recv() == ("launcher", 0)
        line.send(launcher.Launch(1, 1, (LOOPBACK,), meeting_seconds=60))
        line.send(line.recv()[1])
        process = lines.answer(server, key)
        assert process.recv() == ("process", 0)
        (pid,) = {
            int(path.parent.name)
            for path in Path("/proc").glob("[0-9]*/environ")
            if b"RANK_PROGRAM=1" in _read(path) and b"\0RANK=0" in _read(path)
        }
        names = {entry.partition(b"=")[0].decode() for entry in _read(Path(f"/proc/{pid}/environ")).split(b"\0") if entry}
        line.close()
        process.close()
    added = names - set(os.environ) - {"PYTHONPATH", "RANK_PROGRAM", "TORCH_CPP_LOG_LEVEL", "TORCH_NCCL_ASYNC_ERROR_HANDLING"}
    assert added - {lines.ADDRESS_VARIABLE, lines.KEY_VARIABLE} == set(rank.TORCHRUN_VARIABLES)


def _read(path):
    with contextlib.suppress(OSError):
        return path.read_bytes()
    return b""


@linux
def test_gloo_is_told_the_interface_of_the_machines_address():
    assert rank._interface_of(LOOPBACK) == "lo"
    assert rank._interface_of("192.0.2.1") is None  # of documentation, nobody's


@pytest.mark.parametrize(
    ("hosts", "devices", "said"),
    [
        ((), 3, r"rows_per_step is 4, and 3 devices x 2 micro-batches \(accumulate\) need a row each: at least 6"),
        ((LOOPBACK, LOOPBACK), 2, r"rows_per_step is 4, and 4 devices x 2 micro-batches \(accumulate\) need a row each: at least 8"),
    ],
)
def test_fewer_rows_than_shares_are_refused_with_the_fewest_there_can_be(hosts, devices, said, make_worker, monkeypatch):
    monkeypatch.setenv("ABLATE_HOSTS", ",".join(hosts))
    with pytest.raises(ValueError, match=said):
        train(change(BASE, train={"accumulate": 2}), make_worker(num_devices=devices))


def test_a_stage_without_a_decoder_runs_on_the_first_machine_alone(make_worker, monkeypatch):
    monkeypatch.setenv("ABLATE_HOSTS", "10.0.0.1,10.0.0.2")
    config = change(BASE, encoder={"training": "frozen", "pretrain": {"objective": "contrastive", "steps": 1, "batch_size": 8}})
    encoder, _ = trainable.stages(config)
    worker = make_worker(num_devices=2)
    trainable.train(encoder, {}, worker)
    assert list(worker.dir.iterdir())
    assert "encoder_loss" in worker.last


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

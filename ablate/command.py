"""A trainer that is any program: started once a trial with arguments from the config, it reports metrics as lines of JSON.

It finds ABLATE_CONFIG (the resolved config as a JSON file), ABLATE_TRIAL_DIR, ABLATE_SEED, ABLATE_CHECKPOINT_DIR (what an attempt before
this one left) and, where it reports into a file, ABLATE_METRICS in its environment. Exit code 0 is success, any other a failure with the
last lines of its output as the reason.
"""

import json
import os
import shlex
import signal
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from ablate.base_form import form_faults, form_of
from ablate.causes import MEMORY_TEXTS
from ablate.errors import did_you_mean
from ablate.fields import config_names
from ablate.fingerprint import canonical
from ablate.marked_yaml import Fault, shown, visible
from ablate.own_stage import Costs, OwnStage, own_stage, read_costs
from ablate.rows import Rows
from ablate.sources import refuse_changed
from ablate.study import Study
from ablate.supervised import Ended, Supervised
from ablate.template import Template, read_template, value_at
from ablate.trainer_settings import CommandTrainer
from ablate.trainers import Context, TrainerFaults

CONFIG_FILE = "ablate-config.json"
DECIDES = ("argv", "env")
"""Settings that decide the result."""
PASSED = frozenset(
    "PATH HOME USER LOGNAME SHELL LANG LANGUAGE TZ TMPDIR TERM LD_LIBRARY_PATH PYTHONPATH VIRTUAL_ENV CONDA_PREFIX CUDA_HOME "
    "CUDA_VISIBLE_DEVICES ROCR_VISIBLE_DEVICES HIP_VISIBLE_DEVICES SSL_CERT_FILE SSL_CERT_DIR HF_HOME HF_HUB_OFFLINE TORCH_HOME "
    "ABLATE_HOSTS".split()
)
"""What a program gets of its worker's environment; the rest, cloud keys and passwords of databases among it, it does not."""
PASSED_PREFIXES = ("LC_", "XDG_", "NVIDIA_", "NCCL_")
TAIL_LINES = 5
MAX_SHOWN = 2_000


class CommandFailed(RuntimeError):
    """The program ended badly; the message has its exit code and its last words."""


@dataclass(frozen=True)
class Command:
    """A trainer as `ablate.trainers.Trainer` says."""

    Config: type[BaseModel]
    METRICS: Mapping[str, str]
    settings: CommandTrainer
    costs: Costs

    def stages(self, config: BaseModel) -> tuple[OwnStage, ...]:
        written = config.model_dump(mode="json")
        return (own_stage(self.settings, decides=DECIDES, config=written, costs=self.costs.of(config)),)


def trainer_for(study: Study) -> Command:
    """Raises TrainerFaults with every mistake in `command`, and with what of the base it cannot take."""
    if study.command is None:
        raise TrainerFaults([Fault(("trainer",), "command needs the key command: {argv: [PROGRAM, ...], metrics: {NAME: MEANING}}")])
    return _trainer(study.command.model_dump_json(), canonical(study.base), CommandTrainer)


@lru_cache(maxsize=8)
def _trainer(settings_json: str, base_json: str, settings_type: type[CommandTrainer]) -> Command:
    """Kept, so that one study has one Config."""
    settings, base = settings_type.model_validate_json(settings_json), json.loads(base_json)
    if faults := form_faults(base):
        raise TrainerFaults(faults)
    plain = config_names(form_of(base, check=lambda _: None))
    groups = {name.rpartition(".")[0] for name in plain.fields if "." in name}
    argv, env = list[Template](), dict[str, Template]()
    for place, text in enumerate(settings.argv):
        template, found = read_template(text, fields=plain.fields, groups=groups)
        argv.append(template)
        faults += [Fault(("command", "argv", place), message, column=column) for column, message in found]
    for name, text in settings.env.items():
        env[name], found = read_template(text, fields=plain.fields, groups=groups)
        faults += [Fault(("command", "env", name), message, column=column) for column, message in found]
    costs, found_costs = read_costs(settings, form_of(base, check=lambda _: None), key="command")
    faults += found_costs
    if faults:
        raise TrainerFaults(faults)

    def check(config: BaseModel) -> None:
        costs.of(config)
        _check_arguments(argv, list(env.values()), config.model_dump(mode="json"))

    return Command(form_of(base, check=check), settings.metrics, settings, costs)


def _check_arguments(argv: Sequence[Template], env: Sequence[Template], config: Mapping[str, Any]) -> None:
    """Raises ValueError for a value that the program would take for something else."""
    for template in (*argv, *env):
        for name in template.names:
            if name in config or "." in name:
                value = value_at(config, name)
                if isinstance(value, str) and "\0" in value:
                    raise ValueError(f"{name} holds a NUL, which no argument can")
    for place, template in enumerate(argv):
        first = template.names[0] if template.names else ""
        if not template.starts_with_value or not (first in config or "." in first):
            continue
        text = template.text(lambda name: value_at(config, name) if name in config or "." in name else "")
        if text.startswith("-"):
            message = f"the value {shown(value_at(config, first))} starts with -, and argv[{place}] would read as an option"
            raise ValueError(f"{message}; use --opt=value, as in --{first.rpartition('.')[2]}={{{first}}}")


def train(stage: OwnStage, inputs: Mapping[str, Path], context: Context) -> None:
    """Runs the program of one trial to its end. Raises CommandFailed with what it said last."""
    settings, config = CommandTrainer.model_validate(stage.settings), stage.config["config"]
    folder = Path(settings.folder)
    refuse_changed(settings.sources, folder=folder)
    config_file = context.dir / CONFIG_FILE
    config_file.write_text(json.dumps(config, indent=1), encoding="utf-8")
    kept = str(context.checkpoint_dir)
    given = {"seed": context.seed, "dir": str(context.dir), "checkpoint_dir": kept}
    given |= {"config_file": str(config_file), "python": sys.executable}

    def value_of(name: str) -> Any:
        return given[name] if name in given else value_at(config, name)

    def written(text: str) -> str:
        # names were checked when the study was loaded
        return read_template(text, fields=list(_leaves(config)), groups=())[0].text(value_of)

    report = None if settings.report == "stdout" else context.dir / settings.report
    variables = _environment(settings, context) | {name: written(text) for name, text in settings.env.items()}
    variables |= {"ABLATE_CONFIG": str(config_file), "ABLATE_TRIAL_DIR": str(context.dir), "ABLATE_SEED": str(context.seed)}
    variables |= {"ABLATE_CHECKPOINT_DIR": kept} | ({"ABLATE_METRICS": str(report)} if report else {})
    argv = [written(text) for text in settings.argv]
    print(visible(f"ablate: {shlex.join(argv)}", limit=MAX_SHOWN), flush=True)
    program = Supervised(argv, folder=folder, env=variables, grace_seconds=settings.grace_seconds)
    rows = Rows(_naming_undeclared(context.report, declared=settings.metrics), context.refuse)
    ended = program.follow(rows, report=report, should_stop=context.should_stop)
    if ended.code and not context.should_stop():
        raise CommandFailed(_reason(ended))


def _naming_undeclared(report: Callable[..., None], *, declared: Collection[str]) -> Callable[..., None]:
    """Says in the log, once, which metrics no study can name: most likely a slip of the program or of the study."""
    said = set[str]()

    def named(step: Any, **metrics: Any) -> None:
        for name in metrics.keys() - set(declared) - said:
            said.add(name)
            close = did_you_mean(name, declared)
            print(f"ablate: '{visible(name)}' is not in command.metrics: it is kept, and no study can name it{close}", flush=True)
        report(step, **metrics)

    return named


def _environment(settings: CommandTrainer, context: Context) -> dict[str, str]:
    """Built, not inherited."""
    kept = {name: value for name, value in os.environ.items() if name in PASSED or name.startswith(PASSED_PREFIXES)}
    asked = {name: os.environ[name] for name in settings.pass_env if name in os.environ}
    # lines reach us as they are written, and a trial takes the cores it was given
    usual = {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": str(context.cpus), "HF_HUB_DISABLE_TELEMETRY": "1"}
    return kept | usual | asked


def _leaves(config: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _reason(ended: Ended) -> str:
    code = ended.code
    how = f"exit code {code}" if code > 0 else f"ended by {signal.Signals(-code).name}"
    # other processes of a group may have the last word about one that ran out of memory
    memory = [line for line in ended.tail[:-TAIL_LINES] if any(text in line for text in MEMORY_TEXTS)][-1:]
    last = " / ".join((*ended.tail[-TAIL_LINES:], *memory))
    return f"{how}: ...{last[-240:]}" if len(last) > 240 else f"{how}: {last or 'it said nothing'}"

"""The command line: the stages in order, each verb one stage. Heavy libraries are imported by the verb that needs them.

Exit codes: 0 done; 1 something failed, or a claim was contradicted with --strict; 2 bad input, nothing was changed; 3 the environment
lacks something; 130 interrupted, resumable.
"""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ablate.errors import AblateError, InputError, did_you_mean

if TYPE_CHECKING:
    from ablate.analysis.lr_law import LawFit
    from ablate.plan import Plan
    from ablate.stores import Store
    from ablate.study import Study
    from ablate.workspace import Workspace

app = typer.Typer(
    help="Ablation studies for multimodal language models: declare, plan, run on Ray, watch, conclude.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
law_app = typer.Typer(help="Hyperparameter laws: fit one, or ask a published one.", no_args_is_help=True)
app.add_typer(law_app, name="law")

Studies = Annotated[list[str], typer.Argument(metavar="STUDY...", help="Study files, or names of shipped studies such as quickstart.")]
StudyFile = Annotated[str, typer.Argument(metavar="STUDY", help="A study file, or the name of a shipped study.")]
StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="Name of a study in the store, or its file.")]
Folder = Annotated[
    Path,
    typer.Option("--workspace", envvar="ABLATE_WORKSPACE", help="Folder of the store, the runs and the artefacts."),
]
StoreUrl = Annotated[str | None, typer.Option("--store", help="Another database, as a SQLAlchemy URL.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output, and nothing else there.")]
WORKSPACE = Path(".ablate")


@app.command()
def init(folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where to write it.")] = Path()) -> None:
    """Write a commented study to start from."""
    from importlib import resources

    target = folder / "my-study.yaml"
    if target.exists():
        raise InputError(f"{target} exists already; move it away, or name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    target.write_text((resources.files("studies") / "template.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    print(f"wrote {target}\nnext:  ablate plan {target}\n       ablate run {target}")


@app.command()
def validate(studies: Studies) -> None:
    """Say every mistake of a study file at once, with its line and column."""
    problems: list[str] = []
    for reference in studies:
        try:
            study = _load(reference)
        except InputError as error:
            problems.append(str(error))
        else:
            print(f"{reference}: fine ({study.name})")
    if problems:
        raise InputError("\n".join(problems))


@app.command()
def plan(
    study: StudyFile,
    seeds: Annotated[int | None, typer.Option(help="Seeds 0 to N-1 instead of the study's.")] = None,
    as_json: Json = False,
    workspace: Folder = WORKSPACE,
    store: StoreUrl = None,
) -> None:
    """Show what would run, what it costs, and what is done already."""
    from ablate.plan import plan_json
    from ablate.terminal import show_plan

    planned, states, cached = _planned(_load(study, seeds=seeds), _workspace(workspace, store))
    if as_json:
        _print_json(plan_json(planned, states=states, cached=cached))
    else:
        from ablate.design import count_removed

        show_plan(planned, states=states, cached=cached, removed=count_removed(planned.study))


@app.command()
def run(
    studies: Studies,
    slots: Annotated[int | None, typer.Option(min=1, help="Jobs at a time; default: one a core.")] = None,
    address: Annotated[str, typer.Option(help="Ray cluster to join; `local` starts Ray here.")] = "local",
    seeds: Annotated[int | None, typer.Option(help="Seeds 0 to N-1 instead of the study's.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and stop.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 if a claim is contradicted.")] = False,
    dashboard: Annotated[bool, typer.Option("--dashboard", help="Serve the pages while it runs.")] = False,
    workspace: Folder = WORKSPACE,
    store: StoreUrl = None,
) -> None:
    """Execute what is missing; running it again resumes."""
    loaded = [_load(reference, seeds=seeds) for reference in studies]
    place = _workspace(workspace, store)
    if dry_run:
        from ablate.terminal import show_plan

        for study in loaded:
            planned, states, cached = _planned(study, place)
            show_plan(planned, states=states, cached=cached, removed={})
        return
    from ablate.session import run_all

    command = " ".join(["ablate", *sys.argv[1:]])
    code = run_all(loaded, place, slots=slots, address=address, dashboard=dashboard, command=command)
    if code == 0 and strict:
        from ablate.conclude import conclude

        opened = _open(workspace, store)
        verdicts = [verdict for study in loaded for verdict in conclude(opened, study.name).verdicts]
        code = 1 if any(verdict.verdict == "contradicted" for verdict in verdicts) else 0
    raise typer.Exit(code)


@app.command()
def status(
    study: Annotated[str | None, typer.Argument(metavar="[STUDY]", help="Name of a study in the store, or its file.")] = None,
    as_json: Json = False,
    workspace: Folder = WORKSPACE,
    store: StoreUrl = None,
) -> None:
    """Show what is done, running, failed or missing."""
    from ablate.results import json_rows, results_frame, studies_frame
    from ablate.terminal import show_rows

    opened = _open(workspace, store)
    rows: list[dict[str, Any]]
    if study is None:
        rows = json_rows(studies_frame(opened))
    else:
        name = _name(study)
        frame = results_frame(opened, name)
        reasons = {trial.id: trial.reason for trial in opened.trials(name)}
        rows = [row | {"reason": reasons[row["trial"]]} for row in json_rows(frame[["trial", "arm", "seed", "state"]])]
    if as_json:
        _print_json(rows)
    else:
        show_rows(rows)


@app.command()
def retry(study: StudyName, workspace: Folder = WORKSPACE, store: StoreUrl = None) -> None:
    """Put a study's failed and lost jobs back in the queue; `run` then executes them."""
    from ablate.results import find_study

    opened, name = _open(workspace, store, write=True), _name(study)
    find_study(opened, name)
    jobs = [job.id for job in opened.jobs(name) if job.state in ("failed", "lost")]
    opened.requeue(name, jobs, why="asked for by retry")
    print(f"{len(jobs)} jobs queued again; next: ablate run {study}" if jobs else "nothing failed")


@app.command()
def logs(
    trial: Annotated[str, typer.Argument(metavar="TRIAL", help="A trial's id, or the beginning of it, or a job's id.")],
    workspace: Folder = WORKSPACE,
    store: StoreUrl = None,
) -> None:
    """Print what the last attempt of a trial (or job) wrote, and why it ended."""
    opened, place = _open(workspace, store), _workspace(workspace, store)
    trials = [row for record in opened.studies() for row in opened.trials(record.name)]
    jobs = {job for row in trials if row.id.startswith(trial) for job in row.chain[-1:]} or {
        j for row in trials for j in row.chain if j == trial
    }
    if not jobs:
        raise InputError(f"no trial '{trial}' in the store; `ablate status STUDY` lists them")
    for job in sorted(jobs):
        number = opened.job_states([job])[job][1]
        log = place.attempt(job, number) / "log.txt"
        print(f"== {job}, attempt {number}: {log}")
        print(log.read_text(encoding="utf-8", errors="replace") if log.exists() else "(it wrote nothing)")
    for row in trials:
        if row.chain[-1] in jobs and row.reason:
            print(f"{row.id}: {row.state}: {row.reason}")


@app.command()
def results(
    study: StudyName,
    form: Annotated[str, typer.Option("--format", help="csv, json, parquet, markdown or latex; default: a table.")] = "",
    curves: Annotated[bool, typer.Option("--curves", help="Every recorded point instead of the last ones.")] = False,
    workspace: Folder = WORKSPACE,
    store: StoreUrl = None,
) -> None:
    """Print tidy rows: trial, arm, seed, state, the axes, the metrics."""
    from ablate.results import curves_frame, export, json_rows, results_frame
    from ablate.terminal import show_rows

    opened, name = _open(workspace, store), _name(study)
    frame = curves_frame(opened, name) if curves else results_frame(opened, name)
    if not form:
        show_rows(json_rows(frame))
        return
    exported = export(frame, form)
    if isinstance(exported, bytes):
        sys.stdout.buffer.write(exported)
    else:
        sys.stdout.write(exported)


@app.command()
def effects(
    study: Annotated[
        str,
        typer.Argument(metavar="STUDY|FILE.csv", help="A study in the store, or a CSV with arm, seed and the metric."),
    ],
    baseline: Annotated[str, typer.Option(help="CSV only: the arm the others are compared with.")] = "",
    metric: Annotated[str, typer.Option(help="CSV only: the metric's column.")] = "",
    goal: Annotated[str, typer.Option(help="CSV only: max or min.")] = "max",
    as_json: Json = False,
    workspace: Folder = WORKSPACE,
    store: StoreUrl = None,
) -> None:
    """Print each level against its baseline, with intervals, and the verdicts on the study's claims."""
    from ablate.conclude import conclude, csv_effects
    from ablate.terminal import show_conclusion, show_rows

    if study.endswith(".csv"):
        answer = csv_effects(Path(study), baseline=baseline, metric=metric, goal=goal)
        _print_json(answer) if as_json else show_rows(answer["effects"])
        return
    conclusion = conclude(_open(workspace, store), _name(study))
    _print_json(conclusion.to_json()) if as_json else show_conclusion(conclusion)


@law_app.command("predict")
def law_predict(
    params: Annotated[float, typer.Option(help="Size of the model, as the law counts it (mm1: non-embedding parameters).")],
    law: Annotated[str, typer.Option(help="A published law, or a study with a `law:` section.")] = "mm1",
    as_json: Json = False,
    workspace: Folder = WORKSPACE,
    store: StoreUrl = None,
) -> None:
    """Say the peak learning rate and weight decay for a model of this size."""
    from ablate.analysis.laws import PUBLISHED, predict
    from ablate.terminal import show_prediction

    if law in PUBLISHED:
        prediction, source = predict(law, params), PUBLISHED[law].source
    else:
        prediction, source = _study_law(law, workspace, store).predict(params), f"study {law}"
    if as_json:
        _print_json({"law": law, "source": source} | prediction.to_json())
    else:
        show_prediction(prediction, law=law, source=source)


@law_app.command("fit")
def law_fit(
    study: Annotated[
        str,
        typer.Argument(metavar="STUDY|FILE.csv", help="A study with a `law:` section, or a CSV: n_params, lr, seed, METRIC."),
    ],
    metric: Annotated[str, typer.Option(help="CSV only: the metric's column.")] = "loss",
    goal: Annotated[str, typer.Option(help="CSV only: max or min.")] = "min",
    target: Annotated[float | None, typer.Option(help="Size to extrapolate to; default: the study's, or 30e9.")] = None,
    points: Annotated[bool, typer.Option("--points", help="CSV of known optima: n_params, eta and optionally se_ln.")] = False,
    as_json: Json = False,
    workspace: Folder = WORKSPACE,
    store: StoreUrl = None,
) -> None:
    """Fit the best learning rate against model size, with a prediction interval, beside MM1's law."""
    from ablate.conclude import csv_law, fit_study_law
    from ablate.terminal import show_law

    if study.endswith(".csv"):
        fitted, simulated = csv_law(Path(study), metric=metric, goal=goal, target=target, points=points), False
    else:
        opened, name = _open(workspace, store), _name(study)
        fitted, simulated = fit_study_law(opened, name, target=target), opened.study(name).simulated  # type: ignore[union-attr]
    _print_json(fitted.to_json() | {"simulated": simulated}) if as_json else show_law(fitted, simulated=simulated)


@law_app.command("list")
def law_list(as_json: Json = False) -> None:
    """List the published laws, with their range and source."""
    from ablate.analysis.laws import PUBLISHED
    from ablate.terminal import show_rows

    rows = [
        {"law": law.name, "formula": law.formula, "from": law.n_range[0], "to": law.n_range[1], "source": law.source}
        for law in PUBLISHED.values()
    ]
    _print_json(rows) if as_json else show_rows(rows)


@app.command()
def report(
    studies: Annotated[list[str], typer.Argument(metavar="STUDY...", help="Names of studies in the store, or their files.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The HTML file to write.")] = Path("report.html"),
    workspace: Folder = WORKSPACE,
    store: StoreUrl = None,
) -> None:
    """Write one self-contained HTML page that opens offline."""
    from ablate.conclude import study_report
    from ablate.report import write_report

    opened = _open(workspace, store)
    write_report([study_report(opened, _name(study)) for study in studies], path=output)
    print(f"wrote {output}")


@app.command()
def dashboard(
    host: Annotated[str, typer.Option(help="Address to listen on; the pages are for this machine only.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8050,
    workspace: Folder = WORKSPACE,
    store: StoreUrl = None,
) -> None:
    """Serve the live pages on loopback."""
    from ablate.session import dashboard_command

    if host not in ("127.0.0.1", "localhost", "::1"):
        raise InputError(f"--host {host}: the pages have no access control yet and are served on loopback only")
    _open(workspace, store).close()
    # its own process: pages and runs share the store and nothing else
    sys.stdout.flush()
    os.execv(sys.executable, dashboard_command(_workspace(workspace, store), host=host, port=port))  # noqa: S606


def main() -> None:
    """Entry point of the `ablate` command: an error a person can mend is one message and its exit code, never a traceback."""
    try:
        app()
    except AblateError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # the reader has gone, as in `ablate results | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _load(reference: str, *, seeds: int | None = None) -> "Study":
    from ablate.study import load_study

    study = load_study(reference)
    if seeds is None:
        return study
    if seeds < 1:
        raise InputError(f"--seeds {seeds}: at least 1")
    return study.model_copy(update={"seeds": tuple(range(seeds))})


def _name(reference: str) -> str:
    """Verbs that read the store take a study's name; its file will do."""
    return _load(reference).name if reference.endswith((".yaml", ".yml")) else reference


def _workspace(folder: Path, store: str | None) -> "Workspace":
    from ablate.workspace import Workspace

    return Workspace(folder.resolve(), store)


def _open(folder: Path, store: str | None, *, write: bool = False) -> "Store":
    from ablate.stores import open_store

    return open_store(_workspace(folder, store).store_url, write=write)


def _study_law(name: str, folder: Path, store: str | None) -> "LawFit":
    from ablate.analysis.laws import PUBLISHED
    from ablate.conclude import fit_study_law

    place = _workspace(folder, store)
    if not store and not (place.folder / "ablate.db").exists():
        raise InputError(
            f"no published law '{name}' ({', '.join(PUBLISHED)}){did_you_mean(name, PUBLISHED)}, and no store with a study of that name"
        )
    fit = fit_study_law(_open(folder, store), _name(name), target=None).fit
    if fit is None:
        raise InputError(
            f"the study '{name}' has no law yet: fewer than two sizes with an optimum inside their grid (ablate law fit {name})"
        )
    return fit


def _print_json(value: object) -> None:
    print(json.dumps(value, allow_nan=False, indent=1))


def _planned(study: "Study", place: "Workspace") -> "tuple[Plan, dict[str, str], list[str]]":
    """The plan, each trial's state and the jobs done before; asks the store only where there is one."""
    from ablate.design import make_arms
    from ablate.plan import make_plan

    made = make_plan(study, make_arms(study))
    known: dict[str, str] = {}
    if place.store or (place.folder / "ablate.db").exists():
        from ablate.stores import open_store

        opened = open_store(place.store_url)
        known = {job: state for job, (state, _) in opened.job_states(made.jobs).items()}
    states = {trial.id: _state([known.get(job, "queued") for job in trial.chain]) for trial in made.trials}
    return made, states, [job for job, state in known.items() if state == "done"]


def _state(chain: list[str]) -> str:
    if chain[-1] == "done":
        return "done"
    return next((state for state in chain if state in ("failed", "lost", "pruned", "running")), "queued")

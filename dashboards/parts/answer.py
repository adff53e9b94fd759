"""What a study says, first on its page: its claims, its best arm, its law, what it cost, and what to do next."""

from collections.abc import Sequence
from typing import Any

from dash import Dash, Input, Output, State, html
from dash.development.base_component import Component

from ablate.analysis.effects import Effect
from ablate.analysis.laws import rate_label, rates_text, size_label
from ablate.analysis.verdicts import Verdict, numbers_of
from ablate.arm_names import shown_names
from ablate.best_arm import BestArm, best_arm
from ablate.errors import InputError
from ablate.guards import Guards
from ablate.quantities import counted, duration_text, money_text
from ablate.spent import bill
from ablate.trainers import IMPORTED
from dashboards.parts.law_parts import open_claim
from dashboards.reader import Reader
from dashboards.snapshot import Snapshot
from dashboards.widgets import DASH, message, number, table, verdict_badge

MOST_COMPARED = 2_000
"""Trials whose effects are looked through for warnings at each update."""
LEFT = ("queued", "running")
MEASURED = ("done", "cached")


def place() -> Component:
    return html.Section([html.H2("Answer"), html.Div(id="study-answer")], className="card says")


def register(app: Dash, *, reader: Reader) -> None:
    @app.callback(Output("study-answer", "children"), Input("seen", "data"), State("study-name", "data"))
    def _answer(_seen: object, name: object) -> list[Component]:
        return answer(reader, reader.snapshot(name))


def answer(reader: Reader, snapshot: Snapshot) -> list[Component]:
    """Of a study that has measured nothing yet its claims alone, folded, so that its progress comes first."""
    if not any(trial.state in MEASURED for trial in snapshot.trials):
        return [_nothing_yet(reader, snapshot)]
    guards = _guards(reader, snapshot)
    said = [*_law(reader, snapshot), *_best(reader, snapshot, guards=guards), cost(reader, snapshot), *next_steps(reader, snapshot)]
    judged = claims(reader, snapshot)
    shown = [judged, *said, care(snapshot, guards)] if snapshot.study.claims else [*said, care(snapshot, guards), judged]
    return [part for part in shown if part is not None]


def claims(reader: Reader, snapshot: Snapshot) -> Component:
    """A row a claim: what was claimed, the verdict, the difference that decided it with its interval, and over how many seeds."""
    if not snapshot.study.claims:
        return message("This study claims nothing. A claim written before the runs gets a verdict:", command=_claim_example(snapshot))
    try:
        verdicts = reader.verdicts(snapshot)
    except InputError as error:
        return message(f"No verdict: {error}")
    head = ["Claim", "Verdict", "Effect, 95 % interval", "Seeds", "Besides"]
    return table(head, map(_claim_row, verdicts), label="Verdicts", numeric=[2, 3])


def cost(reader: Reader, snapshot: Snapshot) -> Component:
    """The number that the report, `ablate status` and the list of studies give too."""
    found = bill(snapshot.study, seconds=reader.seconds_spent(snapshot))
    said = [f"{duration_text(found.seconds)} of compute in all attempts, shared stages counted once"]
    said += [f"{number(found.device_hours)} GPU hours"] if found.device_hours is not None else []
    said += [f"{money_text(found.money)} {found.currency} at the price that the study declares"] if found.money is not None else []
    done = sum(trial.state in MEASURED for trial in snapshot.trials)
    return html.P([html.Strong("Cost so far: "), f"{', '.join(said)}; {done:,} of {counted(len(snapshot.trials), 'trial')} done."])


def next_steps(reader: Reader, snapshot: Snapshot) -> list[Component]:
    """Once nothing is left to run: for each open claim its seeds, for a law the rates beyond its grids, and the command for both."""
    left = sum(trial.state in LEFT for trial in snapshot.trials)
    if snapshot.record.active:
        return []
    if left:
        said = f"{counted(left, 'trial')} {'is' if left == 1 else 'are'} still to be run: `ablate run` with the study's file goes on."
        return [html.H3("Next"), html.P(said)]
    try:
        open_ = reader.open_claims(snapshot)
    except InputError:
        open_ = ()  # the place of the claims says why
    edges = _edges(reader, snapshot)
    if not open_ and not edges:
        return []
    name = snapshot.record.name
    shown: list[Component] = [html.H3("Next"), *map(open_claim, open_)]
    if edges:
        shown.append(html.P("Sizes whose best rate is, or may be, beyond the rates that were run:"))
        shown.append(html.Ul([html.Li(edge) for edge in edges]))
    if edges or any(one.seeds for one in open_):
        run = [] if snapshot.study.trainer == IMPORTED else [f"ablate run {name}-next.yaml"]
        said = "To write the runs to make next as a study file that goes on with this study, and to run them:"
        shown.append(message(said, command="\n".join([f"ablate next {name} -o {name}-next.yaml", *run])))
    return shown


def care(snapshot: Snapshot, guards: Guards | None) -> Component | None:
    """What `ablate effects` warns of; None where there is nothing."""
    if len(snapshot.trials) > MOST_COMPARED:
        said = f"What to read the effects of more than {MOST_COMPARED:,} trials with care for takes a while to find:"
        return message(said, command=f"ablate effects {snapshot.record.name}")
    if guards is None:
        return None  # the place of the claims says why
    cautions = [html.Li(caution) for caution in guards.cautions]
    return html.Div([html.H3("Read with care"), html.Ul(cautions)]) if cautions else None


def best_text(best: BestArm, *, goal: str, guards: Guards | None) -> str:
    """How far the best arm is ahead of the next, and whether the seeds tell them apart."""
    effect, better = best.effect, "higher" if goal == "max" else "lower"
    mean, after = number(best.mean), number(best.next_mean)
    said = f"mean {mean} over {counted(best.n, 'seed')}, {better} than the other {counted(best.arms - 1, 'arm')}"
    if best.clear is None:
        sure = effect.note or "there is no interval"
    else:
        sure = "it is better by this interval, taken alone" if best.clear else "these seeds do not tell the two apart"
    ahead = f"difference {_difference(effect)} over {counted(effect.n, 'seed')}" if effect.mean_diff is not None else "not compared"
    told = f"{said}. The next is {best.next_arm} with {after}, {ahead}: {sure}."
    signal = guards.signal if guards else None
    if signal is None or signal.p is None or signal.separates is None:
        return told
    apart = "some arms differ" if signal.separates else "no arm can be told from the others"
    return f"{told} Over all arms: {apart} (F test, p = {signal.p:.2g})."


def _best(reader: Reader, snapshot: Snapshot, *, guards: Guards | None) -> list[Component]:
    metric = snapshot.study.metric
    best = best_arm(reader.results(snapshot), metric=metric.name, goal=metric.goal)
    if best is None:
        return []
    name = shown_names(snapshot.trials, axes=snapshot.record.axes).get(best.arm, best.arm)
    return [html.P([html.Strong(f"Best by {metric.name}: "), html.Strong(name), f", {best_text(best, goal=metric.goal, guards=guards)}"])]


def _law(reader: Reader, snapshot: Snapshot) -> list[Component]:
    """Its formula and what it says of the study's target; on its own page while trials are left."""
    if snapshot.study.law is None or any(trial.state in LEFT for trial in snapshot.trials):
        return []
    try:
        report = reader.law(snapshot)
    except InputError as error:
        return [html.P([html.Strong("Law: "), f"none yet: {error}."])]
    if report.fit is None:
        return [html.P([html.Strong("Law: "), "none yet: fewer than two sizes have an optimum inside their grid."])]
    said, prediction = report.fit.formula, report.prediction
    if prediction is not None and prediction.n_params is not None:
        interval = prediction.interval and rates_text(prediction.interval)
        level = (
            f"{prediction.level:.0%} prediction interval {interval}".replace("%", " %") if prediction.level and interval else "no interval"
        )
        said += f"; at {size_label(prediction.n_params)} parameters a peak learning rate of {rate_label(prediction.lr)}, {level}"
    return [html.P([html.Strong("Law: "), f"{said}."])]


def _edges(reader: Reader, snapshot: Snapshot) -> Sequence[str]:
    if snapshot.study.law is None:
        return ()
    try:
        return reader.law(snapshot).edges
    except InputError:
        return ()


def _guards(reader: Reader, snapshot: Snapshot) -> Guards | None:
    """None of a large study, whose guards take too long to find at each update, and where claims do not fit what was measured."""
    if len(snapshot.trials) > MOST_COMPARED:
        return None
    try:
        return reader.guards(snapshot)
    except InputError:
        return None


def _nothing_yet(reader: Reader, snapshot: Snapshot) -> Component:
    if not snapshot.study.claims:
        return claims(reader, snapshot)
    count = len(snapshot.study.claims)
    said = f"No trial is done yet; {counted(count, 'claim')} {'waits' if count == 1 else 'wait'} for a verdict."
    return html.Details([html.Summary(said), claims(reader, snapshot)])


def _claim_row(verdict: Verdict) -> list[Any]:
    effect = verdict.effect
    seeds = DASH if effect is None else effect.n
    return [verdict.statement, verdict_badge(verdict.verdict), _difference(effect), seeds, verdict.beside]


def _difference(effect: Effect | None) -> str:
    return DASH if effect is None or effect.mean_diff is None else numbers_of(effect).rpartition(", n = ")[0].removesuffix(", no interval")


def _claim_example(snapshot: Snapshot) -> str:
    axis = next(iter(snapshot.record.axes), "the.axis")
    return f"claims:\n  - {{axis: {axis}, expect: increases}}   # or decreases, equivalent with a margin `within`, best_level"

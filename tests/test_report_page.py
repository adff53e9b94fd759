import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from math import nan

import pandas as pd
import pytest

from ablate.analysis.effects import level_effects
from ablate.analysis.factors import factor_effects
from ablate.analysis.lr_law import LawReport
from ablate.deviations import Deviation, Registration
from ablate.report import Smallest, StudyDesign
from ablate.report_figures import drawings
from ablate.report_page import number, p_value, render_report, said_once
from tests.reported import HOSTILE, SPENT, law, report


class Page(HTMLParser):
    """Tags with their attributes, the text a reader sees, and the scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts.append(data)
        elif self._inside != "style":
            self.text += data


def test_render_report_study_shows_question_verdict_effects_and_provenance() -> None:
    text = Page(render_report([report()])).text
    for expected in ("Does resolution matter?", "supported", "n = 3 seeds", "9: 9 done", "1 h 2 min", "0.1.0", "2026-01-31"):
        assert expected in text


def test_render_report_page_asks_for_nothing_outside_itself() -> None:
    page = Page(render_report([report()]))
    assert not [tag for tag in page.tags if tag[0] in ("link", "img", "iframe") or "src" in tag[1]]
    assert sum("plotly.js v" in script for script in page.scripts) == 1


def test_render_report_policy_allows_exactly_its_two_scripts() -> None:
    page = Page(render_report([report()]))
    (policy,) = [attributes["content"] for tag, attributes in page.tags if attributes.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    runnable = [script for script in page.scripts if not script.lstrip().startswith("{")]
    hashes = {base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in runnable}
    assert set(re.findall(r"sha256-([^']+)'", policy)) == hashes
    assert "default-src 'none'" in policy
    assert "script-src 'unsafe-inline'" not in policy


def test_render_report_hostile_text_stays_text() -> None:
    results = report().results.assign(arm=HOSTILE).rename(columns={"size": HOSTILE})
    results["arm"] += results[HOSTILE].astype(str)
    effects = level_effects(results, axis=HOSTILE, baseline=16, metric="score")
    hostile = report(
        name=HOSTILE,
        question="</script><script>alert(2)</script>",
        results=results,
        effects=effects,
        axes=(HOSTILE,),
        provenance={HOSTILE: "</script><script>alert(3)</script>"},
        unit="</script>",
    )
    page = Page(render_report([hostile, report()]))
    assert not [tag for tag in page.tags if tag[0] == "img" or any(name.startswith("on") for name in tag[1])]
    assert not [script for script in page.scripts if script.startswith("alert")]
    assert HOSTILE in page.text


def test_render_report_missing_numbers_are_dashes_never_zero() -> None:
    frame = report().results.query("seed == 0").assign(score=lambda rows: rows["score"].where(rows["size"] != 32))
    effects = level_effects(frame, axis="size", baseline=16, metric="score")
    bare = report(results=frame, effects=effects, spent=None, states={"done": 3})
    html = render_report([bare])
    row = re.search(r'<td class="name">32</td>.*?</tr>', html, re.DOTALL)
    assert row is not None
    assert re.findall(r'class="number">([^<]*)<', row.group()) == ["–", "–", "–", "–", "0", "–", "–", "–"]
    assert "one seed: no interval" in html
    assert "The store says nothing of what the runs cost." in html


def test_render_report_says_a_note_of_all_rows_once() -> None:
    frame = report().results.query("seed == 0")
    bare = report(results=frame, effects=level_effects(frame, axis="size", baseline=16, metric="score"))
    assert Page(render_report([bare])).text.count("one seed: no interval") == 1
    assert said_once([("a", "odd"), ("b", ""), ("c", "odd")]) == ("a, c: odd",)
    assert said_once([("a", "odd"), ("c", "odd")]) == ("All rows: odd",)


def test_captions_explain_open_triangles_only_where_an_optimum_is_an_edge() -> None:
    found = law()
    runs = pd.DataFrame(columns=["n_params", "lr", "seed", "score", "status"])
    edge = replace(found.optima[0], lr=None, status="edge_low", grid_best=1e-4)
    for optima, told in ((found.optima, False), ((*found.optima, edge), True)):
        drawn = drawings(report(law=replace(found, optima=optima), law_runs=runs))
        (caption,) = (drawing.caption for drawing in drawn if drawing.name == "law-runs")
        assert ("Open triangles" in caption) == told


def test_render_report_cost_says_what_the_store_knows() -> None:
    text = Page(render_report([report()])).text
    for expected in (
        "1 h 2 min, 1 min of it in attempts that did not end well",
        "2 h from the first start to the last end, pauses included",
        "2.59e12",
        "3.50 EUR at the price that the study declares",
        "8 of 9 jobs done; 2 of them before, for another study",
        "11, 2 of them after a job's first; 1 without an end in the store",
    ):
        assert expected in text
    assert "nothing was trained" not in text
    unknown = replace(SPENT, seconds=None, train_flops=None, wall_seconds=None, money=None)
    html = render_report([report(spent=unknown)])
    assert html.count("<dd>–") == 3
    assert "Money" not in html


def test_render_report_design_has_axes_seeds_and_margins() -> None:
    design = StudyDesign("grid", {"size": ("16", "24", "32")}, ("size > 8",), "0-2", ("score is the same at size = 32 as at 16 within ±1",))
    page = Page(render_report([report(design=design)]))
    for expected in ("grid", "size > 8", "0-2", "24, 32", "within ±1"):
        assert expected in page.text


def test_render_report_smallest_effect_and_shares() -> None:
    grid = pd.DataFrame(
        [
            {"a": a, "b": b, "seed": seed, "score": 10.0 * a + b + 0.1 * ((seed * (a + 2 * b + 3)) % 4), "state": "done"}
            for a in (0, 1)
            for b in (0, 1)
            for seed in range(3)
        ]
    )
    factors = factor_effects(grid, factors=["a", "b"], metric="score")
    text = Page(render_report([report(factors=factors, smallest=Smallest(10.34, 4.139, 6))])).text
    assert "10.3 in the least clear row" in text
    assert "4.14 between two arms, by the noise pooled over all (df 6)" in text
    assert "Shares of the axes" in text
    assert "a × b" in text
    assert "a factor that does nothing still gets a share" in text
    assert "No shares of the axes" in Page(render_report([report(axes=("size", "seed"))])).text
    assert "is not known" in Page(render_report([report(smallest=Smallest(None, None, 0))])).text


def test_render_report_holds_each_figure_once_and_its_dark_colours_beside_it() -> None:
    given = report()
    stored = [json.loads(script) for script in Page(render_report([given])).scripts if script.startswith('{"figure"')]
    assert len(stored) == len(drawings(given))
    for both, drawing in zip(stored, drawings(given), strict=True):
        figure = both["figure"]
        assert figure == json.loads(drawing.draw(dark=False).to_json())
        for path, value in both["dark"]:
            part = figure
            for key in path[:-1]:
                part = part[key]
            part[path[-1]] = value
        assert figure == json.loads(drawing.draw(dark=True).to_json())
        assert len(json.dumps(both["dark"])) < len(json.dumps(figure))


def test_render_report_deviations_stand_in_a_section_of_their_own() -> None:
    edited = Registration(
        declared=1_700_000_000.0,
        finished=0,
        deviations=(
            Deviation(1_700_000_600.0, "seeds", "seeds 0-2 became 0-4", 9),
            Deviation(1_700_000_060.0, "claims", f"claim added: {HOSTILE} increases", 0),
        ),
    )
    page = Page(render_report([report(registration=edited, stale=4)]))
    for expected in (
        "Deviations from the declaration",
        "Declared 2023-11-14 22:13 UTC; 2 deviations since, 1 of them after trials were finished.",
        "seeds 0-2 became 0-4",
        "after 9 finished trials",
        HOSTILE,
        "4, run for an earlier form of the study",
    ):
        assert expected in page.text
    assert not [tag for tag in page.tags if tag[0] == "img"]


def test_render_report_study_that_kept_its_declaration_says_so() -> None:
    text = Page(render_report([report(registration=Registration(1_700_000_000.0, 0, ()))])).text
    assert "Declared 2023-11-14 22:13 UTC; no deviations since." in text
    assert "earlier form" not in text
    assert "Deviations" not in Page(render_report([report()])).text


def test_render_report_simulated_study_says_so() -> None:
    text = Page(render_report([report(simulated=True)])).text
    for expected in ("Simulated results", "resolution (simulated)", "by the stated formula; nothing was trained"):
        assert expected in text
    assert "Simulated results" not in Page(render_report([report()])).text


def test_render_report_law_stands_beside_the_published_one() -> None:
    found = law()
    text = Page(render_report([report(law=found, target=3e10)])).text
    assert all(optimum.near_optimal_words in text for optimum in found.optima)  # as the law's page and `law fit` say them
    for expected in ("η = exp(", "Best rate at 30B", "2.21e-5", "95 % prediction interval", "log-linearity is assumed", "arXiv 2403.09611"):
        assert expected in text


def test_render_report_law_that_could_not_be_fitted_gives_the_reason() -> None:
    nothing = LawReport(None, (), None, ("no law: 0 of 4 sizes have an optimum",))
    text = Page(render_report([report(law=nothing)])).text
    assert "No law could be fitted" in text
    assert "0 of 4 sizes" in text


def test_render_report_study_without_a_finished_trial_renders() -> None:
    frame = report().results.drop(columns="score").assign(state="queued")
    html = render_report([report(results=frame, effects=(), verdicts=(), states={"queued": 9})])
    assert "9: 9 queued" in Page(html).text


def test_render_report_several_studies_have_an_index() -> None:
    page = Page(render_report([report(name="first"), report(name="second")]))
    assert [attributes["href"] for tag, attributes in page.tags if tag == "a"] == ["#study-0", "#study-1"]
    assert {"study-0", "study-1"} <= {attributes.get("id") for _, attributes in page.tags}


def test_render_report_same_input_gives_the_same_page() -> None:
    assert render_report([report(law=law())]) == render_report([report(law=law())])


@pytest.mark.parametrize(("value", "expected"), [(None, "–"), (nan, "–"), (0.0, "0"), (-1.23456, "−1.235"), (12345.678, "12,346")])
def test_number_missing_is_a_dash(value: float | None, expected: str) -> None:
    assert number(value) == expected


@pytest.mark.parametrize(("value", "expected"), [(None, "–"), (0.0004, "< 0.001"), (0.0321, "0.032")])
def test_p_value_small_is_not_zero(value: float | None, expected: str) -> None:
    assert p_value(value) == expected

"""Figures of a run, as data."""

import pandas as pd

from ablate.run_figures import slots


def test_slots_are_steps_in_utc() -> None:
    figure = slots(pd.DataFrame({"time": [0.0, 4.5, 10.0], "running": [1, 2, 0]}), simulated=True)
    (trace,) = figure.data
    assert list(trace.x) == ["1970-01-01 00:00:00.000000", "1970-01-01 00:00:04.500000", "1970-01-01 00:00:10.000000"]
    assert (list(trace.y), trace.line.shape) == ([1, 2, 0], "hv")
    assert figure.layout.title.text == "simulated: Trials at work"

"""Figures of a run itself: how many trials were at work at a time."""

import pandas as pd
import plotly.graph_objects as go

from ablate.analysis.columns import require_columns
from ablate.plot_style import layout, series_colour


def slots(frame: pd.DataFrame, *, simulated: bool = False, dark: bool = False) -> go.Figure:
    """`time` (Unix, seconds), `running` as `under_way.slots_in_use` counts them: a step at each start and end, in UTC."""
    require_columns(frame, ["time", "running"])
    figure = go.Figure(layout=layout("Trials at work", simulated=simulated, dark=dark, height=260))
    times = pd.to_datetime(frame["time"], unit="s", utc=True).dt.strftime("%Y-%m-%d %H:%M:%S.%f")
    figure.add_trace(
        go.Scatter(
            x=times.tolist(),
            y=frame["running"].tolist(),
            mode="lines",
            line={"shape": "hv", "color": series_colour(0, dark=dark), "width": 2},
            fill="tozeroy",
            name="trials at work",
            hovertemplate="%{x}<br>%{y} at work<extra></extra>",
        )
    )
    figure.update_layout(showlegend=False)
    figure.update_xaxes(title_text="time (UTC)", type="date")
    figure.update_yaxes(title_text="trials", rangemode="tozero", dtick=1 if frame["running"].max() <= 8 else None)
    return figure

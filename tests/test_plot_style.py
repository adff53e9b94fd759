import html

from ablate import plot_style
from ablate.plot_style import CONFIG


def test_config_lets_no_chart_be_uploaded() -> None:
    assert CONFIG["showSendToCloud"] is False
    assert CONFIG["plotlyServerURL"] == ""


def test_wrapped_long_names_keep_every_letter_and_no_html() -> None:
    text = "a.path_that_goes_on_and_on<br>&<b>without_end</b>"
    lines = plot_style.wrapped(text, 10).split("<br>")
    assert "".join(lines) == plot_style.escape(text)
    assert max(map(len, map(html.unescape, lines))) <= 10
    assert plot_style.wrapped("short name") == "short name"
    assert plot_style.wrapped("") == ""

import html

import pandas as pd

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


def test_cut_notes_say_whose_bounds_they_are() -> None:
    wide = pd.DataFrame({"mean": [1.0], "half": [50.0]})
    narrow = pd.DataFrame({"mean": [1.0], "half": [0.5]})
    percent, cider = (0.0, 100.0), (0.0, 10.0)
    drawn = [("vqa/0", wide, percent), ("vqa/4", wide, percent), ("caption/0", narrow, percent), ("cider/0", wide, cider)]
    assert [note.split(";")[0] for note in plot_style.cut_notes(drawn)] == [
        "Cut: intervals of vqa/0, vqa/4 are drawn up to 0 and 100, their bounds",
        "Cut: intervals of cider/0 are drawn up to 0 and 10, their bounds",
    ]

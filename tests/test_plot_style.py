from ablate.plot_style import CONFIG


def test_config_lets_no_chart_be_uploaded() -> None:
    assert CONFIG["showSendToCloud"] is False
    assert CONFIG["plotlyServerURL"] == ""

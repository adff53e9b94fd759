from ablate.results import by_shots, ordered_metrics


def test_ordered_metrics_has_the_first_its_family_and_the_rest_by_shots() -> None:
    names = ["caption/0", "caption/16", "caption/4", "loss", "vqa/0", "vqa/16", "vqa/4", "vqa/8"]
    wanted = ["vqa/4", "vqa/0", "vqa/8", "vqa/16", "caption/0", "caption/4", "caption/16", "loss"]
    assert ordered_metrics(names, first="vqa/4") == wanted
    assert ordered_metrics(names, first="not reported yet")[:2] == ["caption/0", "caption/4"]


def test_by_shots_takes_whole_numbers_alone_for_shots() -> None:
    assert (by_shots("score/4"), by_shots("score/all"), by_shots("/4")) == (("score", 4), ("score/all", -1), ("/4", -1))

"""What is declared of metrics, as lines for a page and as groups for a figure."""

from ablate.metric_scales import MetricScale, metric_lines, scale_groups, scales_of, unit_of

ZOO = {"trainer": "model_zoo", "metric": {"name": "few_shot/4", "goal": "max"}}


def test_metric_lines_of_the_zoo_say_meaning_unit_bounds_direction_and_chance() -> None:
    assert metric_lines(ZOO, ["in_context/4", "few_shot/0", "few_shot/4", "few_shot/8"]) == [
        "in_context/4: two-way choice of a label that only the document defines, exactly at chance at 0 shots; percent, 0 to 100; "
        "higher is better; chance 50.",
        "few_shot/0, 4, 8: plain mean of caption/K, vqa/K, in_context/K; percent, 0 to 100; higher is better.",
    ]
    assert metric_lines(ZOO, ["lm_eval/hellaswag/acc_norm", "val_loss"]) == [
        "val_loss: held-out loss, mean over caption, interleaved and text with equal weights; nats, 0 or more; lower is better."
    ]


def test_metric_lines_of_another_trainer_say_the_studys_own_goal() -> None:
    own = {"metric": {"name": "f1", "goal": "max"}}
    assert metric_lines(own | {"trainer": "imported"}, ["f1", "recall"]) == ["f1: higher is better."]
    assert metric_lines(own | {"trainer": "nobody"}, ["f1"]) == ["f1: higher is better."]
    written = own | {"trainer": "command", "command": {"metrics": {"f1": "F1 of the test set", "loss": "nats"}}}
    assert metric_lines(written, ["f1", "loss"]) == ["f1: F1 of the test set; higher is better.", "loss: nats."]


def test_the_studys_goal_stands_above_what_is_usual() -> None:
    assert metric_lines(ZOO | {"metric": {"name": "vqa/0", "goal": "min"}}, ["vqa/0"])[0].endswith("percent, 0 to 100; lower is better.")


def test_scale_groups_hold_one_unit_and_unknown_ones_one_family() -> None:
    metrics = ["caption/0", "caption/8", "cider/0", "text_score", "mine/0", "mine/4", "other"]
    scales = scales_of(ZOO)
    assert scale_groups(metrics, scales) == [["caption/0", "caption/8", "text_score"], ["cider/0"], ["mine/0", "mine/4"], ["other"]]
    assert [unit_of(group, scales) for group in scale_groups(metrics, scales)] == ["percent", "CIDEr-D", "", ""]
    assert unit_of(["caption/0", "cider/0"], scales) == ""


def test_simulated_metrics_have_their_own_words() -> None:
    assert scales_of({"trainer": "synthetic"})["loss"] == MetricScale("validation loss of the stated law, nats (simulated)")

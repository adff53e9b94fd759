"""Which of MM1's lesson plots a study can draw, told from the names of its axes and metrics.

An axis is known by its last parts, as the trainer's config names them: `encoder.image_size`, `connector.num_tokens`, `connector.kind`,
`data.mix`, `data.alt_text.synthetic`, `train.steps`, whatever stands under `encoder.` and under `sft.`. Scores after 0, 4 and 8 shots are
metrics `name/0` and so on.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ablate.mm1_reference import LESSONS
from ablate.shares import read_shares

Plot = Literal["encoder_table", "connector_bars", "data_panel", "sft_curve", "sft_connectors"]
Role = Literal["resolution", "tokens", "connector", "mix", "synthetic", "encoder", "steps"]

SHOTS = (0, 4, 8)
TEXT_SCORES = ("text_score", "text_core")
"""Metrics that stand for MM1's TextCore."""
_RESOLUTIONS = ("image_size", "resolution", "image_res", "image_resolution")
_MIXES = ("mix", "mixture")
_SYNTHETIC = "synthetic"
"""Share of captions that are rewritten, as VeCap does."""
_SIZES = ("size", "width", "depth", "num_layers", "num_params")
_SET_ASIDE = ("seed", "learning_rate", "batch_size", "steps", "features", "training", "tiles")
"""Fields of an encoder that are no arm of MM1's Table 1."""


@dataclass(frozen=True)
class LessonPlot:
    """A plot, and the columns of the results that it needs."""

    plot: Plot
    axes: tuple[str, ...]
    metrics: tuple[str, ...]
    lessons: tuple[str, ...]
    """Ids in `mm1_reference.LESSONS`."""
    sources: tuple[str, ...] = ()
    """Of a mix, in the order of its ratios; empty where they are not known."""

    @property
    def columns(self) -> tuple[str, ...]:
        return (*self.axes, *self.metrics)


def role_of(axis: str) -> Role | None:
    """What an axis is to MM1's lessons; None for any other."""
    *before, last = axis.split(".")
    if "pretrain" in before and "encoder" in before:
        return None if last in _SET_ASIDE else "encoder"
    if last in _RESOLUTIONS:
        return "resolution"
    if last == "num_tokens" and before[-1:] in ([], ["connector"]):
        return "tokens"
    if last == "connector" or axis.endswith("connector.kind"):
        return "connector"
    if last in _MIXES:
        return "mix"
    if last == "encoder" or "encoder" in before:
        return None if last in _SET_ASIDE else "encoder"
    if last == _SYNTHETIC and "sft" not in before:
        return "synthetic"
    if last == "steps" and "sft" not in before:
        return "steps"
    return None


def matching_lessons(
    axes: Mapping[str, Sequence[Any]], metrics: Sequence[str], *, sources: Mapping[str, Sequence[str]] | None = None, sft: bool = False
) -> list[LessonPlot]:
    """`axes`: axis -> its levels; one level is no question. `metrics`: the study's own first. `sources`: axis of mixes -> their sources.

    `sft`: whether the trials end with an sft stage; an axis under `sft.` says so too. Then their scores are those after it.
    """
    named = sources or {}
    roles: dict[Role, list[str]] = {}
    for axis, levels in axes.items():
        role = "mix" if axis in named else role_of(axis)
        if role and len(levels) > 1:
            roles.setdefault(role, []).append(axis)
    after_sft = sft or any("sft" in axis.split(".")[:-1] for axis in axes)
    found = _after_sft(roles, metrics[:1]) if after_sft else _pretrained(roles, metrics)
    shown = [(*family, *_text_scores(metrics)) for family in shot_families(metrics)] or [tuple(metrics[:1])]
    panels = [tuple(dict.fromkeys(each)) for each in shown if each]
    for axis in roles.get("mix", []):
        order = tuple(named.get(axis, ()))
        lessons = mix_lessons(axes[axis], sources=order, text=bool(_text_scores(metrics)), sft=after_sft)
        found += [LessonPlot("data_panel", (axis,), each, lessons, order) for each in panels]
    if not after_sft:  # MM1 shows it of pre-training alone
        found += [LessonPlot("data_panel", (axis,), each, ("vecap_fewshot",)) for axis in roles.get("synthetic", []) for each in panels]
    return found


def study_lessons(spec: Mapping[str, Any], axes: Mapping[str, Sequence[Any]], metrics: Sequence[str]) -> list[LessonPlot]:
    """`matching_lessons` of a study as the store keeps it: `spec` says the mixes' sources, the metric, whether there is an sft stage."""
    own = spec["metric"]["name"]
    ordered = [metric for metric in dict.fromkeys([own, *metrics]) if metric in metrics]
    return matching_lessons(axes, ordered, sources=_sources(spec), sft=bool((spec.get("base") or {}).get("sft")))


def bears_on_lessons(spec: Mapping[str, Any], axes: Mapping[str, Sequence[Any]]) -> bool:
    """Whether a study can have something to say of MM1's lessons or of its law, whatever it has measured so far."""
    claimed = any(claim.get("lesson") in LESSONS for claim in spec.get("claims") or ())
    named = _sources(spec)
    return claimed or bool(spec.get("law")) or any(len(levels) > 1 and (axis in named or role_of(axis)) for axis, levels in axes.items())


def _sources(spec: Mapping[str, Any]) -> dict[str, Sequence[str]]:
    """Axis of mixes -> their sources, as the study file names them."""
    axes = spec.get("axes") or {}
    return {axis: form["simplex"] for axis, form in axes.items() if isinstance(form, Mapping) and "simplex" in form}


def shot_families(metrics: Sequence[str]) -> list[tuple[str, ...]]:
    """`name/0`, `name/4`, `name/8` as far as there are two or more of them; that of the first metric first."""
    stems = dict.fromkeys(metric.rpartition("/")[0] for metric in metrics if metric.rpartition("/")[0])
    families = [tuple(f"{stem}/{shots}" for shots in SHOTS if f"{stem}/{shots}" in metrics) for stem in stems]
    return [family for family in families if len(family) > 1]


def mix_lessons(levels: Iterable[Any], *, sources: Sequence[str], text: bool, sft: bool) -> tuple[str, ...]:
    """What of MM1's Figure 5 these mixes can show; nothing where the sources are not known. `text`: whether texts are scored."""
    if not sources:
        return ()
    mixes = [read_shares(level, sources) for level in levels]

    def moves(source: str, *, without: str = "") -> bool:
        return len({mix[source] for mix in mixes if source in mix and not mix.get(without)}) > 1

    if sft:
        both = "interleaved" in sources and any(mix["interleaved"] for mix in mixes) and not all(mix["interleaved"] for mix in mixes)
        return ("sft_caption_only",) if both and "caption" in sources else ()
    found = []
    if {"caption", "interleaved"} <= set(sources) and _balance_moves(mixes):
        found += ["caption_share_0shot", "interleaved_fewshot", *(["interleaved_text"] if text else [])]
    if "text" in sources:
        found += ["text_with_caption"] if "caption" in sources and moves("text", without="interleaved") else []
        found += ["text_with_interleaved"] if "interleaved" in sources and moves("text", without="caption") else []
    if any("vecap" in source.lower() and moves(source) for source in sources):
        found.append("vecap_fewshot")
    return tuple(found)


def _balance_moves(mixes: Iterable[Mapping[str, float]]) -> bool:
    """Whether captions against interleaved documents change, beside what texts take from both."""
    pairs = [(mix["caption"], mix["caption"] + mix["interleaved"]) for mix in mixes]
    return len({round(caption / images, 9) for caption, images in pairs if images}) > 1


def _text_scores(metrics: Sequence[str]) -> tuple[str, ...]:
    return tuple(metric for metric in metrics if metric.lower() in TEXT_SCORES)


def _pretrained(roles: Mapping[Role, Sequence[str]], metrics: Sequence[str]) -> list[LessonPlot]:
    found = []
    resolution = roles.get("resolution", [])[:1]
    encoder, connector = [*roles.get("encoder", []), *resolution], [*roles.get("connector", [])[:1], *roles.get("tokens", [])[:1]]
    for family in shot_families(metrics):
        if encoder:
            found.append(LessonPlot("encoder_table", tuple(encoder), family, _encoder_lessons(encoder)))
        if connector:
            axes = (*connector, *resolution)
            known = {"connector": "connector_type", "tokens": "connector_tokens", "resolution": "connector_res"}
            lessons = tuple(known[str(role_of(axis))] for axis in axes)
            found.append(LessonPlot("connector_bars", axes, family, lessons))
    return found


def _encoder_lessons(axes: Sequence[str]) -> tuple[str, ...]:
    found = []
    for axis in axes:
        last = axis.split(".")[-1]
        if role_of(axis) == "resolution":
            found.append("encoder_resolution")
        elif last in _SIZES:
            found.append("encoder_size")
        elif "data" in axis.split(".") or last == _SYNTHETIC:
            found.append("encoder_vecap")
    return tuple(dict.fromkeys(found))


def _after_sft(roles: Mapping[Role, Sequence[str]], metrics: Sequence[str]) -> list[LessonPlot]:
    if not metrics:
        return []
    shown = tuple(metrics)
    found = [LessonPlot("sft_curve", (axis,), shown, ("sft_resolution",)) for axis in roles.get("resolution", [])]
    found += [LessonPlot("sft_curve", (axis,), shown, ("sft_pretraining",)) for axis in roles.get("steps", [])]
    return found + [LessonPlot("sft_connectors", (axis,), shown, ("sft_connector",)) for axis in roles.get("connector", [])]

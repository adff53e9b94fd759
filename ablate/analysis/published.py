"""Published laws for the learning rate as data, and what they say of a model: outside its range a law warns, nonsense is refused.

Only what was read stands here; the rest is "not known". Formulas with a batch have it in tokens a step.
"""

from collections.abc import Iterator, Mapping
from math import log

from ablate.analysis.laws import (
    SYMBOLS,
    WEIGHT_DECAY_RATIO,
    Definitions,
    LogLinear,
    PowerLaw,
    Prediction,
    PublishedLaw,
    Quantity,
    Range,
    Recipe,
    decades_outside,
    decay_for,
    extrapolation_notes,
    positive,
    quantity_label,
    range_label,
    unread_notes,
)
from ablate.analysis.published_losses import PublishedLoss
from ablate.errors import InputError, did_you_mean

MM1 = PublishedLaw(
    name="mm1",
    formula="eta = exp(-0.4214 ln N - 0.5535), lambda = 0.1 eta",
    rate=PowerLaw(-0.5535, {"n_params": -0.4214}),
    definitions=Definitions(
        n_params="non-embedding parameters of the language model",
        counts="non_embedding",
        recipe=Recipe(warmup_fraction=2_000 / 200_000, batch_tokens=512 * 4096, tokens=200_000 * 512 * 4096),
        batch="fixed; 512 sequences of 4096 tokens in the final models",
        horizon="fixed; 200,000 steps in the final models",
        schedule="2,000 steps of warmup, then cosine to 10 % of the peak (secondary source)",
        weight_decay="lambda = 0.1 eta; whether per step or torch's AdamW is not said, so both are given",
        metric="average of downstream 8-shot scores; points are close-to-optimal runs",
    ),
    ranges={"n_params": (9e6, 1.2e9)},
    source="MM1, arXiv 2403.09611, equation 1 and figure 6",
    evidence="secondary (four copies)",
    weight_decay_ratio=WEIGHT_DECAY_RATIO,
    notes=("the points, the grid and the interval of the fit are not published",),
)

KAPLAN = PublishedLaw(
    name="kaplan",
    formula="eta = 0.003239 - 0.0001395 ln N",
    rate=LogLinear(0.003239, -0.0001395),
    definitions=Definitions(
        n_params="non-embedding parameters",
        counts="non_embedding",
        batch="not known",
        horizon="not known",
        schedule="not known",
        weight_decay="not known",
        metric="not known",
    ),
    # not the largest size of the fit, which is not known, but where its authors say that it ends
    ranges={"n_params": (None, 1e10)},
    source="Kaplan et al. 2020, arXiv 2001.08361, appendix D.1",
    evidence="primary",
    notes=("its authors say that it breaks above N = 1e10; from 1.21e10 on it is negative",),
)

DEEPSEEK = PublishedLaw(
    name="deepseek",
    formula="eta = 0.3118 C^-0.1250; B = 0.2920 C^0.3271",
    rate=PowerLaw(log(0.3118), {"compute": -0.1250}),
    batch=PowerLaw(log(0.2920), {"compute": 0.3271}),
    definitions=Definitions(
        n_params="not read; M, non-embedding FLOPs a token, is there instead",
        compute="M D FLOPs, M = 72 n_layer d² + 12 n_layer d l_seq, embeddings left out",
        batch="scaled with C, by the law of B",
        horizon="not known; what it finds best is D_opt = 5.8316 C^0.4757 tokens",
        schedule="not known",
        weight_decay="not known",
        metric="loss; points are runs within 0.25 % of the best",
    ),
    ranges={"compute": (1e17, 2e19)},
    source="DeepSeek LLM, arXiv 2401.02954",
    evidence="primary for the rate, secondary for the batch and D_opt",
    six_nd="its own C is M D: 6 N, N without embeddings, leaves out the attention in M, 12 n_layer d l_seq",
    notes=("copies that print 0.3188 or 0.3318 for 0.3118 have typos",),
)

STEP_LAW = PublishedLaw(
    name="step_law",
    formula="eta = 1.79 N^-0.713 D^0.307; B = 0.58 D^0.571",
    rate=PowerLaw(log(1.79), {"n_params": -0.713, "tokens": 0.307}),
    batch=PowerLaw(log(0.58), {"tokens": 0.571}),
    definitions=Definitions(
        n_params="non-embedding parameters",
        counts="non_embedding",
        tokens="training tokens",
        batch="optimised together with the rate",
        horizon="varied: 4B to 100B tokens",
        schedule="final rate fixed at 1e-5; the rest not known",
        weight_decay="not known",
        metric="loss",
    ),
    ranges={"n_params": (215e6, 1.07e9), "tokens": (4e9, 100e9)},
    source="Step Law, arXiv 2503.04715",
    evidence="primary (the authors' repositories, and a refit of 1,911 of their runs)",
    notes=(
        "N without embeddings: counting them changes the constants",
        "1,000 bootstrap fits of its authors: N^-0.774 to N^-0.655, D^0.271 to D^0.345, batch D^0.534 to D^0.606",
        "the rate rises with D because the batch rises too: at a fixed batch a refit of their runs has D^0.05 ± 0.03",
    ),
)

BJORCK = PublishedLaw(
    name="bjorck",
    formula="eta = 1.55e-3 (N/1e9)^-0.23 (D/1e9)^-0.32",
    rate=PowerLaw(log(1.55e-3), {"n_params": -0.23, "tokens": -0.32}, unit=1e9),
    definitions=Definitions(
        n_params="parameters; which of them is not known",
        tokens="training tokens",
        batch="fixed; 0.5M tokens",
        horizon="varied; the range is not known",
        schedule="not known",
        weight_decay="not known",
        metric="not known",
    ),
    ranges={"n_params": (760e6, None)},
    source="Bjorck et al. 2024, arXiv 2409.19913",
    evidence="primary for the exponent of D, secondary for the constant; not recorded for the exponent of N",
    notes=(
        "N and D in billions: the constant 1.3192e-5 in Step Law's table is a slip of units, with which rates come out as 3e-11",
        "at a fixed batch of 0.5M tokens: laws that scale the batch with D can have the rate rise with D",
    ),
)

PORIAN = PublishedLaw(
    name="porian",
    formula="eta = 3.7 N^-0.36; B = 0.00037 N^0.703 sequences of 2048 tokens",
    rate=PowerLaw(log(3.7), {"n_params": -0.36}),
    batch=PowerLaw(log(0.00037 * 2048), {"n_params": 0.703}),
    definitions=Definitions(
        n_params="parameters with the output head",
        counts="with_head",
        batch="scaled with N, by the law of B",
        horizon="D of about 20 N tokens",
        schedule="not known",
        weight_decay="not known",
        metric="not known",
    ),
    ranges={},
    source="Porian et al. 2024, arXiv 2406.19146",
    evidence="secondary (two copies)",
    notes=("for D of about 20 N",),
)

MOONLIGHT = PublishedLaw(
    name="moonlight",
    formula="eta = 0.0127 C^-0.057; B = 0.0065 C^0.4138",
    rate=PowerLaw(log(0.0127), {"compute": -0.057}),
    batch=PowerLaw(log(0.0065), {"compute": 0.4138}),
    definitions=Definitions(
        n_params="not read; which parameters 6 N D counts is not known",
        compute="6 N D FLOPs; which parameters N counts is not known",
        batch="scaled with C, by the law of B",
        horizon="not known",
        schedule="cosine",
        weight_decay="not known",
        metric="not known",
    ),
    ranges={},
    source="Moonlight, arXiv 2502.16982",
    evidence="secondary (one copy)",
)

INTERNLM = PublishedLaw(
    name="internlm",
    formula="eta = 38.4588 N^-0.2219 D^-0.3509",
    rate=PowerLaw(log(38.4588), {"n_params": -0.2219, "tokens": -0.3509}),
    definitions=Definitions(
        n_params="parameters; which of them is not known",
        tokens="training tokens",
        batch="not known",
        horizon="varied; the range is not known",
        schedule="not known",
        weight_decay="not known",
        metric="not known",
    ),
    ranges={},
    source="Zhou et al. 2026 (InternLM), arXiv 2601.05049",
    evidence="secondary (two copies)",
    notes=("its authors claim that it beats muTransfer at scale",),
)

PUBLISHED: dict[str, PublishedLaw] = {law.name: law for law in (MM1, KAPLAN, DEEPSEEK, STEP_LAW, BJORCK, PORIAN, MOONLIGHT, INTERNLM)}


def published_law(name: str) -> PublishedLaw:
    if name not in PUBLISHED:
        raise InputError(f"no published law '{name}' ({', '.join(PUBLISHED)}){did_you_mean(name, PUBLISHED)}")
    return PUBLISHED[name]


def predict(name: str, n_params: float | None = None, *, tokens: float | None = None, compute: float | None = None) -> Prediction:
    """What a published law says of a model; parameters, tokens and FLOPs are counted as that law counts them."""
    law = published_law(name)
    asked = _counts({"n_params": n_params, "tokens": tokens, "compute": compute})
    given = asked | _six_nd(law, asked)
    lr = law.lr(**given)
    decades = {quantity: decades_outside(given[quantity], law.range_of(quantity)) for quantity in law.reads}
    outside = [far for far in decades.values() if far]
    return Prediction(
        n_params=given.get("n_params"),
        lr=lr,
        interval=None,
        level=None,
        kind=None,
        extrapolation_decades=max(outside) if outside else None if None in decades.values() else 0.0,
        regret=None,
        weight_decay=None if law.weight_decay_ratio is None else decay_for(lr, ratio=law.weight_decay_ratio),
        notes=(*_range_notes(law, decades), *_input_notes(law, asked, given), *_law_notes(law)),
        tokens=given.get("tokens"),
        compute=given.get("compute"),
        batch_tokens=None if law.batch is None else law.batch.at(given),
    )


def ranges_label(law: PublishedLaw | PublishedLoss) -> str:
    """N 215M to 1.07B, D 4B to 100B."""
    # a half-known range has a comma of its own
    parts = [f"{SYMBOLS[quantity]} {range_label(law.range_of(quantity), quantity=quantity)}" for quantity in law.reads]
    return ("; " if any("," in part for part in parts) else ", ").join(parts)


def usable_rate(law: PublishedLaw, n_params: float, *, tokens: float | None = None) -> float | None:
    """The rate of such a model, C being 6 N D; None where the law gives none above 0. Raises InputError without all that the law reads."""
    compute = None if tokens is None or "compute" not in law.reads else 6 * n_params * tokens
    if isinstance(law.rate, LogLinear) and n_params >= law.rate.end:
        return None
    return law.lr(n_params, tokens=tokens, compute=compute)


def sizes_in_range(law: PublishedLaw, *, tokens: float | None = None) -> Range | None:
    """Sizes between which all that the law reads is inside its range, C being 6 N D; None where there are none."""
    if "tokens" in law.reads and tokens is not None and decades_outside(tokens, law.range_of("tokens")):
        return None
    low, high = law.n_range
    if "compute" in law.reads and tokens is not None:
        low, high = (None if end is None else end / (6 * tokens) for end in law.range_of("compute"))
    unknown = "tokens" in law.reads and None in law.range_of("tokens")
    return (None, None) if unknown else (low, high)


def _counts(asked: Mapping[Quantity, float | None]) -> dict[Quantity, float]:
    """As floats, so that 6 N D cannot overflow; what is no count is refused all at once."""
    found: dict[Quantity, float] = {}
    wrong: list[str] = []
    for quantity, value in asked.items():
        if value is None:
            continue
        try:
            found[quantity] = positive(value, what=quantity)
        except InputError as error:
            wrong.append(str(error))
        else:
            if found[quantity] < 1:
                wrong.append(f"{quantity}: {value} is less than one")
    if wrong:
        raise InputError("\n".join(wrong))
    return found


def _six_nd(law: PublishedLaw, asked: Mapping[Quantity, float]) -> dict[Quantity, float]:
    if "compute" not in law.reads or "compute" in asked or not {"n_params", "tokens"} <= asked.keys():
        return {}
    return {"compute": positive(6 * asked["n_params"] * asked["tokens"], what="compute, 6 N D")}


def _range_notes(law: PublishedLaw, decades: Mapping[Quantity, float | None]) -> Iterator[str]:
    for quantity, far in decades.items():
        # a law of one quantity needs no word for it
        of = f"{SYMBOLS[quantity]} " if len(decades) > 1 else ""
        fitted = law.range_of(quantity)
        yield from (of + note for note in extrapolation_notes(far, fitted, quantity=quantity))
        if far is None:
            yield f"range in {SYMBOLS[quantity]}: {range_label(fitted, quantity=quantity)}"


def _input_notes(law: PublishedLaw, asked: Mapping[Quantity, float], given: Mapping[Quantity, float]) -> Iterator[str]:
    for quantity in law.reads:
        yield f"{SYMBOLS[quantity]} counts {getattr(law.definitions, quantity)}"
    if "compute" in given and "compute" not in asked:
        compute = quantity_label(given["compute"], quantity="compute")
        yield f"C = 6 N D = {compute} FLOPs" + (f"; {law.six_nd}" if law.six_nd else "")
    else:
        yield from unread_notes(asked, reads=law.reads)


def _law_notes(law: PublishedLaw) -> Iterator[str]:
    if law.weight_decay_ratio is None:
        yield "no weight decay: this law states none"
    yield from law.notes
    yield f"evidence: {law.evidence}"

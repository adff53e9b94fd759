"""An answer and the ten that people gave to the accuracy of VQA (Antol et al. 2015, arXiv 1505.00468) and VQAv2 (Goyal et al. 2017,
arXiv 1612.00837).

Both sides are normalised as visualqa.org/evaluation.html says and the benchmark's toolkit does (github.com/GT-Vision-Lab/VQA,
vqaEval.py, commit a013f00). One difference: where all ten people wrote the same, the toolkit leaves both sides as they are, so that
"Yes" is wrong if everybody wrote "yes"; here answers are always normalised.
"""

import re
from collections.abc import Sequence

NUM_ANSWERS = 10
AGREEING = 3
"""So many people with the same answer make it wholly right."""

_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_COMMA_IN_NUMBER = re.compile(r"\d,\d")
_PERIOD = re.compile(r"\.(?!\d)")
_NUMBERS = {"none": "0"} | {
    word: str(number) for number, word in enumerate(("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"))
}
_ARTICLES = {"a", "an", "the"}
_CONTRACTED = """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've he's how'd
    how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't not've o'clock oughtn't
    'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've
    someone'll someone's something'd something'd've something'll that's there'd there'd've there're there's they'd they'd've
    they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's what've when's where'd where's where've
    who'd who'd've who'll who's who've why'll why're why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd
    you'd've you'll you're you've
""".split()


def _less_one_apostrophe(word: str) -> list[str]:
    return [word[:at] + word[at + 1 :] for at, letter in enumerate(word) if letter == "'"]


_CONTRACTIONS = {written: word for word in _CONTRACTED for written in _less_one_apostrophe(word)}
"""A contraction that lacks one apostrophe, to the whole one."""


def vqa_accuracy(answer: str, *, human_answers: Sequence[str]) -> float:
    """0 to 1: min(people who gave this answer / 3, 1), averaged over the ten sets of nine people. Raises ValueError without ten."""
    if len(human_answers) != NUM_ANSWERS:
        raise ValueError(f"found {len(human_answers)} human answers; the accuracy of VQA is defined over {NUM_ANSWERS}")
    said = normalise(answer)
    agrees = [normalise(human) == said for human in human_answers]
    return sum(min((sum(agrees) - left_out) / AGREEING, 1.0) for left_out in agrees) / NUM_ANSWERS


def normalise(answer: str) -> str:
    """Lower case, without punctuation and articles, numbers up to ten as digits, contractions with their apostrophe."""
    written = " ".join(answer.split())
    # marks beside a space, and all marks of an answer with 1,000 in it, go without leaving a space
    closes_up = _COMMA_IN_NUMBER.search(written) is not None
    text = written
    for mark in _PUNCTUATION:
        text = text.replace(mark, "" if closes_up or f"{mark} " in written or f" {mark}" in written else " ")
    words = (_NUMBERS.get(word, word) for word in _PERIOD.sub("", text).lower().split())
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)

"""The 25 tokens of the tiny world. Plain integers: there is no tokenizer because there is no text outside."""

NUM_DIGITS = 10
DIGIT = 0
"""First of the ten digits: what captions and answers are made of."""
NUM_WORDS = 8
WORD = NUM_DIGITS
"""First of the eight nonce words: labels and keys that mean nothing outside their document."""
NUM_PLACES = 4
PLACE = WORD + NUM_WORDS
"""First of the four places of a scene: top left, top right, bottom left, bottom right."""
CAPTION = PLACE + NUM_PLACES
"""A caption follows."""
QUESTION = CAPTION + 1
"""A place and the digit there follow."""
IMAGE = QUESTION + 1
"""Placeholder of one visual token."""
SIZE = IMAGE + 1
NO_TARGET = -100
"""Target of a token whose successor is not learnt; what torch's cross entropy ignores."""

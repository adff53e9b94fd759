"""Ridge regression of several outputs on the same rows, its penalty by leaving each row out in closed form.

Features come in two blocks: main effects, and products of them, of which only what the main effects do not explain is fitted, so that a
penalty takes nothing from a main effect for the sake of an interaction. Outputs of one group share a penalty, and whether they have
interactions at all; both by the error of rows left out (Golub, Heath and Wahba 1979, Technometrics 21: 215, equation 1.2).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]
PENALTIES = np.logspace(-9, 1, 21)
"""In units of the largest squared singular value."""
SAME = 1e-9
"""Of a column's size: what is left of it that is less than this is rounding."""


class Ridge(NamedTuple):
    intercept: Array
    """[outputs]"""
    coefficients: Array
    """[main effects, then products; outputs]"""
    freedom: Array
    """[outputs]: degrees of freedom taken, the intercept's among them."""

    def predict(self, mains: Array, products: Array) -> Array:
        """[rows, main effects], [rows, products] -> [rows, outputs]"""
        return self.intercept + np.hstack([mains, products]) @ self.coefficients


class _Candidate(NamedTuple):
    """One block of features and one penalty."""

    fitted: Array
    """[features, outputs], of centred features."""
    errors: Array
    """[outputs]: mean square of the rows left out."""
    freedom: float


def fit_ridge(mains: Array, products: Array, values: Array, *, groups: Sequence[str]) -> Ridge:
    """[rows, main effects], [rows, products], [rows, outputs]; `groups`: of each output. One row will do."""
    left, explained = _unexplained(mains, products)
    means, size = values.mean(axis=0), mains.shape[1] + products.shape[1]
    spread = np.where((variance := values.var(axis=0)) > 0, variance, 1.0)
    intercept, coefficients, freedom = means.copy(), np.zeros((size, values.shape[1])), np.ones(values.shape[1])
    blocks = [mains, np.hstack([mains, left])] if left.any() else [mains]
    candidates = [(block, candidate) for block in blocks for candidate in _candidates(block, values - means)]
    names = np.array(groups)
    for group in dict.fromkeys(groups):
        mine = names == group
        block, best = min(candidates, key=lambda pair: float((pair[1].errors[mine] / spread[mine]).sum()))
        fitted = np.zeros((size, int(mine.sum())))
        fitted[: block.shape[1]] = best.fitted[:, mine]
        here = means[mine] - block.mean(axis=0) @ best.fitted[:, mine]
        moved = explained @ fitted[mains.shape[1] :]  # products as they are, not what main effects leave of them
        fitted[: mains.shape[1]] -= moved[1:]
        intercept[mine], coefficients[:, mine], freedom[mine] = here - moved[0], fitted, best.freedom
    return Ridge(intercept, coefficients, freedom)


def tells_apart(first: Array, second: Array, products: Array) -> bool:
    """Whether rows with these features of two inputs tell their products from their main effects."""
    left, _ = _unexplained(np.hstack([first, second]), products)
    return bool(left.any())


def _unexplained(mains: Array, products: Array) -> tuple[Array, Array]:
    """What [1, main effects] leave of the products, with nothing where that is rounding, and how they explain the rest."""
    known = np.hstack([np.ones((len(mains), 1)), mains])
    explained: Array = np.asarray(np.linalg.lstsq(known, products, rcond=None)[0], dtype=float)
    left: Array = products - known @ explained
    size = np.abs(products).max(axis=0, initial=0.0)
    nothing = np.abs(left).max(axis=0, initial=0.0) <= 1e3 * SAME * np.where(size > 0, size, 1.0)
    left[:, nothing] = 0.0
    explained[:, nothing] = 0.0
    return left, explained


def _candidates(block: Array, values: Array) -> list[_Candidate]:
    """`values` have mean 0."""
    rows = len(block)
    u, s, vt = np.linalg.svd(block - block.mean(axis=0), full_matrices=False)
    largest = s[0] ** 2 if len(s) and s[0] > 0 else 1.0
    along, found = u.T @ values, []
    for penalty in largest * PENALTIES:
        kept = s**2 / (s**2 + penalty)
        own = 1 / rows + (u**2) @ kept
        left_out = (values - u @ (kept[:, None] * along)) / np.maximum(1 - own, SAME)[:, None]
        fitted = vt.T @ ((s / (s**2 + penalty))[:, None] * along)
        found.append(_Candidate(fitted, (left_out**2).mean(axis=0), 1 + float(kept.sum())))
    return found

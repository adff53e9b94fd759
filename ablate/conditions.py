"""A `where:` text becomes a condition on one cell of a design, through a parser and a short list of what it may hold.

Names are fields of the trainer's config and properties its models declare, such as `encoder.num_patches`; the rest is numbers, text,
`+ - * / // %`, comparisons (chained too), `and`, `or`, `not`, and `in` with a list. Nothing is evaluated by Python.
"""

import ast
import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from ablate.errors import did_you_mean
from ablate.marked_yaml import shown, visible

MAX_LENGTH = 2000
MAX_DEPTH = 30

Value = bool | int | float | str | tuple[Any, ...]
Lookup = Callable[[str], Value]
"""Gives the value of a dotted name in one cell. Raises Unknown where the cell has none."""
Evaluate = Callable[[Lookup], Value]


class Unknown(LookupError):
    """A name that has no value in this cell: its part of the config does not validate."""


class ConditionError(ValueError):
    """A condition that cannot be read or evaluated; `faults` are (column from 1, message)."""

    def __init__(self, *faults: tuple[int, str]) -> None:
        self.faults = faults
        super().__init__("; ".join(f"column {column}: {message}" for column, message in faults))


@dataclass(frozen=True)
class Condition:
    text: str
    names: tuple[str, ...]
    """Dotted names it reads, in order."""
    evaluate: Evaluate = field(repr=False, compare=False)

    def holds(self, lookup: Lookup) -> bool:
        """Whether the cell stays. Raises ConditionError where types do not go together, Unknown where a name has no value."""
        return _boolean(self.evaluate(lookup), column=1)


def parse_condition(text: str, *, names: Iterable[str] | None, open_names: Iterable[str] = ()) -> Condition:
    """Reads one condition. Under `open_names` (mappings with free keys) any further name will do; without `names` every name will."""
    if len(text) > MAX_LENGTH:
        raise ConditionError((1, f"a condition of {len(text):,} characters is too long, the limit is {MAX_LENGTH:,}"))
    stripped = text.strip()
    if not stripped:
        raise ConditionError((1, "the condition is empty; write one such as `connector.num_tokens <= encoder.num_patches`"))
    lead = text.index(stripped)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            tree = ast.parse(stripped, mode="eval")
    except SyntaxError as error:
        raise ConditionError((lead + (error.offset or len(stripped) + 1), f"cannot be read: {visible(error.msg)}")) from None
    except (RecursionError, MemoryError, ValueError):
        raise ConditionError((1, "cannot be read: nested too deeply, or an invisible character")) from None
    known = None if names is None else frozenset(names)
    compiler = _Compiler(stripped, lead, known, tuple(f"{name}." for name in open_names))
    evaluate = compiler.compile(tree.body, depth=0)
    if compiler.faults:
        raise ConditionError(*compiler.faults)
    return Condition(text, tuple(dict.fromkeys(compiler.used)), evaluate)


def chosen(name: str, kind: str) -> Condition:
    """The condition that a name has this value, without a text to parse."""

    def holds(lookup: Lookup) -> Value:
        value = lookup(name)
        return (value.value if isinstance(value, Enum) else value) == kind

    return Condition(f"{name} == '{kind}'", (name,), holds)


@dataclass
class _Compiler:
    """Turns the allowed nodes into closures, and notes the column of everything else."""

    text: str
    lead: int
    names: frozenset[str] | None
    open_names: tuple[str, ...]
    used: list[str] = field(default_factory=list)
    faults: list[tuple[int, str]] = field(default_factory=list)

    def compile(self, node: ast.expr, *, depth: int) -> Evaluate:
        column = self._column(node)
        if depth > MAX_DEPTH:
            return self._refuse(column, f"nested deeper than {MAX_DEPTH}")
        match node:
            case ast.Constant(value=float() as constant) if not math.isfinite(constant):
                return self._refuse(column, "not a finite number")
            case ast.Constant(value=bool() | int() | float() | str() as constant):
                return lambda _: constant
            case ast.Name() | ast.Attribute():
                return self._name(node, column)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                return self._arithmetic(op, self.compile(left, depth=depth + 1), self.compile(right, depth=depth + 1), column)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
                inner, factor = self.compile(operand, depth=depth + 1), -1 if isinstance(sign, ast.USub) else 1
                return lambda lookup: factor * _number(inner(lookup), column)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                inner = self.compile(operand, depth=depth + 1)
                return lambda lookup: not _boolean(inner(lookup), column=column)
            case ast.BoolOp(op=op, values=values):
                parts = [(self.compile(value, depth=depth + 1), self._column(value)) for value in values]
                until = isinstance(op, ast.Or)
                return lambda lookup: _any_or_all(parts, lookup, until=until)
            case ast.Compare():
                return self._compare(node, depth=depth)
            case ast.List(elts=elements) | ast.Tuple(elts=elements):
                items = [self.compile(element, depth=depth + 1) for element in elements]
                return lambda lookup: tuple(item(lookup) for item in items)
        return self._refuse(column, f"not allowed in where: {_called(node)}")

    def _name(self, node: ast.Name | ast.Attribute, column: int) -> Evaluate:
        name = _dotted(node)
        if name is None:
            return self._refuse(column, "not allowed in where: attribute of a value")
        if name in ("true", "false", "True", "False"):
            return lambda _: name in ("true", "True")
        if self.names is not None and name not in self.names and not name.startswith(self.open_names or ("\0",)):
            inside = sorted(known for known in self.names if known.startswith(f"{name}."))
            if inside:
                return self._refuse(column, f"'{name}' is a group; name one of {', '.join(inside)}")
            close = did_you_mean(name, self.names)
            top = ", ".join(sorted({known.partition(".")[0] for known in self.names}))
            return self._refuse(column, f"unknown name '{visible(name)}'{close or f' (names start with {top})'}")
        self.used.append(name)

        def look(lookup: Lookup) -> Value:
            value = lookup(name)
            return value.value if isinstance(value, Enum) else value

        return look

    def _arithmetic(self, op: ast.operator, left: Evaluate, right: Evaluate, column: int) -> Evaluate:
        operate = _ARITHMETIC[type(op)]

        def calculate(lookup: Lookup) -> Value:
            try:
                found = operate(_number(left(lookup), column), _number(right(lookup), column))
            except ZeroDivisionError:
                raise ConditionError((column, "division by zero")) from None
            except OverflowError:
                found = math.inf
            if isinstance(found, float) and not math.isfinite(found):
                raise ConditionError((column, "the number is too large"))
            return found

        return calculate

    def _compare(self, node: ast.Compare, *, depth: int) -> Evaluate:
        nodes = [node.left, *node.comparators]
        sides = [(self.compile(side, depth=depth + 1), self._column(side)) for side in nodes]
        for op in node.ops:
            if type(op) not in _COMPARISONS:
                self._refuse(self._column(node), "not allowed in where: is (write == or !=)")
        comparisons = [_COMPARISONS.get(type(op), _equal) for op in node.ops]

        def compare(lookup: Lookup) -> Value:
            left = sides[0][0](lookup)
            for (side, column), comparison in zip(sides[1:], comparisons, strict=True):
                right = side(lookup)
                try:
                    if not comparison(left, right):
                        return False
                except TypeError as error:
                    raise ConditionError((column, str(error))) from None
                left = right
            return True

        return compare

    def _column(self, node: ast.expr) -> int:
        if node.lineno > 1:
            return 1
        return self.lead + len(self.text.encode()[: node.col_offset].decode()) + 1

    def _refuse(self, column: int, message: str) -> Evaluate:
        self.faults.append((column, message))
        return lambda _: False


def _dotted(node: ast.expr) -> str | None:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attribute):
            inner = _dotted(value)
            return None if inner is None else f"{inner}.{attribute}"
    return None


def _called(node: ast.expr) -> str:
    """What a person calls the construct: `call`, `lambda`, `f-string`, `power`."""
    match node:
        case ast.JoinedStr():
            return "f-string"
        case ast.BinOp(op=ast.Pow()):
            return "power (**)"
        case ast.IfExp():
            return "if else"
        case ast.NamedExpr():
            return "assignment"
        case ast.Constant(value=value):
            return visible(str(value))
    words = "".join(f" {char.lower()}" if char.isupper() else char for char in type(node).__name__)
    return words.strip()


def _kind(value: Value) -> str:
    match value:
        case bool():
            return "true or false"
        case int() | float():
            return "number"
        case str():
            return "text"
    return "list"


def _number(value: Value, column: int) -> int | float:
    if _kind(value) != "number" or not isinstance(value, int | float):
        raise ConditionError((column, f"arithmetic needs numbers, found {shown(value)}"))
    return value


def _boolean(value: Value, *, column: int) -> bool:
    if not isinstance(value, bool):
        raise ConditionError((column, f"expected something true or false, such as a comparison; found {shown(value)}"))
    return value


def _any_or_all(parts: Iterable[tuple[Evaluate, int]], lookup: Lookup, *, until: bool) -> bool:
    return until if any(_boolean(part(lookup), column=column) is until for part, column in parts) else not until


def _same_kind(left: Value, right: Value) -> None:
    if _kind(left) != _kind(right):
        raise TypeError(f"compares {_kind(left)} with {_kind(right)}: {shown(left)} with {shown(right)}")


def _equal(left: Value, right: Value) -> bool:
    _same_kind(left, right)
    return left == right


def _ordered(operate: Callable[[Any, Any], bool]) -> Callable[[Value, Value], bool]:
    def compare(left: Value, right: Value) -> bool:
        _same_kind(left, right)
        if _kind(left) != "number":
            raise TypeError(f"< and > order numbers, found {shown(left)}")
        return operate(left, right)

    return compare


def _in(left: Value, right: Value) -> bool:
    if not isinstance(right, tuple):
        raise TypeError(f"`in` needs a list such as [4, 16], found {shown(right)}")
    return any([_equal(left, item) for item in right])


_ARITHMETIC: Mapping[type[ast.operator], Callable[[Any, Any], int | float]] = {
    ast.Add: lambda left, right: left + right,
    ast.Sub: lambda left, right: left - right,
    ast.Mult: lambda left, right: left * right,
    ast.Div: lambda left, right: left / right,
    ast.FloorDiv: lambda left, right: left // right,
    ast.Mod: lambda left, right: left % right,
}
_COMPARISONS: Mapping[type[ast.cmpop], Callable[[Value, Value], bool]] = {
    ast.Lt: _ordered(lambda left, right: left < right),
    ast.LtE: _ordered(lambda left, right: left <= right),
    ast.Gt: _ordered(lambda left, right: left > right),
    ast.GtE: _ordered(lambda left, right: left >= right),
    ast.Eq: _equal,
    ast.NotEq: lambda left, right: not _equal(left, right),
    ast.In: _in,
    ast.NotIn: lambda left, right: not _in(left, right),
}

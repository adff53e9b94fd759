"""Addresses of the pages: names and the chosen view become a path and a query, and back."""

from collections.abc import Mapping, Sequence
from urllib.parse import parse_qs, quote, unquote

MAX_LENGTH = 4000

Query = Mapping[str, Sequence[str]]


def href(*parts: str) -> str:
    return "/" + "/".join(quote(part, safe="") for part in parts)


def read_path(path: str) -> list[str]:
    return [unquote(part) for part in path.strip("/").split("/")]


def read_query(search: object) -> Query:
    """Nothing at all where it is no query."""
    if not isinstance(search, str) or len(search) > MAX_LENGTH:
        return {}
    return parse_qs(search.removeprefix("?"), max_num_fields=50)


def choice(query: Query, key: str, *, allowed: Sequence[str], default: str) -> str:
    """What the query says where it is allowed; else the default."""
    wanted = query.get(key, [default])[0]
    return wanted if wanted in allowed else default


def choices(query: Query, key: str, *, allowed: Sequence[str], default: Sequence[str]) -> list[str]:
    wanted = [value for value in query.get(key, []) if value in allowed]
    return wanted or list(default)

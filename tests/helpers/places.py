"""Where a JSON value can be changed."""

from typing import Any


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container in a value with each of its keys."""
    if not isinstance(value, dict | list):
        return []
    keys: list[Any] = list(value if isinstance(value, dict) else range(len(value)))
    return [(value, k) for k in keys] + [p for k in keys for p in places(value[k])]

"""Why there is no answer: problem JSON (RFC 9457) of plain words."""

import http
import json
import math
from typing import Any

from fastapi import Response


class Problem(Exception):
    """A request that gets no answer. `detail` is for whoever sent it."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None):
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers or {}


def later(status: int, detail: str, seconds: float = 1.0) -> Problem:
    """A refusal that need not last: clients may ask again after so long."""
    return Problem(status, detail, {"retry-after": str(max(1, math.ceil(seconds)))})


def response(problem: Problem) -> Response:
    """The problem as an answer."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": http.HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
    }
    return Response(
        json.dumps(body),
        problem.status,
        headers=problem.headers,
        media_type="application/problem+json",
    )

"""The endpoints. Their words are `schema`'s; what they do is `service`'s."""

import asyncio
import contextlib
import importlib.util
import logging
import secrets
import time
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Annotated, Any

import pydantic
from fastapi import Depends, FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import RedirectResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from unires_jax import __version__
from unires_jax.serving.api import intake, metrics, problems
from unires_jax.serving.api.problems import Problem
from unires_jax.serving.api.schema import (
    EncodeAnswer,
    EncodeRequest,
    Health,
    ModelAnswer,
    ProblemAnswer,
    SegmentAnswer,
    SegmentRequest,
)
from unires_jax.serving.api.service import Service

GONE = 499  # the client went away; nobody reads it, the metrics count it
DESCRIPTION = (
    "Masks for sentences about pictures. A picture is sent with its sentences, or "
    "encoded once and asked about by its key."
)
WHY = {
    401: "The token is missing or wrong.",
    404: "No picture is kept under this key.",
    408: "The request did not arrive in time.",
    413: "The request or its picture is too large.",
    415: "The body is neither JSON nor a form.",
    422: "The request, its picture or a sentence cannot be used.",
    429: "Too many requests are in the server: ask again after Retry-After seconds.",
    503: "The server starts or ends, or holds too much: ask again later.",
}

log = logging.getLogger(__name__)


def make_app(service: Service) -> FastAPI:
    """The application, which starts and closes the service with itself."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        await asyncio.to_thread(service.close)

    app = FastAPI(
        title="UniRES",
        description=DESCRIPTION,
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(Metered, service=service)
    _add_problems(app)
    _add_questions(app, service)
    _add_reports(app, service)
    _add_docs(app)
    return app


class Metered:
    """ASGI: counts requests by path and status, and how long they take."""

    def __init__(self, app: Any, service: Service):
        self._app, self._service = app, service

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.monotonic(), 500

        async def noting(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            # Of a path that is none of ours, and may be anything, no name is kept.
            path = getattr(scope.get("route"), "path", "other")
            count = self._service.metrics
            count.requests.add(path=path, status=str(status))
            count.seconds.add(time.monotonic() - start, path=path)


def _add_problems(app: FastAPI) -> None:
    @app.exception_handler(Problem)
    async def problem(_: Request, error: Problem) -> Response:
        return problems.response(error)

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> Response:
        words = {404: "there is no such endpoint; /docs lists them"}
        detail = words.get(error.status_code, str(error.detail))
        headers = dict(error.headers or {})
        return problems.response(Problem(error.status_code, detail, headers))

    @app.exception_handler(ClientDisconnect)
    async def gone(*_: Any) -> Response:
        return Response(status_code=GONE)

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> Response:
        return problems.response(
            Problem(500, "the server failed at this request; its log says why")
        )


def _add_questions(app: FastAPI, service: Service) -> None:
    bearer = HTTPBearer(auto_error=False, description="The token of `--token`.")

    async def authorized(
        given: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
    ) -> None:
        check_token(given.credentials if given else "", service.settings.token)

    @app.post(
        "/v1/segment",
        dependencies=[Depends(authorized)],
        openapi_extra=_body(SegmentRequest),
        responses=_answers(SegmentAnswer, *WHY),
    )
    async def segment(request: Request) -> Response:
        """Mark what sentences mean in a picture."""
        service.check_ready()
        with service.admission.enter(service.batcher.seconds_ahead) as take:
            asked, data = await intake.read(
                request, SegmentRequest, service.settings, take
            )
            answer = await while_connected(request, service.segment(asked, data))
        return Response(answer, media_type="application/json")

    @app.post(
        "/v1/encode",
        dependencies=[Depends(authorized)],
        openapi_extra=_body(EncodeRequest),
        responses=_answers(EncodeAnswer, *(x for x in WHY if x != 404)),
    )
    async def encode(request: Request) -> Response:
        """Look at a picture once, to ask about it by its key."""
        service.check_ready()
        with service.admission.enter(service.batcher.seconds_ahead) as take:
            _, data = await intake.read(request, EncodeRequest, service.settings, take)
            answer = await while_connected(request, service.encode(data))
        return Response(answer, media_type="application/json")

    @app.get(
        "/v1/model",
        dependencies=[Depends(authorized)],
        responses=_answers(ModelAnswer, 401),
    )
    async def model() -> Response:
        """The model that answers, and what this server takes."""
        return _json(service.about())

    @app.get(
        "/metrics",
        dependencies=[Depends(authorized)],
        response_class=Response,
        responses=_problems(401)
        | {200: {"content": {"text/plain": {}}, "description": "Metrics."}},
    )
    async def measured() -> Response:
        """Requests, seconds, batches and what is kept, for Prometheus."""
        numbers = service.metrics
        count, nbytes = service.pictures.holds()
        numbers.inside.set(service.admission.inside)
        numbers.pictures.set(count)
        numbers.nbytes.set(nbytes)
        return Response(numbers.text(), media_type=metrics.KIND)


def _add_reports(app: FastAPI, service: Service) -> None:
    @app.get(
        "/v1/health",
        responses=_answers(Health)
        | {503: {"model": Health, "description": "It starts or ends."}},
    )
    async def health() -> Response:
        """200 once requests are answered. Needs no token."""
        now = service.health()
        return _json(now, 200 if now.status == "ready" else 503)

    @app.get("/", include_in_schema=False)
    async def top() -> Response:
        return RedirectResponse("docs")


def _add_docs(app: FastAPI) -> None:
    """Swagger's page with scripts of our own host; FastAPI's would fetch them."""
    spec = importlib.util.find_spec("fastapi_offline")
    if spec is not None and spec.origin is not None:
        folder = Path(spec.origin).parent / "static"
        app.mount("/docs-files", StaticFiles(directory=folder), name="docs-files")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        if spec is None:  # nothing is fetched from elsewhere
            return RedirectResponse("openapi.json")
        return get_swagger_ui_html(
            openapi_url="openapi.json",
            title=app.title,
            swagger_js_url="docs-files/swagger-ui-bundle.js",
            swagger_css_url="docs-files/swagger-ui.css",
            swagger_favicon_url="data:,",
        )


def check_token(given: str, token: str) -> None:
    """Raise Problem 401 unless it is the token; how long that takes tells nothing."""
    said = given.encode("utf-8", "surrogateescape")
    if token and not secrets.compare_digest(said, token.encode()):
        raise Problem(
            401,
            "this server wants a token: Authorization: Bearer TOKEN",
            {"www-authenticate": "Bearer"},
        )


async def while_connected(request: Request, work: Coroutine[Any, Any, bytes]) -> bytes:
    """What the work gives; it is cancelled when the client goes away.

    Call it when the body is read. Raises ClientDisconnect.
    """
    working = asyncio.create_task(work)
    gone = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientDisconnect
    finally:
        working.cancel()
        gone.cancel()
        await asyncio.gather(working, gone, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _json(answer: pydantic.BaseModel, status: int = 200) -> Response:
    return Response(answer.model_dump_json(), status, media_type="application/json")


def _body(asked: type[EncodeRequest]) -> dict[str, Any]:
    """A request's body for OpenAPI: JSON, or the same as a form with a file."""
    schema = asked.model_json_schema()
    file = {"type": "string", "format": "binary", "description": "A picture's file."}
    form = {**schema, "properties": {**schema["properties"], "image": file}}
    content = {
        "application/json": {"schema": schema},
        "multipart/form-data": {"schema": form},
    }
    return {"requestBody": {"required": True, "content": content}}


def _answers(answer: type[pydantic.BaseModel], *statuses: int) -> dict[int | str, Any]:
    return {200: {"model": answer, "description": "The answer."}} | _problems(*statuses)


def _problems(*statuses: int) -> dict[int | str, Any]:
    kind = "application/problem+json"
    schema = {"$ref": f"#/components/schemas/{ProblemAnswer.__name__}"}
    return {
        status: {
            "model": ProblemAnswer,
            "description": WHY[status],
            "content": {kind: {"schema": schema}},
        }
        for status in statuses
    }

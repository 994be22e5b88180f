"""The page below a proxy's path: none of its links begins at the top."""

from typing import Any

ABSOLUTE, RELATIVE = b'href="/manifest.json"', b'href="manifest.json"'  # gradio's


class RelativeLinks:
    """ASGI: what gradio names from the top in its page is named from the page on."""

    def __init__(self, app: Any):
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        asked = (scope["type"], scope.get("path"), scope.get("method"))
        if asked != ("http", "/", "GET"):
            await self._app(scope, receive, send)
            return
        start: dict[str, Any] = {}
        body = bytearray()

        async def keep(message: Any) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
                return
            body.extend(message.get("body", b""))
            if not message.get("more_body"):
                text = bytes(body).replace(ABSOLUTE, RELATIVE)
                length = (b"content-length", str(len(text)).encode())
                await send(start | {"headers": [*_but(start, length[0]), length]})
                await send({"type": "http.response.body", "body": text})

        plain = {**scope, "headers": _but(scope, b"accept-encoding")}
        await self._app(plain, receive, keep)


def _but(message: Any, name: bytes) -> list[tuple[bytes, bytes]]:
    """The headers without one."""
    return [(key, value) for key, value in message["headers"] if key.lower() != name]

"""The server's process: uvicorn, which ends with the service and by signals."""

import socket

import uvicorn

from unires_jax.serving.api.app import make_app
from unires_jax.serving.api.service import Service
from unires_jax.serving.api.settings import Settings
from unires_jax.serving.predictor import Predictor


def make_server(service: Service, *, access_log: bool = False) -> uvicorn.Server:
    """uvicorn with the application; run it with a socket."""
    config = uvicorn.Config(
        make_app(service),
        log_level="info" if access_log else "warning",
        access_log=access_log,
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=int(service.settings.grace) or 1,
    )
    return uvicorn.Server(config)


def serve(
    model: Predictor,
    settings: Settings,
    listener: socket.socket,
    *,
    access_log: bool = False,
) -> None:
    """Serve until a signal ends it. Raises what hinders the model's first answers."""
    service = Service(model, settings)
    server = make_server(service, access_log=access_log)
    service.batcher.on_ready = lambda: print("ready", flush=True)
    service.batcher.on_failure = lambda: setattr(server, "should_exit", True)
    server.run(sockets=[listener])
    if service.batcher.failure is not None:
        raise service.batcher.failure

"""What `pip install unires_jax` leaves out, and the extra that brings it."""

import importlib.util

from unires_jax.errors import UserError

# The modules that our code imports of each extra (pyproject.toml).
MODULES = {
    "train": ("array_record", "grain", "optax", "tensorboardX", "tensorflow_datasets"),
    "demo": ("gradio",),
    "serve": ("fastapi", "python_multipart", "starlette", "uvicorn"),
    "engine": ("torch", "transformers"),
    "export": ("jax2onnx", "onnx", "onnxruntime"),
    "convert": ("pyarrow",),
    "beam": ("apache_beam",),
}


class MissingExtraError(UserError):
    """A library that is not installed. The message names the extra that brings it."""


def require(extra: str) -> None:
    """Raise MissingExtraError unless all that an extra brings is installed."""
    for module in MODULES[extra]:
        if importlib.util.find_spec(module) is None:
            raise _missing(module, extra)


def explain(error: BaseException) -> MissingExtraError | None:
    """The missing library of an extra, if that is why this was raised; else None."""
    fault: BaseException | None = error
    while fault is not None:
        if isinstance(fault, ModuleNotFoundError):
            module = (fault.name or "").partition(".")[0]
            for extra, modules in MODULES.items():
                if module in modules:
                    return _missing(module, extra)
        fault = fault.__cause__ or fault.__context__
    return None


def _missing(module: str, extra: str) -> MissingExtraError:
    return MissingExtraError(
        f"this needs {module}, which is not installed: "
        f"pip install 'unires_jax[{extra}]'"
    )

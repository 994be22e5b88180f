"""orbax on `s3://`: it knows Google's buckets, tensorstore beneath it Amazon's too.

Two functions of orbax are replaced. A bucket of Amazon's is treated as Google's are (a
step holds a file that says it is complete), and its arrays are addressed as there, with
tensorstore's driver for S3 instead of the one for Google.
"""

import functools
import os
from typing import Any

from orbax.checkpoint._src.path import gcs_utils
from orbax.checkpoint._src.serialization import tensorstore_utils

GOOGLE, AMAZON = "gs://", "s3://"


@functools.cache
def enable() -> None:
    """Make orbax read and write `s3://` in this process."""
    build = tensorstore_utils.build_kvstore_tspec

    def build_spec(directory: str, *args: Any, **kwargs: Any) -> Any:
        if not directory.startswith(AMAZON):
            return build(directory, *args, **kwargs)
        google = GOOGLE + directory.removeprefix(AMAZON)
        return _on_amazon(build(google, *args, **kwargs))

    tensorstore_utils.build_kvstore_tspec = build_spec
    gcs_utils.is_gcs_path = lambda path: path.as_posix().startswith((GOOGLE, AMAZON))


def _on_amazon(spec: Any) -> Any:
    """A tensorstore spec with S3 in every place of Google's."""
    if isinstance(spec, str) and spec.startswith(GOOGLE):
        bucket, _, path = spec.removeprefix(GOOGLE).partition("/")
        return _driver() | {"bucket": bucket, "path": f"{path}/"}
    if not isinstance(spec, dict):
        return spec
    spec = {name: _on_amazon(value) for name, value in spec.items()}
    return spec | _driver() if spec.get("driver") == "gcs" else spec


def _driver() -> dict[str, str]:
    """The driver, and the server that other clients find in the environment."""
    environment = {
        "endpoint": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
        "aws_region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
    }
    settings = {
        name: next(filter(None, map(os.environ.get, variables)), "")
        for name, variables in environment.items()
    }
    return {"driver": "s3"} | {name: value for name, value in settings.items() if value}

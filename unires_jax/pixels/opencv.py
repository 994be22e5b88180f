"""Which OpenCV is there: other packages put their own in the place of ours."""

import cv2

from unires_jax.errors import ConfigError

NEEDED = "4.11"  # the first that decodes to RGB


def rgb_flag() -> int:
    """The flag of `cv2.imdecode` for RGB. Raises ConfigError for an older OpenCV."""
    flag = getattr(cv2, "IMREAD_COLOR_RGB", None)
    if flag is None:
        raise ConfigError(
            f"OpenCV {cv2.__version__} is installed, {NEEDED} or newer is needed; "
            "another package (opencv-python, opencv-contrib-python) may have replaced "
            "it: pip uninstall that, then pip install --force-reinstall "
            f"'opencv-python-headless>={NEEDED}'"
        )
    return int(flag)

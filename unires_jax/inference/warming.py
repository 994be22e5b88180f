"""Programs compiled in the background, so that few questions wait for them."""

import atexit
import logging
import threading

from unires_jax.inference.answer import Answerer

log = logging.getLogger(__name__)


class Warming(threading.Thread):
    """Compiles what an Answerer needs for up to so many sentences, then ends.

    The end of the process waits for the program that is being compiled: XLA cannot be
    left in the middle of one. What fails is logged, and fails again where it is asked
    for.
    """

    def __init__(self, answerer: Answerer, sentences: int) -> None:
        super().__init__(name="warming", daemon=True)
        self._answerer, self._sentences = answerer, sentences
        self._over = threading.Event()

    def run(self) -> None:
        """Compile one program after the other."""
        atexit.register(self.stop)
        try:
            self._answerer.warm_up(self._sentences, self._over.is_set)
        except Exception as error:
            log.warning("nothing more is compiled beforehand: %s", error)
        finally:
            atexit.unregister(self.stop)

    def stop(self) -> None:
        """End it after the program that is being compiled."""
        self._over.set()
        self.join()

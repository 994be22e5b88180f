"""Programs compiled in the background, so that few questions wait for them."""

import logging
import threading

from unires_jax.inference.answer import Answerer

log = logging.getLogger(__name__)


class Warming(threading.Thread):
    """Compiles what an Answerer needs for up to so many sentences, then ends.

    The end of the process waits for the program that is being compiled, and no more:
    jax cannot be left in the middle of one. What fails is logged, and fails again where
    it is asked for.
    """

    def __init__(self, answerer: Answerer, sentences: int) -> None:
        super().__init__(name="warming", daemon=False)
        self._answerer, self._sentences = answerer, sentences
        self._stopped = threading.Event()

    def run(self) -> None:
        """Compile one program after the other."""
        try:
            self._answerer.warm_up(self._sentences, self._is_over)
        except Exception as error:
            log.warning("nothing more is compiled beforehand: %s", error)

    def stop(self) -> None:
        """End it after the program that is being compiled."""
        self._stopped.set()
        self.join()

    def _is_over(self) -> bool:
        # Python joins threads that are no daemons before it takes anything down.
        return self._stopped.is_set() or not threading.main_thread().is_alive()

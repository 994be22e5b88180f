"""The page's models by name: the first is there, others come when first chosen."""

import dataclasses
import threading
from collections.abc import Callable, Mapping
from typing import Any

from unires_jax.errors import CheckpointError, DataError
from unires_jax.serving.page.desk import Desk, Limits
from unires_jax.serving.page.visits import Visit
from unires_jax.serving.predictor import Predictor


class Desks:
    """A desk for each model. Threads may share it."""

    def __init__(
        self,
        models: Mapping[str, Callable[[], Predictor]],
        limits: Limits | None = None,
    ):
        """`models` load a Predictor each; the first is loaded now.

        What may be kept of visitors is shared out evenly among them. Raises
        CheckpointError.
        """
        whole = limits or Limits()
        share = max(1, whole.kept_bytes // len(models))
        self.limits = dataclasses.replace(whole, kept_bytes=share)
        self.names = tuple(models)
        self._models = models
        self._desks: dict[str, Desk] = {}
        self._loading = threading.Lock()
        self.first = self.take(self.names[0])

    def take(self, name: Any) -> Desk:
        """The desk of the model of this name, which is loaded if it is not yet.

        Raises DataError if there is none, CheckpointError if it cannot be loaded.
        """
        self._known(name)
        if name not in self._desks:
            with self._loading:  # questions to the others go on
                if name not in self._desks:
                    self._desks[name] = Desk(self._load(name), self.limits)
        return self._desks[name]

    def choose(self, names: Any) -> dict[str, Desk]:
        """The desks of a visitor's choice, in the page's order.

        None, of a page with one model, is the first. Raises as `take`, and DataError
        for none at all.
        """
        chosen = [self.names[0]] if names is None else names
        if not isinstance(chosen, list) or not chosen:
            raise DataError("Choose at least one model.")
        desks = {name: self.take(name) for name in map(self._known, chosen)}
        return {name: desks[name] for name in self.names if name in desks}

    def by_key(self, key: Any) -> tuple[str, Visit] | None:
        """The model and the visit with this key, while it is kept."""
        for name, desk in list(self._desks.items()):
            if visit := desk.by_key(key):
                return name, visit
        return None

    def leave(self, session: str) -> None:
        """Free what is kept of a session."""
        for desk in list(self._desks.values()):
            desk.leave(session)

    def _known(self, name: Any) -> str:
        if not isinstance(name, str) or name not in self.names:
            raise DataError("There is no such model.")
        return name

    def _load(self, name: str) -> Predictor:
        try:
            return self._models[name]()
        except CheckpointError as error:
            raise error.at(f"model {name}") from None

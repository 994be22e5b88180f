"""The errors of unires_jax. Standard library only."""


class UserError(ValueError):
    """Something the user gave cannot be used. The message is meant for them."""


class ConfigError(UserError):
    """A setting that cannot work. The message names the field and the remedy."""


class DataError(UserError):
    """Data that cannot be used. The message names file or record, field and remedy."""


class WeightsError(UserError):
    """Pretrained weights that cannot be used. The message lists every fault."""


class CheckpointError(UserError):
    """A checkpoint that cannot be used. The message names it, the cause, the remedy."""


class TrainingError(UserError):
    """The run cannot go on. The message names the step and the group of parameters."""

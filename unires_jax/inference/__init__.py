"""The model in use: loaded, compiled, answering. Training is not known here."""

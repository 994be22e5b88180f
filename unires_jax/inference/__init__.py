"""The model in use: loaded (`model.load`), compiled, answering (`answer.Answerer`).

Evaluation, serving and export stand on it; it knows none of them, and no training.
"""

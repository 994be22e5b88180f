"""The model in use: loaded (`model.load`), compiled, answering (`answer.Answerer`).

It is compiled for any parameters and all devices (`steps`), or for one model on one
device (`programs`), whose traces are kept (`traces`). Evaluation, serving and export
stand on it; it knows none of them, and no training.
"""

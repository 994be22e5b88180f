"""From batches to a trained state.

`recipe` is all that is compiled of a run, `start` where it begins, `trainer` the loop.
How good a state is, the loop is told by the hook that the script hands it.
"""

"""MRES JSONL: a line for each image with its masks and expressions.

`jsonl` finds files and reads runs of their lines, `plan` cuts them into such runs,
`line` is what a line means, `write` the way back.
"""

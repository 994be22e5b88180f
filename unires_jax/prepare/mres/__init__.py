"""MRES JSONL: a line for each image with its masks and expressions."""

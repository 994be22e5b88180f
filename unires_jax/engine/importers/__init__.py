"""What a team drew in its tool, as MRES JSONL: masks with its own words or class names.

A form reads an export into the pictures that `part_sources` describes and writes.
"""

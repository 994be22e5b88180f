"""What tests of several rooms share: data, models and programs, never a check's result.

`tiny` has the one config, `small_data` records, `raw_forms` and `mres_lines` raw files,
`programs` processes, `trained` the fixtures that all rooms see. What one room needs
stands in its conftest.py; a test file imports no other test file.
"""

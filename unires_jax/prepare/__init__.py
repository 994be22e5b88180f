"""Raw forms of data turned into prepared records: what runs once, before training.

`build` is the command, `builder` what the builders of raw benchmarks share, `sources`
one reader a form, `mres` our own format, read and written, `doctor` what looks at data
without converting it. `shards` is a ledger of any units of work, which `workers` or
`beam` do; `tfds_folder` makes records of such work.
"""

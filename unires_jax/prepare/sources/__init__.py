"""Readers of the forms in which referring expression data circulates.

Each form has one file and gives `referent.Referent`s; `grouping.to_records` groups them
into records, one for each image of a split. `recognise` says which form a folder holds.
Everything read here was written by others: values are checked (`fields`), pickles are
interpreted without running anything (`pickles`), names of images cannot leave their
folder (`pictures`), and what cannot be used is counted and written down (`rejects`).
"""

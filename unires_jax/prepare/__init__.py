"""Raw forms of data turned into prepared records: one reader a form."""

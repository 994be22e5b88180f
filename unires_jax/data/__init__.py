"""What training reads: record, prepared splits, tokens, batches. No jax and no flax.

Here belongs what is the same for every data set. Raw forms become records in `prepare`,
drawn scenes in `partworld`; `catalogue` has a row of facts for each benchmark.
"""

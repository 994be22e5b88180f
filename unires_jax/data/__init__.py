"""What training reads: record, prepared splits, tokens, batches. No jax and no flax."""

"""What an evaluation shows: pages and pictures."""

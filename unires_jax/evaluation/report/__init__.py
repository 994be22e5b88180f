"""What an evaluation shows: its tables, its page, a comparison's page, pictures."""

"""A trained model on one's own pictures: Python, terminal, browser."""

"""What several test files share: inputs in real forms, tiny models and runs."""

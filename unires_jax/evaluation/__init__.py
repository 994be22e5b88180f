"""Answers scored by the rules of each project of the field."""

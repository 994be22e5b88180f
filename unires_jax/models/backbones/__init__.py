"""Pretrained towers: one file each."""

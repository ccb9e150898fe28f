"""Targets and data sets: one file each."""

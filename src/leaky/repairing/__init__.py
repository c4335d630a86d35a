"""Changing a network: how it begins, how its range is put right, and how its lost units are won back."""

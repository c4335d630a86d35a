"""The trouble suite: broken networks on real data, and what brings them back."""

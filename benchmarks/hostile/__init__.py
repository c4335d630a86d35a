"""What a hostile or unlucky user meets, replayed: every situation ends as it should, or is counted.

`python -m benchmarks.hostile [KIND …]` prints tried and failed by kind and keeps benchmarks/results/hostile.json.
"""

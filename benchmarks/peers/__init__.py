"""The same models as users of each framework would write them, run by `benchmarks/speed.py`."""

"""The same models written as a user of each framework writes them; `benchmarks/speed.py` runs them in turn."""

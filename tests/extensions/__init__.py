"""The library extended from outside, each file as a user would write it: `tests/test_extending.py` trains them."""

"""The packages and their folders; the rest is in pyproject.toml, which cannot say that one of them is elsewhere."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["kvae*"]), "kvae.worksheet.student"],
    package_dir={"kvae.worksheet.student": "workshops/student"},  # what `kvae workshop copy` copies
)

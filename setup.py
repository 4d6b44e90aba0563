"""The packages and where they lie; all else is in pyproject.toml, which cannot say that one of them lies elsewhere."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["kvae*"]), "kvae.worksheet.student"],
    package_dir={"kvae.worksheet.student": "workshops/student"},  # what `kvae workshop copy` hands out
)

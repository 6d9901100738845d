"""The run-time type checker of the tests: ints count as floats, as in type hints."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))

"""How many examples a property is tried with: few in each run of the tests, many times as many in `make test-all`."""

import os

_TIMES = int(os.environ.get("TENDER_EXAMPLES", "1"))


def examples(few: int) -> int:
    return few * _TIMES

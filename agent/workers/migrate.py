"""Child that brings the agent's database to the current schema: `python -m agent.workers.migrate FILE`."""

import sys
from pathlib import Path

from agent.store.schema import SCHEMA, VERSION
from wire.migration import migrate


def main() -> int:
    try:
        migrate(Path(sys.argv[1]), SCHEMA, VERSION, shrinks=True)
    except Exception as error:  # noqa: BLE001  the parent shows the last line, whatever it was
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""One run in a process of its own, in one piece: python -m helpers.runs.alone CONFIG [--device D], the config as JSON.

For runs whose wall time is the result: the clock starts with the process, and nothing is taken over from an earlier attempt.
"""

import argparse
import json
import sys

from helpers.core.errors import DataError, RecordError, TrainingStopped, UserError
from helpers.runs.config import RunConfig
from helpers.runs.run import checkpoint_folder, run
from helpers.training import Stopped, graceful
from helpers.training.checkpoints import remove

STOPPED = 3  # the exit code of a run that was asked to stop


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 0 there is a record, 1 the run failed, STOPPED it was asked to stop; what it had done is dropped."""
    parser = argparse.ArgumentParser(prog="python -m helpers.runs.alone", description="Train and evaluate one config from its start.")
    parser.add_argument("config", help="a RunConfig as JSON")
    parser.add_argument("--device", default="auto")
    given = parser.parse_args(arguments)
    try:
        config = RunConfig(**json.loads(given.config))
        remove(checkpoint_folder(config))
        with graceful() as stop:
            run(config, given.device, stop)
    except Stopped:
        remove(checkpoint_folder(config))
        return STOPPED
    except (UserError, DataError, RecordError, TrainingStopped, ValueError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

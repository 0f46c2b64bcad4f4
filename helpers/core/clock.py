"""How long this process has been alive: what a user waits for counts from there, imports included."""

import os
import time

_IMPORTED = time.monotonic()


def process_seconds() -> float:
    """Seconds since the process was started; where the system does not tell, since this module was imported."""
    try:
        with open("/proc/self/stat") as stat, open("/proc/uptime") as uptime:
            started = int(stat.read().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")  # the name may hold spaces
            return float(uptime.read().split()[0]) - started
    except (OSError, ValueError, IndexError):
        return time.monotonic() - _IMPORTED

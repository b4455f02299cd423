#!/usr/bin/env python3
"""How long it takes to write a file into the system's cache, by the size of a write and by where the
first one begins. One thread, space reserved, 2.2 GB.

    python3 connector-core/benches/writes.py DIR [RUNS]
"""
import os
import statistics
import sys
import time

TOTAL = 2_200_000_000
CASES = [(128, 0), (256, 0), (256, 4096), (256, 1000), (100, 0), (100, 1000), (1024, 0)]


def write(path, size, first, data):
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR)
    try:
        os.posix_fallocate(fd, 0, TOTAL + size)
        start, at = time.monotonic(), first
        while at < TOTAL:
            at += os.pwrite(fd, data[:size], at)
        return time.monotonic() - start
    finally:
        os.close(fd)
        os.unlink(path)
        os.sync()


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    path = os.path.join(sys.argv[1], "writes.tmp")
    runs = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    data = memoryview(os.urandom(max(size for size, _ in CASES) << 10))
    taken = {case: [] for case in CASES}
    for _ in range(runs):
        for size, first in CASES:
            taken[size, first].append(write(path, size << 10, first, data))
    for (size, first), seconds in taken.items():
        lowest, highest = min(seconds), max(seconds)
        median = statistics.median(seconds)
        print(f"{size:5} KiB from {first:4}: {median:.2f} s ({lowest:.2f}-{highest:.2f})")


if __name__ == "__main__":
    main()

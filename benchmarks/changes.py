"""Gives the data another version all the time, so that nothing kept is ever asked for again.

`python -m benchmarks.changes URL` goes on until its standard input ends, then prints how often.
A process of its own: beside the caller's loop a thread would hardly get to run.
"""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2
from sqlalchemy import make_url

PAUSE_SECONDS = 0.005
_NEW_VERSION = "UPDATE data_version SET token = gen_random_uuid()"


@contextmanager
def changing_data(url: str, *, least_a_second: float) -> Iterator[None]:
    """Data that changes for as long as the block lasts; AssertionError if too seldom."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.changes", url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        began = time.perf_counter()
        yield
    finally:
        count = int(process.communicate()[0].split()[-1])
    if count < least_a_second * (time.perf_counter() - began):
        raise AssertionError(f"the data changed only {count} times")


def main(url: str) -> None:
    """Change the version until the parent says that it is enough."""
    done = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), done.set()), daemon=True).start()
    bare = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    connection = psycopg2.connect(bare)
    connection.autocommit = True
    count = 0
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = off")
        print("changing", flush=True)
        while not done.wait(PAUSE_SECONDS):
            cursor.execute(_NEW_VERSION)
            count += 1
    connection.close()
    print(count)


if __name__ == "__main__":
    main(sys.argv[1])

"""dlt and pandas at work, in an environment of their own (.venv-bench) and apart from the app.

`python benchmarks/outside.py <address> <pickled rows>` reads the name of a peer a line and
answers with the seconds that loading the rows took, or with what went wrong.
"""

import os
import pickle
import sys
import tempfile
import time
from urllib.parse import quote

KEY = ["market_id", "provider", "granularity", "opened_at"]


def load_with_dlt(url, rows, number):
    """Merge the rows, given as dictionaries, into a table of dlt's own; a new one each time."""
    import dlt
    from sqlalchemy import make_url

    place = make_url(url)
    credentials = {
        "host": quote(place.query["host"], safe=""),  # a folder, which dlt puts into an address
        "port": int(place.query["port"]),
        "database": place.database,
        "username": place.username,
        "password": "none-is-asked-for",
    }
    pipeline = dlt.pipeline(
        f"bench_{number}",
        pipelines_dir=os.environ["DLT_DATA_DIR"],
        destination=dlt.destinations.postgres(credentials=credentials),
        dataset_name=f"peer_{number}",
    )
    pipeline.run(rows, table_name="candle", write_disposition="merge", primary_key=KEY)


def load_with_pandas(url, rows, number):
    """Insert through to_sql with a method of one's own, as pandas' documentation shows it."""
    import pandas
    from sqlalchemy import create_engine
    from sqlalchemy.dialects.postgresql import insert

    def upsert(table, connection, names, values):
        statement = insert(table.table).values(
            [dict(zip(names, row, strict=True)) for row in values]
        )
        sets = {name: statement.excluded[name] for name in names if name not in KEY}
        connection.execute(statement.on_conflict_do_update(index_elements=KEY, set_=sets))

    engine = create_engine(url)
    frame = pandas.DataFrame(rows)
    frame.to_sql(
        "market_aggregate", engine, if_exists="append", index=False, method=upsert, chunksize=1000
    )
    engine.dispose()


PEERS = {"dlt": load_with_dlt, "pandas": load_with_pandas}


def main():
    url, path = sys.argv[1:]
    with open(path, "rb") as file:
        rows = pickle.load(file)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for number, line in enumerate(sys.stdin):
        peer, count = line.split()
        started = time.perf_counter()
        try:
            PEERS[peer](url, rows[: int(count)], number)
            answer = str(time.perf_counter() - started)
        except Exception as error:
            answer = f"{type(error).__name__}: {error}".replace("\n", " ")
        print(answer, file=answers, flush=True)


if __name__ == "__main__":
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DLT_DATA_DIR"] = folder
        main()

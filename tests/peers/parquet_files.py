"""Writes the Parquet fixtures in tests/tests/fixtures with pyarrow: the same two rows of preferences, as messages and as texts.

    python tests/peers/parquet_files.py        (needs pyarrow)
"""

import pathlib

import pyarrow as pa
import pyarrow.parquet as pq

FOLDER = pathlib.Path(__file__).parent.parent / "tests/fixtures"


def messages(role, content):
    return [{"role": role, "content": content}]


CONVERSATIONS = [
    {"prompt": messages("user", "hi"), "chosen": messages("assistant", "yes"), "rejected": messages("assistant", "no"), "score": 0.5},
    {"prompt": messages("user", "東京?"), "chosen": messages("assistant", "é"), "rejected": messages("assistant", ""), "score": None},
]
TEXTS = [{"prompt": "1 +", "chosen": " 1", "rejected": " 2"}] * 300

for name, rows, options in [
    ("messages.snappy.parquet", CONVERSATIONS, {"compression": "snappy"}),
    ("texts.gzip.parquet", TEXTS, {"compression": "gzip", "row_group_size": 100}),
    ("texts.zstd.parquet", TEXTS, {"compression": "zstd"}),
]:
    pq.write_table(pa.Table.from_pylist(rows), FOLDER / name, **options)

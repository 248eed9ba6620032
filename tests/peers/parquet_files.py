"""Writes the Parquet fixtures in tests/tests/fixtures with pyarrow: preferences as messages and as texts, a row of every type, and
a file that stands for far more than it holds.

    python tests/peers/parquet_files.py        (needs pyarrow)
"""

import datetime
import decimal
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

DAY, NOON = datetime.date(1970, 1, 3), datetime.time(12)
MOMENT = datetime.datetime(1970, 1, 1, 0, 0, 1)
# (type, the value of the first row); the second row has no value in any of them.
TYPES = {
    "bool": (pa.bool_(), True),
    "int8": (pa.int8(), -1),
    "int16": (pa.int16(), -2),
    "int32": (pa.int32(), -3),
    "int64": (pa.int64(), -4),
    "uint8": (pa.uint8(), 1),
    "uint16": (pa.uint16(), 2),
    "uint32": (pa.uint32(), 3),
    "uint64": (pa.uint64(), 2**64 - 1),
    "float16": (pa.float16(), 0.5),
    "float32": (pa.float32(), 0.25),
    "float64": (pa.float64(), 0.125),
    "nan": (pa.float64(), float("nan")),
    "decimal": (pa.decimal128(5, 2), decimal.Decimal("1.50")),
    "date": (pa.date32(), DAY),
    "time_ms": (pa.time32("ms"), NOON),
    "time_us": (pa.time64("us"), NOON),
    "timestamp_ms": (pa.timestamp("ms"), MOMENT),
    "timestamp_us": (pa.timestamp("us"), MOMENT),
    "string": (pa.string(), "é"),
    "large_string": (pa.large_string(), "large"),
    "dictionary": (pa.dictionary(pa.int32(), pa.string()), "word"),
    "binary_text": (pa.binary(), "é".encode()),
    "binary": (pa.binary(), b"\xff"),
    "list": (pa.list_(pa.list_(pa.int32())), [[1], [], [2, 3]]),
    "struct": (pa.struct([("a", pa.string()), ("b", pa.int32())]), {"a": "x", "b": None}),
    "map": (pa.map_(pa.string(), pa.int32()), [("k", 1)]),
}
EVERY_TYPE = pa.table({name: pa.array([value, None], kind) for name, (kind, value) in TYPES.items()})
# One long text, which a dictionary holds once, in so many rows that they would be a gigabyte.
BOMB = pa.table({"text": pa.DictionaryArray.from_arrays(pa.array([0] * 100_000, pa.int32()), ["x" * 10_000])})

for name, rows, options in [
    ("messages.snappy.parquet", CONVERSATIONS, {"compression": "snappy"}),
    ("texts.gzip.parquet", TEXTS, {"compression": "gzip", "row_group_size": 100}),
    ("texts.zstd.parquet", TEXTS, {"compression": "zstd"}),
]:
    pq.write_table(pa.Table.from_pylist(rows), FOLDER / name, **options)
for name, table in [("types.snappy.parquet", EVERY_TYPE), ("bomb.snappy.parquet", BOMB)]:
    # Without Arrow's own copy of the schema: other readers have no use for it.
    pq.write_table(table, FOLDER / name, compression="snappy", store_schema=False)

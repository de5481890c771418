"""The other side of `cargo xtask bench kinesis --exact`.

    kinesis.py create URL STREAM SHARDS
    kinesis.py write URL STREAM KEYS PLAIN AGGREGATED    writes so many records of each kind, and reshards
    kinesis.py check FOLDER                              counts what came of them, as JSON

Each kind has keys of its own (`p0017`, `a0017`), and each key's records are numbered from 0. The first two
need boto3, the last one DuckDB.
"""

import hashlib
import json
import sys
import time

# Records of one request (the most that PutRecords takes), and of one key in an aggregated record.
PLAIN = 500
ROUNDS = 10
# Keys that are always aggregated together, so that all their records are in the same shards.
GROUP = 20
# Every 50th aggregated record has this much in each of its records: the source cuts those from 256 KiB on.
LARGE = 1500
MAGIC = bytes.fromhex("f3899ac2")


def client(url):
    import boto3
    from botocore.config import Config

    # A request that is made again could write twice.
    config = Config(retries={"total_max_attempts": 1}, read_timeout=300)
    return boto3.client(
        "kinesis", endpoint_url=url, region_name="us-east-1", config=config,
        aws_access_key_id="bench", aws_secret_access_key="bench",
    )  # fmt: skip


def active(kinesis, stream):
    while True:
        about = kinesis.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]
        if about["StreamStatus"] == "ACTIVE":
            return
        time.sleep(0.05)


def create(url, stream, shards):
    kinesis = client(url)
    kinesis.create_stream(StreamName=stream, ShardCount=int(shards))
    active(kinesis, stream)


def payload(number, length=60):
    return b"%09d " % number + b"x" * length


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number, value):
    return varint(number << 3 | 2) + varint(len(value)) + value


def aggregated(records):
    """What the Kinesis Producer Library makes of (key, data)."""
    keys = {}
    for key, _ in records:
        keys.setdefault(key, len(keys))
    body = b"".join(field(1, key.encode()) for key in keys)
    for key, data in records:
        body += field(3, b"\x08" + varint(keys[key]) + field(3, data))
    return MAGIC + body + hashlib.md5(body).digest()


def plain_requests(keys, count):
    """No key is twice in a request: the order within one isn't promised."""
    for number in range(count // keys):
        for first in range(0, keys, PLAIN):
            names = range(first, min(first + PLAIN, keys))
            yield [(f"p{name:04}", payload(number)) for name in names]


def aggregated_requests(keys, count):
    for block in range(count // keys // ROUNDS):
        request = []
        for group in range(keys // GROUP):
            names = range(group * GROUP, (group + 1) * GROUP)
            numbers = range(block * ROUNDS, (block + 1) * ROUNDS)
            length = LARGE if (block + group) % 50 == 0 else 60
            records = [(f"a{name:04}", payload(number, length)) for number in numbers for name in names]
            request.append((f"group {group}", aggregated(records)))
        yield request


def put(kinesis, stream, records):
    while records:
        entries = [{"PartitionKey": key, "Data": data} for key, data in records]
        answer = kinesis.put_records(StreamName=stream, Records=entries)
        records = [record for record, put in zip(records, answer["Records"]) if "ErrorCode" in put]


def split(kinesis, stream):
    shard = opened(kinesis, stream)[0]
    first, last = hashes(shard)
    kinesis.split_shard(
        StreamName=stream,
        ShardToSplit=shard["ShardId"],
        NewStartingHashKey=str((first + last) // 2),
    )
    return [shard]


def merge(kinesis, stream, at):
    shards = opened(kinesis, stream)[at : at + 2]
    one, other = (shard["ShardId"] for shard in shards)
    kinesis.merge_shards(StreamName=stream, ShardToMerge=one, AdjacentShardToMerge=other)
    return shards


def hashes(shard):
    span = shard["HashKeyRange"]
    return int(span["StartingHashKey"]), int(span["EndingHashKey"])


def opened(kinesis, stream):
    """The open shards, by what of the keys they have."""
    shards = kinesis.list_shards(StreamName=stream)["Shards"]
    shards = [s for s in shards if "EndingSequenceNumber" not in s["SequenceNumberRange"]]
    return sorted(shards, key=hashes)


def write(url, stream, keys, plain, many):
    kinesis = client(url)
    keys, plain, many = int(keys), int(plain), int(many)
    kinds = [
        [plain_requests(keys, plain), plain // PLAIN, 0],
        [aggregated_requests(keys, many), many // keys // ROUNDS, 0],
    ]
    # The last one merges what the first one has made.
    reshardings = {
        25: ("split", lambda: split(kinesis, stream)),
        50: ("merge", lambda: merge(kinesis, stream, 4)),
        75: ("merge", lambda: merge(kinesis, stream, 0)),
    }
    taken = [0.0, 0.0]
    for percent in range(1, 101):
        for number, kind in enumerate(kinds):
            requests, total, done = kind
            begun = time.monotonic()
            while done * 100 < total * percent:
                put(kinesis, stream, next(requests))
                done += 1
            kind[2] = done
            taken[number] += time.monotonic() - begun
        if percent in reshardings:
            name, resharding = reshardings[percent]
            shards = ", ".join(shard["ShardId"] for shard in resharding())
            print(f"{percent} % written; {name}: {shards}", flush=True)
            active(kinesis, stream)
    for name, count, seconds in zip(("plain", "aggregated"), (plain, many), taken):
        if count:
            print(f"{count} {name} records in {seconds:.1f} s: {count / seconds:.0f} a second", flush=True)


# Of each key: what is there, and how often a record doesn't come after the one before it: by its position in
# the stream; within its file; and by the epochs that the files are of (their names' last number but one).
CHECK = """
WITH rows AS (
    SELECT partition_key AS key, CAST(left(decode(payload), 9) AS BIGINT) AS number,
        sequence_number, sub_sequence, filename, file_row_number,
        CAST(split_part(parse_filename(filename), '-', -2) AS BIGINT) AS epoch
    FROM read_parquet('{folder}/**/*.parquet', filename = true, file_row_number = true)
), before AS (
    SELECT key, number,
        lag(number) OVER (PARTITION BY key ORDER BY sequence_number, sub_sequence) AS by_position,
        lag(number) OVER (PARTITION BY key, filename ORDER BY file_row_number) AS by_file,
        max(number) OVER (PARTITION BY key ORDER BY epoch
            RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS by_epoch
    FROM rows
)
SELECT left(key, 1) AS kind, count(*) AS rows, count(DISTINCT (key, number)) AS apart,
    count(*) FILTER (number <= by_position) AS by_position,
    count(*) FILTER (number <= by_file) AS by_file,
    count(*) FILTER (number <= by_epoch) AS by_epoch,
    count(DISTINCT key) AS keys, min(number) AS least, max(number) AS most
FROM before GROUP BY ALL
"""


def check(folder):
    import duckdb

    answer = duckdb.sql(CHECK.format(folder=folder))
    names = answer.columns
    print(json.dumps({row[0]: dict(zip(names[1:], row[1:])) for row in answer.fetchall()}))


if __name__ == "__main__":
    {"create": create, "write": write, "check": check}[sys.argv[1]](*sys.argv[2:])

"""Makes the seeds of the targets, in `seeds/<target>`: what mutation begins with.

Run by a Python that has pyarrow, as `cargo xtask setup` installs it; the same files come each time.
"""

import decimal
import gzip
import io
import json
import shutil
import struct
from datetime import date, datetime, timezone
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).parent / "seeds"


def put(target, name, data):
    folder = HERE / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())


def config():
    put("config", "quickstart", """\
[pipeline]
name = "shop"

[sources.shop]
type = "files"
url = "data/*.csv"
csv = { delimiter = ";" }
schema = [{ name = "id", type = "int64", nullable = false }, { name = "v", type = "list<string>" }]

[sources.api]
type = "rest"
url = "https://${HOST:-example.com}/items"
auth = { type = "bearer", token = { env = "TOKEN" } }
pagination = { type = "page", size_param = "n", size = 100 }

[sinks.out]
type = "console"
inputs = ["shop", "api"]
""")
    put("config", "mysql", """\
[sources.db]
type = "mysql"
url = "mysql://me@db:3306/shop"
password = { file = "secret" }
tables = ["a*", '''b''']

[sinks.lake]
type = "files"
inputs = ["db.rejected"]
url = "out/{%Y}/{stream}.ndjson.gz"
[runtime]
memory = "1 GB"
\0[http]
timeout = "${Y}"
attempts = 3
\0sinks.lake.url=x""")
    put("config", "mistakes", """\
[sources.a]
type = "genrate"
rows = "${X}"
columns = { id = { type = "sequence" }, "é" = 1, x.y.z = 2024-01-01T00:00:00Z }
[[sinks.b]]
inputs = "a"
password = "hunter2"
url = "$${X} ${X:-${Y}} ${"
""")


def texts():
    rows = "a,b,c,d,e,f\n1,1.5,2024-01-01T00:00:00Z,\"[{\"\"x\"\":1}]\",YQ==,01:02:03\n\"2\",NULL,,[],,\r\n"
    put("csv", "plain", b"\0\x2b" + rows.encode())
    put("csv", "headless", b"\x11\x08" + rows.encode())
    put("csv", "separator", b"\x00\x10" + "sep=;\na;b;c\n1;'x;\n';3\n\n4;5;6".encode())
    put("csv", "marked", b"\x08\x41" + "\ufeffa,é\n'1','2''3'\r1e5,0.50\r".encode())
    put("csv", "utf16", b"\0\0\xff\xfe" + "a,b\n1,ü\n".encode("utf-16-le"))
    put("csv", "packed", b"\0\x08" + gzip.compress(rows.encode(), mtime=0))
    lines = (
        '{"a":1,"b":"1.25","c":"2024-01-01T00:00:00Z","d":[{"x":1e3,"y":255}],"e":"YQ==","f":{"k":[]}}\n'
        '{"a":null,"g":true,"h":{"a":"\\u00e9\\ud834\\udd1e","b":[["2024-02-29"],null]}}\n\n{"a":-9223372036854775809}\r\n'
    )
    put("json", "lines", b"\0\x1b" + lines.encode())
    put("json", "array", b"\x01\x0c" + (" [" + ",".join(lines.split()) + "] ").encode())
    put("json", "free", b"\x00\x22" + '{"a":\n1} {"a":2}{"b":[1.0,1e400,-0]}\n{"a":tru}'.encode())
    put("json", "marked", b"\x01\x31" + '\ufeff{"a":{"b":{"c":[[[{"d":0.1}]]]}},"a":1}'.encode())
    put("json", "packed", b"\0\x08" + gzip.compress(lines.encode(), mtime=0))


def parquet():
    def write(name, columns, **options):
        out = io.BytesIO()
        pq.write_table(pa.table(columns), out, **options)
        put("parquet", name, out.getvalue())

    utc = timezone.utc
    write("plain", {
        "id": pa.array([1, 2, None, 9], pa.int64()),
        "name": ["a", "b" * 20, None, "m"],
        "ok": [True, None, False, True],
    }, compression="none", row_group_size=2)
    write("kinds", {
        "i8": pa.array([1, None], pa.int8()),
        "u32": pa.array([4_000_000_000, 1], pa.uint32()),
        "f": pa.array([0.5, None], pa.float32()),
        "day": pa.array([date(2024, 2, 29), None]),
        "at": pa.array([datetime(2024, 1, 1, tzinfo=utc), None], pa.timestamp("us", "UTC")),
        "dec": pa.array([decimal.Decimal("1.25"), None], pa.decimal128(20, 2)),
        "fixed": pa.array([b"abcd", None], pa.binary(4)),
    }, compression="snappy", store_schema=False)
    write("nested", {
        "list": pa.array([[1, 2], [], None], pa.list_(pa.int32())),
        "struct": pa.array([{"a": 1, "b": ["x"]}, None, {"a": None, "b": None}],
                           pa.struct([("a", pa.int64()), ("b", pa.list_(pa.string()))])),
        "map": pa.array([[("k", 1)], [], None], pa.map_(pa.string(), pa.int32())),
    }, compression="none", data_page_version="2.0")
    write("dictionary", {
        "d": pa.array(["x", "y", "x", None] * 8).dictionary_encode(),
        "delta": pa.array(list(range(32)), pa.int32()),
    }, compression="zstd", use_dictionary=["d"], column_encoding={"delta": "DELTA_BINARY_PACKED"})
    write("pages", {
        "n": pa.array(list(range(100)), pa.int32()),
        "s": [f"{n:03}" for n in range(100)],
    }, compression="none", use_dictionary=False, write_page_index=True, data_page_size=64,
        write_batch_size=10, column_encoding={"s": "DELTA_BYTE_ARRAY", "n": "PLAIN"})
    write("old", {
        "at": pa.array([datetime(2024, 1, 1), None], pa.timestamp("ns")),
        "t": pa.array([1, 2], pa.time64("us")),
        "b": pa.array([b"\xff", b""], pa.binary()),
    }, compression="gzip", use_deprecated_int96_timestamps=True, version="1.0")


GREETING = (b"\x0a8.0.36\0\x07\0\0\0" b"12345678\0" b"\xdf\xf7\x2d\x02\0\x0f\x01\x15" + bytes(10)
            + b"ABCDEFGHIJKL\0mysql_native_password\0")
OK = b"\0\0\0\x02\0\0\0"
END = b"\xfe\0\0\x02\0\0\0"


def text(data):
    data = data if isinstance(data, bytes) else data.encode()
    return bytes([len(data)]) + data


def definition(name, kind, charset=45, flags=0, decimals=0, length=100):
    return (text("def") + text("d") + text("t") + text("t") + text(name) + text(name) + b"\x0c"
            + struct.pack("<HIBHB2x", charset, length, kind, flags, decimals))


def payloads(*parts):
    return b"".join(struct.pack("<H", len(part)) + part for part in parts)


def mysql():
    columns = [("a", 8, 63, 0), ("b", 253, 45, 0), ("c", 12, 63, 6), ("d", 246, 63, 2),
               ("e", 5, 63, 0), ("f", 11, 63, 0), ("g", 16, 63, 0), ("h", 252, 63, 0)]
    definitions = [definition(name, kind, charset, 0, decimals)
                   for name, kind, charset, decimals in columns]
    row = (b"\0" + bytes(2) + struct.pack("<q", -5) + text("ü") + bytes([11, 0xE8, 7, 2, 29, 1, 2, 3])
           + struct.pack("<I", 500_000) + text("-1.25") + struct.pack("<d", 0.5)
           + bytes([8, 1, 1, 0, 0, 0, 2, 3, 4]) + text(b"\x07") + text(b"\xff\0"))
    nulls = b"\0" + b"\xfc\x03"
    prepared = b"\0" + struct.pack("<IHHBH", 1, len(columns), 0, 0, 0)
    rows = [prepared, *definitions, bytes([len(columns)]), *definitions, row, nulls, row, END]
    put("mysql", "rows", b"\x10" + payloads(*rows))
    put("mysql", "dates-null", b"\x14" + payloads(*rows[:-1], b"\xff\x28\x04#42000no"))
    put("mysql", "dates-text", b"\x18" + payloads(*rows))
    small = [b"\x02", definitions[0], definitions[1], text("1") + b"\xfb", text("2") + text("x"), END]
    put("mysql", "texts", b"\x11" + payloads(*small))
    put("mysql", "columns", b"\x12" + payloads(prepared, *definitions, *small))
    put("mysql", "done", b"\x13" + payloads(b"\0\x01\x02\x02\0\x03\0", b"\xff\x48\x04#HY000bad"))
    switch = b"\xfecaching_sha2_password\0" + b"ABCDEFGHIJKLMNOPQRST\0"
    put("mysql", "login", b"\x01" + payloads(GREETING, switch, b"\x01\x03", OK, *small))
    key = ("-----BEGIN PUBLIC KEY-----\n"
           "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDdlatRjRjogo3WojgGHFHYLugd\n"
           "UWAY9iR3fy4arWNA1KoS8kVw33cJibXr8bvwUAUparCwlvdbH6dvEOfou0/gCFQs\n"
           "HUfQrSDv+MuSUMAe8jzKE4qW+jK+xQU9a03GUnKHkkle+Q0pX/g6jXZ7r1/xAK5D\n"
           "o2kQ+X5xK9cipRgEKwIDAQAB\n-----END PUBLIC KEY-----\n").encode()
    put("mysql", "key", b"\x01" + payloads(GREETING, switch, b"\x01\x04", b"\x01" + key, OK, *small))
    wire = b"".join(struct.pack("<I", len(part))[:3] + b"\0" + part for part in rows)
    put("mysql", "wire", b"\x30" + wire)


def event(number, body, flags=0):
    return bytes([number, flags]) + struct.pack("<H", len(body)) + body


def binlog():
    description = (struct.pack("<H50sIB", 4, b"8.0.36", 0, 19) + bytes(40) + b"%c" + bytes(4))
    gtid = event(33, b"\0" + bytes(range(16)) + struct.pack("<q", 7) + bytes(17))
    query = event(2, struct.pack("<IIBHH", 1, 0, 1, 0, 0) + b"d\0BEGIN")

    def table(kinds, meta, names=None, more=b""):
        body = struct.pack("<IHH", 1, 0, 1) + text("d") + b"\0" + text("t") + b"\0"
        body += bytes([len(kinds), *kinds]) + text(meta) + b"\xff" * ((len(kinds) + 7) // 8)
        if names:
            body += b"\x04" + text(b"".join(text(name) for name in names))
        return event(19, body + more)

    def rows(number, columns, *images):
        body = struct.pack("<IHH", 1, 0, 1)
        if number >= 30:
            body += struct.pack("<H", 2)
        full = b"\xff" * ((columns + 7) // 8)
        body += bytes([columns]) + full * (2 if number in (24, 31) else 1)
        return event(number, body + b"".join(images))

    kinds = [8, 15, 18, 246, 252, 254, 16, 3]
    meta = struct.pack("<HBBBBBBBB", 200, 3, 10, 2, 2, 247, 1, 1, 1)
    names = ["a", "b", "c", "d", "e", "f", "g", "h"]
    charsets = b"\x01\x01\x00" + b"\x02\x01\x2d" + b"\x06" + text(b"\x02" + text("x") + text("y")) + b"\x0a\x01\x2d"
    image = (b"\0" + struct.pack("<q", 3) + text("hi") + bytes([0x99, 0xB2, 0xBA, 0x10, 0x83, 0x07, 0xD0])
             + bytes([0x80, 0, 0, 1, 0x19]) + b"\x02\0ab" + b"\x01" + b"\x01\x02" + struct.pack("<i", 5))
    nulls = b"\xfe" + struct.pack("<q", 4)
    xid = event(16, struct.pack("<q", 9))
    first = [gtid, query, table(kinds, meta, names, charsets)]
    put("mysql_binlog", "insert", b"\0" + b"".join([*first, rows(30, 8, image, nulls), xid]))
    put("mysql_binlog", "update", b"\0" + b"".join([*first, rows(31, 8, image, nulls, image, image),
                                                     rows(32, 8, image), xid]))
    put("mysql_binlog", "sums", b"\0" + event(15, description % 1) + b"".join([*first, rows(30, 8, image), xid]))
    maria = event(162, struct.pack("<QIB", 5, 0, 0) + bytes(6))
    plain = table([1, 2, 9, 4, 5, 13, 10, 17, 19, 253], struct.pack("<BBBBH", 4, 8, 0, 6, 30),
                  list("klmnopqrst"))
    values = (b"\0\0" + b"\x01" + b"\x02\0" + b"\x03\0\0" + struct.pack("<fd", 0.5, 0.25) + b"\x7c"
              + b"\x5d\xd0\x0f" + struct.pack(">I", 1_600_000_000) + b"\x80\x10\x83\0\0\x01" + text("é"))
    put("mysql_binlog", "mariadb", b"\x01" + b"".join([maria, plain, rows(23, 10, values), xid]))
    tree = bytes([0, 2, 0, 24, 0, 18, 0, 1, 0, 19, 0, 1, 0, 5, 7, 0, 2, 20, 0, 0x61, 0x62, 1, 0, 0, 0])
    documents = table([8, 245, 255], b"\x04\x04", ["a", "j", "p"])
    document = b"\0" + struct.pack("<q", 1) + struct.pack("<I", len(tree)) + tree + struct.pack("<I", 4) + bytes(4)
    put("mysql_binlog", "json", b"\0" + b"".join([gtid, query, documents, rows(30, 3, document), xid]))
    inner = xid[4:]
    whole = struct.pack("<IBIIIH", 0, 16, 1, 19 + len(inner), 0, 0) + inner
    put("mysql_binlog", "payload", b"\0" + b"".join([
        gtid, event(40, b"\x01\x01" + bytes([len(whole)]) + b"\x02\x03\xfc\xff\0" + b"\0" + whole)]))
    statements = ["ALTER TABLE d.t ADD x INT", "/*!40000 DROP TABLE */ `t`", "COMMIT", "XA START 'x'"]
    put("mysql_binlog", "statements", b"\0" + gtid + b"".join(
        event(2, struct.pack("<IIBHH", 1, 0, 1, 0, 0) + b"d\0" + sql.encode()) for sql in statements)
        + event(4, struct.pack("<Q", 4) + b"b.000002"))


def rest():
    def answer(body, status="200 OK", **headers):
        lines = [f"HTTP/1.1 {status}", "Content-Type: application/json"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        body = body if isinstance(body, bytes) else body.encode()
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body

    def script(name, how, *answers):
        put("rest", name, bytes([how]) + b"\xff\xfe".join(answers))

    records = '[{"id": 1, "at": "2024-01-01T00:00:00Z", "v": [1]}, {"id": 2, "at": "2024-01-02T00:00:00Z"}]'
    more = '[{"id": 3, "at": "2024-01-03T00:00:00Z", "v": "@@"}]'
    empty = answer("[]")
    script("one", 0, answer(records), answer(records))
    script("one-given", 16 + 64, answer(records, ETag='"1"'))
    items = lambda items, rest: answer(f'{{"items": {items}, {rest}}}')
    script("total", 17, items(records, '"total": 3'), items(more, '"total": 3'), items("[]", '"total": 3'))
    script("more", 18, items(records, '"more": true, "prev": null'), items(more, '"more": false, "prev": 1'))
    script("offset", 19, answer(records, x_total=3), answer(more, x_total=3), empty)
    script("cursor", 20 + 32, items(records, '"next": "@@x"'), items(more, '"next": null'))
    script("last", 21, answer(records), answer(more), empty)
    script("link", 22, answer(records, Link='<items?page=2>; rel="next", <x>; rel=prev'), answer(more))
    script("url", 23 + 32, items(records, '"next": "?page=2&t=@@"'), items(more, '"next": ""'))
    script("since", 24, answer(records, ETag='W/"x"', Last_Modified="Mon, 01 Jan 2024 00:00:00 GMT"), answer(more))
    script("short", 25, answer(records), answer("", "404 Not Found"))
    script("body", 26, items(records, '"more": true, "next": 12345678901234567890'), items("[]", '"more": false'))
    script("millis", 27, answer('[[{"id": 1, "at": 1500.5}, {"id": 2, "at": "1600"}]]'))
    script("pages", 28, answer(records, x_pages=2), answer(more, x_pages="2.0"))
    script("numbers", 29, answer(records), answer(records))
    script("quota", 30, answer(records, x_left=0, x_max=10, x_reset=60))
    script("raw", 15, answer(records))
    script("wait", 16 + 32, answer("slow @@", "429 Too Many Requests", Retry_After="Fri, 31 Dec 9999 23:59:59 GMT"))
    script("wait-zero", 16, answer("", "503 No", Retry_After="0"), answer(records))
    script("gzip", 16, answer(gzip.compress(records.encode(), mtime=0), Content_Encoding="gzip"))
    script("lines", 16, b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson; charset=utf-8\r\n\r\n"
           b'{"id": 1}\n{"id": 2}\n')
    script("utf16", 16, b"HTTP/1.1 200 OK\r\n\r\n\xff\xfe"[:-2] + records.encode("utf-16-le"))
    script("chunked", 16, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n[{}]\r\n0\r\n\r\n")
    script("moved", 16 + 32, b"HTTP/1.1 307 No\r\nLocation: http://127.0.0.2/@@\r\n\r\n", empty)


def redaction():
    # What `arbitrary` makes of bytes is told by mutation; these are only texts to take parts of.
    put("redaction", "texts", "s3cr%t/k\"y+ü𝄞\0abcd%25def%23<>\\u00fc\\\\\\\"?q=a%2520b&c=ZGVm")
    put("redaction", "bytes", bytes(range(256)))


def main():
    shutil.rmtree(HERE, ignore_errors=True)
    for make in (config, texts, parquet, mysql, binlog, rest, redaction):
        make()


if __name__ == "__main__":
    main()

"""Makes the small stand-ins for LongWriter-V's data sets in tests/data/benchmarks, as Hugging Face's `datasets` writes such:
Parquet with embedded pictures. Needs pyarrow (made with 19.0.1).

    python3 tools/make_benchmark_data.py tests/data/benchmarks
"""
import os
import struct
import sys
import zlib

import pyarrow as pa
import pyarrow.parquet as pq

IMAGES = pa.list_(pa.struct([("bytes", pa.binary()), ("path", pa.string())]))


def png(red, green, blue, size=56):
    """A picture of one colour."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = (b"\0" + bytes((red, green, blue)) * size) * size
    header = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def pictures(row, count):
    return [{"bytes": png(40 * row % 256, 90 * i % 256, 120), "path": f"{row}_{i}.png"} for i in range(count)]


def write(folder, name, columns, schema, **options):
    path = os.path.join(folder, name)
    pq.write_table(pa.table(columns, schema=pa.schema(schema)), path, **options)
    print(path, os.path.getsize(path), "bytes")


def ruler(folder):
    """Two items, one in each language, at two lengths."""
    lengths = [500, 1000]
    questions = [f"Write a {length}-word story about this picture." for length in lengths]
    questions += [f"看图写一篇{length}字的文章。" for length in lengths]
    write(folder, "ruler.parquet",
          {"id": list(range(4)), "question": questions, "L": lengths * 2, "images": [pictures(i, 1) for i in range(4)]},
          [("id", pa.int64()), ("question", pa.string()), ("L", pa.int64()), ("images", IMAGES)], compression="snappy")


def mmlongbench(folder):
    """One row of each length group and one more; two row groups; no id, as the published code never reads one."""
    lengths = [1000, 1500, 2500, 3000, 1200]
    write(folder, "mmlongbench.parquet",
          {"question": [f"Write {length} words about these pictures, please ({i})." for i, length in enumerate(lengths)],
           "L": lengths, "images": [pictures(i, i % 2 + 1) for i in range(5)]},
          [("question", pa.string()), ("L", pa.int64()), ("images", IMAGES)], compression="zstd", row_group_size=3)


def longwriter_v_22k(folder):
    """Messages as strings, in turn the user's and the assistant's; text that LLaMA-Factory would stumble over."""
    messages = [["<image>\nDescribe the picture.", "A blue square. <|im_end|> and <video> are no marks here."],
                ["What changes?", "The colour.", "And the size?", "It stays. <image> is a word."],
                ["Only a question without an answer"]]
    write(folder, "longwriter_v_22k.parquet",
          {"id": [7, 8, 9], "messages": messages, "images": [pictures(1, 1), pictures(2, 2), pictures(3, 1)]},
          [("id", pa.int64()), ("messages", pa.list_(pa.string())), ("images", IMAGES)], compression="gzip")


def kinds(folder):
    """Every kind of value, nulls and nested lists among them."""
    write(folder, "kinds.parquet",
          {"b": [True, None], "i": [-1, 2], "f": [.5, float("nan")], "s": ["é\"\n", None], "raw": [b"\0\xff", b""],
           "nested": [[[1, 2], []], None], "m": [{"x": None}, {"x": "y"}]},
          [("b", pa.bool_()), ("i", pa.int32()), ("f", pa.float64()), ("s", pa.string()), ("raw", pa.binary()),
           ("nested", pa.list_(pa.list_(pa.int64()))), ("m", pa.struct([("x", pa.string())]))], compression="none")


if __name__ == "__main__":
    os.makedirs(sys.argv[1], exist_ok=True)
    for make in (ruler, mmlongbench, longwriter_v_22k, kinds):
        make(sys.argv[1])

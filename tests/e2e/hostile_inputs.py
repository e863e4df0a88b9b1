"""Pictures and bodies that no server should fall over, from a seed. Each is (what, request body, whether it must be refused)."""
import base64
import glob
import json
import os
import struct
import zlib

from http_cluster import ROOT

IMAGES = sorted(glob.glob(os.path.join(ROOT, "tests", "data", "recording", "images", "*")))


def chat(url):
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "?"}]
    return json.dumps({"messages": [{"role": "user", "content": content}], "max_tokens": 1, "temperature": 0}).encode()


def picture(data, kind="png"):
    return chat(f"data:image/{kind};base64," + base64.b64encode(data).decode())


def png(width, height, rows=b"", depth=8, colour=2):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def gif(width, height):
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0" + struct.pack("<HH", width, height) + b"\0\x02\x02D\x01\0;"


def webp(data):
    return b"RIFF" + struct.pack("<I", len(data) + 4) + b"WEBP" + data


def broken_pictures(random):
    with open(random.choice(IMAGES), "rb") as file:
        whole = file.read()
    yield "cut short", picture(whole[:random.randrange(1, min(len(whole), 400) // 2)]), True
    yield "its first bytes gone", picture(whole[random.randrange(4, 12):]), True
    flipped = bytearray(whole)
    for _ in range(random.randrange(1, 30)):
        flipped[random.randrange(len(flipped))] ^= 1 << random.randrange(8)
    yield "bits flipped", picture(bytes(flipped)), False
    yield "cut anywhere", picture(whole[:random.randrange(len(whole))]), False
    at = random.randrange(len(whole))
    yield "bytes put in", picture(whole[:at] + random.randbytes(random.randrange(1, 99)) + whole[at:]), False
    yield "noise", picture(random.randbytes(random.randrange(0, 5000))), True
    yield "noise behind a known head", picture(random.choice([b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a", webp(b"VP8 ")]) + random.randbytes(300)), True
    side = random.randrange(20000, 2**31)
    yield "a PNG of billions of pixels", picture(png(side, side)), True
    yield "a PNG without rows", picture(png(random.randrange(1, 3000), random.randrange(1, 3000))), False
    yield "a PNG of no pixel", picture(png(0, random.randrange(9))), True
    yield "a PNG of impossible depth", picture(png(4, 4, b"\0" * 64, depth=random.choice([0, 3, 5, 32, 255]))), True
    yield "a PNG that unpacks to 64 MiB", picture(png(50, 50, b"\0" * (64 << 20))), False
    yield "a GIF of billions of pixels", picture(gif(65535, 65535)), True
    yield "another format", picture(random.choice([b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.7\n", b"BM" + bytes(60), b"II*\0" + bytes(60),
                                                   b"\0\0\0\x1cftypavif" + bytes(60), b"PK\3\4" + bytes(60)])), True
    yield "not base64", chat("data:image/png;base64," + random.choice(["????", "a", "=====", "YQ==YQ==", "\u00e9"])), True
    yield "another scheme", chat(random.choice(["file:///etc/passwd", "http://127.0.0.1/x.png", "https://169.254.169.254/", "gopher://x", "data:,x", "", "x" * 9000])), True


def broken_bodies(random):
    message = {"role": "user", "content": "Hi"}
    good = json.dumps({"messages": [message], "max_tokens": 1}).encode()
    yield "cut short", good[:random.randrange(len(good))], True
    yield "not UTF-8", good.replace(b"Hi", bytes([random.randrange(0x80, 0xC0)])), True
    yield "deep lists", b"[" * random.randrange(100, 100000), True
    yield "deep objects", b'{"messages":' * random.randrange(100, 20000), True
    yield "noise", random.randbytes(random.randrange(1, 3000)), True
    yield "another type", json.dumps(random.choice([None, True, 1, "x", [], [{}]])).encode(), True
    yield "a huge number", json.dumps({"messages": [message], "max_tokens": 1, "seed": 10**random.randrange(30, 400)}).encode(), True
    yield "numbers that are none", b'{"messages":[{"role":"user","content":"Hi"}],"max_tokens":1,"temperature":' + random.choice(
        [b"NaN", b"Infinity", b"1e999", b"-1e999", b"0x10", b"01"]) + b"}", True
    yield "a lone surrogate", good.replace(b"Hi", random.choice([b"\\ud800", b"\\udfff", b"\\ud800\\ud800"])), True
    field = random.choice(["temperature", "top_p", "n", "max_tokens", "stop", "seed", "top_k", "min_p", "stream", "logprobs", "messages", "model",
                           "request_id", "priority", "cache_salt", "stop_token_ids"])
    yield f"{field} of a wrong type", json.dumps({"messages": [message], "max_tokens": 1, field: {"x": [1]}}).encode(), True
    yield "an unknown role", json.dumps({"messages": [{"role": random.choice(["root", "", "tool", "SYSTEM", "\0"]), "content": "Hi"}]}).encode(), True
    yield "no content", json.dumps({"messages": [{"role": "user", "content": random.choice([None, 3, {}, [{}], [[]], [{"type": "text"}]])}]}).encode(), True
    yield "too many pictures", json.dumps({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}] * 5000}]}).encode(), True
    yield "a prompt beyond the context", json.dumps({"messages": [{"role": "user", "content": "word " * 200000}], "max_tokens": 1}).encode(), True
    yield "control tokens as text", json.dumps({"messages": [{"role": "user", "content": "<|im_end|><|image_pad|><|vision_start|>" * random.randrange(1, 50)}],
                                                "max_tokens": 1}).encode(), False


def plan_line(random):
    """A line of an outline, or nearly one."""
    number = random.choice(["1", "2", "0", "-1", "01", "9" * 30, "\u0661", "", "1.5", "k"])
    words = random.choice(["1", "200", "0", "-5", "1e9", "9" * 19, "9" * 400, "", "two", "1,000", "5 5", "\uff15"])
    point = random.choice(["the mill", "", "- Word Count: 7 -", "\0", "<|im_end|>", "x" * random.randrange(5000), "\u4e2d\u6587", "Section 2 - Main Point: a"])
    return random.choice(["", " ", "\t", "**", "# "]) + f"Section {number} - Main Point: {point} - Word Count: {words}" + random.choice(["", " ", "\r", "\0", " words"])


def hostile_documents(random):
    """Bodies for /v1/documents, whose calls are of one token."""
    def body(**fields):
        return json.dumps({"instruction": "Write.", "plan": "Section 1 - Main Point: the mill - Word Count: 5", "max_tokens": 1, "temperature": 0,
                           "stream": random.random() < .5, **fields}).encode()
    yield "nearly an outline", body(plan="\n".join(plan_line(random) for _ in range(random.randrange(1, 6)))), False
    yield "an outline of noise", body(plan=random.randbytes(random.randrange(3000)).decode("latin-1")), False
    yield "a plan of no section", body(plan=random.choice(["", "\n" * 1000, "Section", "- Word Count: 5", " " * 100000])), False
    yield "a section's number again and again", body(plan="Section 1 - Main Point: a - Word Count: 5\n" * random.randrange(2, 20)), False
    yield "a plan of too many sections", body(plan="\n".join(f"Section {k} - Main Point: a - Word Count: 1" for k in range(1, 5000))), True
    yield "a number of words that is none", body(target_words=random.choice([0, -1, 1.5, 10**30, True, "5", [5], {}, 640001, 2**63])), True
    yield "a number of words", body(target_words=random.choice([1, 2.0, 5, 640000]), repetition_guard=random.random() < .5), False
    yield "an instruction of nothing", body(instruction=random.choice(["", " ", "\u3000\n\t", "\0", 5, [], {}])), False
    yield "control tokens as an instruction", body(instruction="<|im_end|><|image_pad|><|vision_start|>" * random.randrange(1, 50)), False
    yield "an instruction beyond the context", body(instruction="word " * random.randrange(5000, 100000)), True
    yield "pictures that are none", body(images=random.choice([["data:,"], [5], [{}], "x", [{"url": 5}], ["file:///etc/passwd"], ["data:image/png;base64,aGk="] * 40])), True
    yield "messages that are none", body(instruction=None, messages=random.choice([[], [{}], "x", [{"role": "system", "content": "a"}], [{"role": "user", "content": []}],
                                                                               [{"role": "user", "content": "a"}] * 2])), True
    yield "an adapter that is not there", body(model=random.choice(["a", "../../etc", "\0", "x" * 100000, "nano ", "\u00e9", "%2e%2e"])), True
    yield "a field of a wrong type", body(**{random.choice(["plan", "target_words", "instruction", "stream", "model", "max_tokens", "request_id", "images",
                                                            "repetition_guard", "on_disconnect", "seed"]): random.choice([{"x": 1}, [[]], 1e300])}), True


def hostile_targets(random):
    """Bodies for /v1/chat/completions that ask for a number of words."""
    def body(**fields):
        return json.dumps({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3, **fields}).encode()
    yield "a target that is none", body(target_words=random.choice([0, -1, 1.5, 10**30, True, "5", [5], {}, 1000001, 2**63])), True
    yield "a target", body(target_words=random.choice([1, 3.0, 1000000]), n=random.choice([1, 2]), ignore_eos=random.random() < .5,
                           min_tokens=random.randrange(4), stop=random.choice([None, "e", ["a", "\u4e2d"]]),
                           repetition_guard=random.choice([None, True, False])), False


def endless_words(random):
    """As endless(), with the path in front."""
    while True:
        for case in hostile_documents(random):
            yield "/v1/documents", *case
        for case in hostile_targets(random):
            yield "/v1/chat/completions", *case


def endless(random):
    while True:
        yield from broken_pictures(random)
        yield from broken_bodies(random)

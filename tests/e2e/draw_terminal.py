#!/usr/bin/env python3
"""Draws what the command line shows on a terminal as PNGs: tmux is the terminal, in which real commands run against a real cluster
with the demo's model; what stands on its screen is drawn with DejaVu Sans Mono.

    apt-get install tmux fonts-dejavu-core; pip install pillow
    tests/e2e/draw_terminal.py docs/images [NAME ...]
"""
import contextlib
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

from PIL import Image, ImageDraw, ImageFont

from http_cluster import BINARIES, PATIENCE_S, ROOT, Cluster

DEMO = os.path.join(ROOT, "demo")
PICTURE = os.path.join(DEMO, "pictures", "beach.png")
FONTS = pathlib.Path("/usr/share/fonts/truetype/dejavu")
COLUMNS, ROWS = 104, 30
SIZE, PAD = 20, 24  # pixels
INK, PAPER, PROMPT = "#e6edf3", "#0d1117", "$ "
COLOURS = ["#484f58", "#ff7b72", "#3fb950", "#d29922", "#58a6ff", "#bc8cff", "#39c5cf", "#e6edf3"]


class Terminal:
    """A shell in a tmux of its own, where `longhand` is on the PATH and finds the cluster by its environment."""

    def __init__(self, environment):
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        (pathlib.Path(self._folder.name) / "photo.png").symlink_to(PICTURE)
        environment = {"PATH": f"{BINARIES}:{os.environ['PATH']}", "PS1": PROMPT, "TERM": "screen-256color", "LANG": "C.UTF-8",
                       "HOME": self._folder.name, **environment}
        self._tmux("new-session", "-d", "-x", str(COLUMNS), "-y", str(ROWS), "env", "-i",
                   *(f"{name}={value}" for name, value in environment.items()), "bash", "--norc", "--noprofile")
        self._wait(lambda: self.text().startswith(PROMPT.strip()))

    def _tmux(self, *words):
        return subprocess.run(["tmux", "-S", f"{self._folder.name}/tmux", "-f", "/dev/null", *words], cwd=self._folder.name, check=True,
                              capture_output=True, text=True).stdout

    def _wait(self, holds):
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            if time.monotonic() > deadline:
                raise SystemExit(f"this is not what was waited for:\n{self.text()}")
            time.sleep(.05)

    def text(self):
        return self._tmux("capture-pane", "-p").rstrip()

    def screen(self):
        """The lines, with their colours as escape sequences."""
        return self._tmux("capture-pane", "-e", "-p").rstrip("\n").split("\n")

    def run(self, command, until=None):
        """What stands there when `until` (an expression) does, or when the command has ended."""
        self._tmux("send-keys", command, "Enter")
        ends = re.compile(until or r"\n" + re.escape(PROMPT.strip()) + r"$")
        self._wait(lambda: ends.search(self.text()))
        lines = self.screen()
        while lines and (not lines[-1].strip() or lines[-1] == PROMPT.strip()):
            lines.pop()
        return lines

    def close(self):
        with contextlib.suppress(subprocess.CalledProcessError):
            self._tmux("kill-server")
        self._folder.cleanup()


def runs(lines):
    """Pieces of text with (row, column, colour, whether bold): escape sequences hold until the next, lines or not."""
    colour, bold, row, column = INK, False, 0, 0
    for text, codes in re.findall(r"([^\x1b\n]+|\n)|\x1b\[([0-9;]*)m", "\n".join(lines)):
        if text == "\n":
            row, column = row + 1, 0
            continue
        if text:
            yield text, row, column, colour, bold
            column += len(text)
            continue
        for code in (int(number or 0) for number in codes.split(";")):
            if code == 0:
                colour, bold = INK, False
            elif code == 1:
                bold = True
            elif code == 39:
                colour = INK
            elif 30 <= code < 38 or 90 <= code < 98:
                colour = COLOURS[code % 10]


def draw(lines, path):
    faces = [ImageFont.truetype(str(FONTS / name), SIZE) for name in ("DejaVuSansMono.ttf", "DejaVuSansMono-Bold.ttf")]
    step, height = faces[0].getlength("m"), round(SIZE * 1.35)
    image = Image.new("RGB", (round(COLUMNS * step) + 2 * PAD, len(lines) * height + 2 * PAD), PAPER)
    pen = ImageDraw.Draw(image)
    for text, row, column, colour, bold in runs(lines):
        pen.text((PAD + column * step, PAD + row * height), text, font=faces[bold], fill=colour)
    image.quantize(128).save(path, optimize=True)
    print(f"{path}: {image.width} x {image.height}, {os.path.getsize(path) // 1024} KiB")


@contextlib.contextmanager
def writers(count, endpoint):
    """So many long answers that run meanwhile."""
    processes = [subprocess.Popen([os.path.join(BINARIES, "longhand"), "generate", "--endpoint", endpoint, "--prompt", "Write a long story.",
                                   "--ignore-eos", "--max-tokens", "20000"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                 for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
            process.wait()


def status(terminal, endpoint):
    with writers(3, endpoint):
        # The second look has rates; some tokens are there.
        return terminal.run("longhand status --watch", until=r" running, .* [1-9][0-9.]* tokens/s(.|\n)*\n +1  ready")


SCENES = {
    "generate": lambda terminal, _: terminal.run("longhand generate --image photo.png --prompt 'Write 100 words about this picture.' --seed 3"),
    "status": status,
    "bench": lambda terminal, _: terminal.run("longhand bench serve --num-prompts 16 --max-concurrency 4 --max-tokens 64"),
    # The plan and how the story begins.
    "demo": lambda terminal, _: terminal.run("longhand demo --seed 1", until=r"\n\(1/(.|\n)*\n\(2/"),
    "doctor": lambda terminal, _: terminal.run("longhand doctor --http-address 127.0.0.1:0 --grpc-address 127.0.0.1:0 --metrics-address 127.0.0.1:0"),
}


def main(folder, *names):
    cluster = Cluster("--model", os.path.join(DEMO, "model"), "--served-model-name", "longhand-demo", "--tp", "2")
    try:
        endpoint = cluster.ready()["grpc"]
        for name in names or SCENES:
            terminal = Terminal({"LONGHAND_ENDPOINT": endpoint} if name != "demo" else {})
            try:
                draw(SCENES[name](terminal, endpoint), pathlib.Path(folder) / f"terminal-{name}.png")
            finally:
                terminal.close()
    finally:
        cluster.stop()


if __name__ == "__main__":
    if len(sys.argv) < 2 or not set(sys.argv[2:]) <= set(SCENES):
        raise SystemExit(f"usage: draw_terminal.py FOLDER [{' | '.join(SCENES)} ...]")
    main(*sys.argv[1:])

"""python3 tools/gpu_check/join.py DIR FILE: the parts that gpu_check left in DIR as one file, for bench/results/<gpu>/<date>.json."""
import json
import pathlib
import sys


def main():
    folder, out = map(pathlib.Path, sys.argv[1:])
    parts = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    lines = ["[\n"]
    for i, part in enumerate(parts):
        lines.append(" {\n")
        fields = []
        for key, value in part.items():
            rows = [json.dumps(row, ensure_ascii=False) for row in value] if isinstance(value, list) else None
            text = json.dumps(value, ensure_ascii=False) if rows is None else "[\n   " + ",\n   ".join(rows) + "\n  ]"
            fields.append(f"  {json.dumps(key)}: {text}")
        lines.append(",\n".join(fields) + "\n")
        lines.append(" }" + ("," if i + 1 < len(parts) else "") + "\n")
    lines.append("]\n")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()

"""golden.py TABLES GOLDEN: decodes the golden messages and compares every bit.

An independent decoder in plain Python (3.8 or later, nothing to install), written from
docs/patterns.md. Prints what it compared; fails with the first difference.
"""

import sys

sys.dont_write_bytecode = True

from message import Message  # noqa: E402
from tables import Tables  # noqa: E402


def line(pattern):
    units = b"".join((unit & 0xFFFF).to_bytes(2, "little") for unit in pattern["embedding"])
    counts = f"{pattern['sample_count']} {pattern['success_count']}"
    return f"pattern {pattern['id']:032x} {pattern['genre']} {counts} {units.hex()}"


def main(tables_path, golden_path):
    with open(tables_path, "rb") as file:
        tables = Tables(file.read())
    with open(golden_path, encoding="utf-8") as file:
        lines = file.read().splitlines()
    messages = count = 0
    known, wanted = [], []
    for number, text in enumerate(lines, 1):
        if text.startswith("message "):
            assert not wanted, f"line {number}: patterns are missing"
            known = Message(tables, bytes.fromhex(text.split(" ")[2])).decode(known)
            wanted = [line(pattern) for pattern in known]
            messages += 1
        else:
            assert wanted and wanted.pop(0) == text, f"line {number}: other bits"
            count += 1
    assert not wanted, "patterns are missing"
    print(f"{messages} messages, {count} patterns: the same bits")


if __name__ == "__main__":
    main(*sys.argv[1:])

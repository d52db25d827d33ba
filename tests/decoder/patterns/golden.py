"""golden.py TABLES GOLDEN: decodes the golden messages and compares every bit.

An independent decoder in plain Python (3.8 or later, nothing to install), written from
docs/patterns.md. Prints what it compared; fails with the first difference.
"""

import json
import sys

from message import Message
from tables import Tables


def main(tables_path, golden_path):
    with open(tables_path, "rb") as file:
        tables = Tables(file.read())
    with open(golden_path, encoding="utf-8") as file:
        golden = json.load(file)
    count, bases = 0, {}
    for case in golden["messages"]:
        data = bytes.fromhex(case["hex"])
        decoded = Message(tables, data).decode(list(bases.values()))
        assert len(decoded) == len(case["patterns"]), case["name"]
        for got, wanted in zip(decoded, case["patterns"]):
            units = bytes.fromhex(wanted["embedding"])
            pairs = zip(units[::2], units[1::2])
            signed = [int.from_bytes(bytes(pair), "little", signed=True) for pair in pairs]
            assert got["embedding"] == signed, f"{case['name']}: embedding of {wanted['id']}"
            for field in ("genre", "sample_count", "success_count"):
                assert got[field] == wanted[field], f"{case['name']}: {field} of {wanted['id']}"
            assert f"{got['id']:032x}" == wanted["id"], case["name"]
            bases[got["id"]] = got
            count += 1
    print(f"{len(golden['messages'])} messages, {count} patterns: the same bits")


if __name__ == "__main__":
    main(*sys.argv[1:])

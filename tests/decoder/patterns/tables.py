"""A file of tables, as docs/patterns.md describes it."""

from coder import Bit, Malformed, Reader

DIMENSIONS = 384
CLASSES, LEVELS, SCALES, SIGNED, QUANTISERS = 32, 5, 8, 8, 2
QUANTUM_BITS = QUANTISERS * CLASSES * LEVELS
KIND_BITS = QUANTUM_BITS + SCALES + SIGNED
MODEL_BITS = 3 * KIND_BITS + 3
EIGHTHS = (128, 140, 152, 166, 181, 197, 215, 235)


def checksum(data):
    """FNV-1a, 32 bits."""
    value = 0x811C9DC5
    for byte in data:
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value


class Tables:
    def __init__(self, data):
        if data[:4] != b"OST\x02":
            raise Malformed("tables")
        self.id, self.data, self.at = checksum(data), data, 4
        self.genres = [self.take(self.varint()).decode() for _ in range(self.varint())]
        rank = self.varint()
        self.message, self.genre, self.own, self.certainty = (self.varint() for _ in range(4))
        self.step = self.take(1)[0]
        self.variances = [EIGHTHS[log % 8] << (log // 8) >> 7 for log in self.take(rank)]
        self.starts = []
        for _ in range(MODEL_BITS):
            low, high, count = self.take(3)
            self.starts.append(Bit.learned(low | high << 8, count))
        reader, tree = Reader(data[self.at :]), []
        self.centroids = [
            [(reader.symbol(tree, 256) - 128) << 14 for _ in range(DIMENSIONS)]
            for _ in range(len(self.genres) + 1)
        ]
        tree = []
        self.rows = [
            [reader.symbol(tree, 256) - 128 for _ in range(DIMENSIONS)] for _ in range(rank)
        ]
        reader.finish()

    def take(self, length):
        self.at += length
        return self.data[self.at - length : self.at]

    def varint(self):
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

"""The range coder of docs/protocol.md, reading only: integers, nothing imported."""

RANGE_MIN = 1 << 24
MEMORY = 126
MASK = (1 << 32) - 1


class Malformed(Exception):
    """The bytes have no meaning."""


class Bit:
    """An adaptive decision: how much likelier than one half 0 is, and after how many decisions."""

    def __init__(self, lean=0, count=0):
        self.lean, self.count = lean, count

    @staticmethod
    def learned(probability, count):
        return Bit(max(-0x7FFF, min(0x7FFF, probability - 0x8000)), min(count, MEMORY))

    @staticmethod
    def rare(count):
        return Bit(0x7FFF - 0x8000 // (count + 1), count)

    def copy(self):
        return Bit(self.lean, self.count)

    def update(self, value):
        target = -0x7FFF if value else 0x7FFF
        # Python's >> rounds down, as an arithmetic shift does.
        self.lean += ((target - self.lean) * (0x10000 // (self.count + 2))) >> 16
        self.count = min(MEMORY, self.count + 1)


class Number:
    """A number whose length in bits is adaptive; this one keeps its expectation."""

    LENGTHS = 12

    def __init__(self, bits, highest):
        self.expected, self.max = 16 * bits, highest
        self.shorter = Bit()
        self.down = [Bit() for _ in range(self.LENGTHS)]
        self.up = [Bit() for _ in range(self.LENGTHS)]
        self.top = [Bit() for _ in range(3 * self.LENGTHS)]


class Reader:
    def __init__(self, data):
        self.data, self.at, self.range, self.low = data, 0, MASK, 0
        for _ in range(4):
            self.low = self.low << 8 | self.byte()

    def byte(self):
        value = self.data[self.at] if self.at < len(self.data) else 0
        self.at += 1
        return value

    def finish(self):
        if self.at < len(self.data) or self.data[-1:] == b"\0":
            raise Malformed("bytes after the end")

    def narrow(self, start, size):
        self.low -= start
        self.range = size
        while self.range < RANGE_MIN:
            self.range = self.range << 8 & MASK
            self.low = (self.low << 8 | self.byte()) & MASK

    def bit(self, model):
        bound = (self.range >> 16) * (0x8000 + model.lean)
        value = self.low >= bound
        if value:
            self.narrow(bound, self.range - bound)
        else:
            self.narrow(0, bound)
        model.update(value)
        return value

    def part(self, total):
        part = self.range // total
        value = min(self.low // part, total - 1)
        self.narrow(value * part, part)
        return value

    def direct(self, bits):
        read = 0
        while bits > 0:
            now = min(bits, 16)
            bits -= now
            read = read << now | self.part(1 << now)
        return read

    def uniform(self, total):
        highest = max(total - 1, 0)
        below = max(highest.bit_length() - 16, 0)
        high = self.part((highest >> below) + 1)
        read = high << below | self.direct(below)
        if read > highest:
            raise Malformed("number")
        return read

    def small(self):
        below = 0
        while below < 32 and self.direct(1) == 1:
            below += 1
        return (1 << below | self.direct(below)) - 1

    def symbol(self, tree, count):
        bits = (count - 1).bit_length()
        while len(tree) < 1 << bits:
            tree.append(Bit())
        node = 1
        for _ in range(bits):
            node = node << 1 | self.bit(tree[node])
        if node - (1 << bits) >= count:
            raise Malformed("symbol")
        return node - (1 << bits)

    def number(self, model):
        longest = model.max.bit_length()
        expected = bits = min((model.expected + 8) >> 4, longest)
        if expected > 0 and self.bit(model.shorter):
            bits, at = bits - 1, 0
            while bits > 0 and self.bit(model.down[at]):
                bits, at = bits - 1, min(at + 1, Number.LENGTHS - 1)
        else:
            at = 0
            while bits < longest and self.bit(model.up[at]):
                bits, at = bits + 1, min(at + 1, Number.LENGTHS - 1)
        if bits < 2:
            return min(bits, model.max)
        low = 1 << (bits - 1)
        if bits == longest:
            return low + self.uniform(model.max - low + 1)
        place = 3 * min(max(bits + Number.LENGTHS // 2 - expected, 0), Number.LENGTHS - 1)
        left, read = bits - 1, 1
        for node in range(2):
            if left > 0:
                left -= 1
                at = place + (0 if node == 0 else read - 1)
                read = read << 1 | self.bit(model.top[at])
        return read << left | self.direct(left)

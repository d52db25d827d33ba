"""A message of patterns, decoded as docs/patterns.md says: integers only, no NumPy."""

from math import isqrt

from coder import Bit, Malformed, Number, Reader
from tables import CLASSES, DIMENSIONS, KIND_BITS, LEVELS, QUANTUM_BITS, SCALES, SIGNED, checksum

FIRST, AGAIN, FINE = 0, 1, 2
SAMPLES_MAX = 1 << 28
STEPS = 44


def clamp(value, low, high):
    return max(low, min(high, value))


def step(index):
    return (16, 19, 23, 27)[index % 4] << index // 4


# The next state by the parity of a quantum; from state 2 on the second quantiser.
NEXT = ((0, 2), (2, 0), (1, 3), (3, 1))
GROWTH_MAX, GROWTH_BITS = 24, 6


def level(quantum, quantiser, size):
    if quantum == 0:
        return 0
    back = 6 if abs(quantum) == 1 else 4
    place = 32 * (2 * abs(quantum) - quantiser) - back
    value = min(place * size >> 5, 1 << 15)
    return -value if quantum < 0 else value


def plain_level(quantum, size):
    back = 3 if abs(quantum) == 1 else 2
    value = clamp((abs(quantum) * 32 - back) * size >> 5, 0, 1 << 15)
    return -value if quantum < 0 else value


def half_octaves(value):
    whole = max(value.bit_length() - 1, 0)
    top = (value | (value == 0)) << 7 >> whole
    return 2 * whole + (top >= 152) + (top >= 215)


class Common:
    """What the first versions of a message have in common."""

    def __init__(self, tables):
        self.tables = tables
        self.groups = {}
        self.weighted = [0] * DIMENSIONS
        self.squares = [0] * len(tables.variances)
        self.count = 0

    def reach(self, count):
        return self.tables.own + self.tables.genre * count

    def prior(self, genre):
        t = self.tables
        total = sum((group[0] << 16) // self.reach(group[0]) for group in self.groups.values())
        message = (t.message << 32) // ((1 << 16) + t.message * total)
        group = self.groups.get(genre)
        own = (t.genre << 16) // self.reach(group[0]) if group else 0
        prior = []
        for at, centroid in enumerate(t.centroids[genre]):
            shared = self.weighted[at] * message >> 16
            beyond = (group[1][at] - group[0] * shared) * own >> 16 if group else 0
            prior.append(clamp(centroid + shared + beyond, -(1 << 25), 1 << 25))
        return prior

    def add(self, genre, point, levels):
        group = self.groups.setdefault(genre, [0, [0] * DIMENSIONS, [0] * DIMENSIONS])
        group[0] += 1
        weight = (1 << 16) // self.reach(group[0])
        for at, centroid in enumerate(self.tables.centroids[genre]):
            group[1][at] += clamp(point[at] - centroid, -(1 << 24), 1 << 24)
            weighted = group[1][at] * weight >> 16
            self.weighted[at] += weighted - group[2][at]
            group[2][at] = weighted
        self.count += 1
        for at, value in levels:
            self.squares[at] += value * value

    def variances(self):
        certainty = self.tables.certainty
        factor = (1 << 16) // (certainty + self.count)
        pairs = zip(self.tables.variances, self.squares)
        return [(variance * certainty + square) * factor >> 16 for variance, square in pairs]


def normalise(point):
    parts = [component >> 4 for component in point]
    norm = isqrt(sum(part * part for part in parts))
    if norm == 0:
        raise Malformed("norm")
    return [clamp(((part << 16) + norm) // (2 * norm), -32767, 32767) for part in parts]


def bases_sum(bases):
    data = b""
    for base in bases:
        data += base["sample_count"].to_bytes(4, "little")
        data += base["success_count"].to_bytes(4, "little")
        data += b"".join((unit & 0xFFFF).to_bytes(2, "little") for unit in base["embedding"])
    return checksum(data)


class Message:
    def __init__(self, tables, data):
        if data[0] != 3:
            raise Malformed("version")
        if int.from_bytes(data[1:5], "little") != tables.id:
            raise Malformed("other tables")
        self.tables, self.coder = tables, Reader(data[5:])
        self.bits = [bit.copy() for bit in tables.starts]
        self.common = Common(tables)
        self.steps = [tables.step, tables.step]
        self.last_genre = len(tables.genres)
        self.samples, self.misses = Number(4, SAMPLES_MAX), Number(2, SAMPLES_MAX)
        self.odd = Bit.rare(8)
        self.more = [Bit() for _ in range(GROWTH_BITS)]
        self.missed = [Bit.rare(2) for _ in range(GROWTH_BITS)]
        self.others = [Number(2, 2 * SAMPLES_MAX), Number(0, 2 * SAMPLES_MAX)]

    def decode(self, bases):
        firsts, agains = self.coder.small(), self.coder.small()
        if firsts + agains > 256:
            raise Malformed("count")
        ids, again = self.ids(firsts), self.ids(agains)
        known = {base["id"]: base for base in bases}
        if any(name not in known for name in again):
            raise Malformed("base unknown")
        builds_on = [known[name] for name in again]
        if builds_on and self.coder.direct(32) != bases_sum(builds_on):
            raise Malformed("base unknown")
        patterns = [self.first(name) for name in ids]
        patterns += [self.again(base) for base in builds_on]
        self.coder.finish()
        return patterns

    def ids(self, count):
        short, read = [Bit() for _ in range(8)], []
        for at in range(count):
            least, length = 8 if at else 0, 0
            while length < least and self.coder.bit(short[length]):
                length += 1
            if length == least:
                length += self.coder.uniform(129 - least)
            gap = int(length > 0)
            for place in (96, 64, 32, 0):
                width = clamp(length - 1 - place, 0, 32)
                gap = gap << width | self.coder.direct(width)
            read.append((read[-1] + 1 if read else 0) + gap)
            if read[-1] >> 128:
                raise Malformed("pattern id")
        return read

    def first(self, name):
        genre, place = self.genre()
        samples = self.coder.number(self.samples)
        misses = self.coder.number(self.misses)
        variances = self.common.variances()
        point, levels = self.point(FIRST, self.common.prior(place), lambda size: variances)
        self.common.add(place, point, levels)
        return pattern(name, genre, samples, misses, normalise(point))

    def again(self, base):
        samples, misses = self.counts(base["sample_count"], base["success_count"])
        embedding = base["embedding"]
        if not self.coder.bit(self.bits[3 * KIND_BITS + 2]):
            fresh = max(abs(samples - base["sample_count"]), 1)
            moved = min((fresh << 20) // max(samples * samples, 1), 1 << 20)
            known = self.tables.variances

            def variances(size):
                return [(value * moved * 8 >> 20) + (size * size >> 5) for value in known]

            prior = [unit << 7 for unit in embedding]
            embedding = normalise(self.point(AGAIN, prior, variances)[0])
        return pattern(base["id"], base["genre"], samples, misses, embedding)

    def counts(self, samples, successes):
        misses = samples - successes
        if self.coder.bit(self.odd):
            samples = self.difference(self.others[0], samples)
            return samples, self.difference(self.others[1], misses)
        more = self.unary(self.more, GROWTH_MAX)
        return samples + more, misses + self.unary(self.missed, more)

    def unary(self, models, most):
        read = 0
        while read < most and self.coder.bit(models[min(read, GROWTH_BITS - 1)]):
            read += 1
        return read

    def difference(self, model, old):
        told = self.coder.number(model)
        return old - (told + 1) // 2 if told & 1 else old + told // 2

    def genre(self):
        genres = self.tables.genres
        if not self.coder.bit(self.bits[3 * KIND_BITS]):
            self.last_genre = self.coder.uniform(len(genres) + 1)
        if self.last_genre < len(genres):
            return genres[self.last_genre], self.last_genre
        length = self.coder.uniform(33)
        text = bytes(self.coder.direct(8) for _ in range(length)).decode()
        return text, len(genres)

    def point(self, kind, prior, variances):
        """The point before it is scaled, and the levels that are not zero."""
        at = kind * KIND_BITS + QUANTUM_BITS
        node = 1
        for _ in range(3):
            node = node << 1 | self.coder.bit(self.bits[at + node])
        scale = node - SCALES
        index = self.steps[kind] + self.signed(at + SCALES)
        if not 0 <= index < STEPS:
            raise Malformed("step")
        self.steps[kind] = index
        size = step(index)
        square = half_octaves(size * size)
        state, read = 0, []
        for variance in variances(size):
            place = clamp(half_octaves(variance) - square + 22 + scale - 4, 0, CLASSES - 1)
            quantum = self.quantum(kind, place + CLASSES * (state >> 1))
            read.append(level(quantum, state >> 1, size))
            state = NEXT[state][quantum & 1]
        point, levels = list(prior), []
        for place, value in enumerate(read):
            if value:
                levels.append((place, value))
                point = [p + value * r for p, r in zip(point, self.tables.rows[place])]
        if self.coder.bit(self.bits[3 * KIND_BITS + 1]):
            place, size = self.coder.uniform(CLASSES), step(self.coder.uniform(STEPS))
            point = [p + (plain_level(self.quantum(FINE, place), size) << 7) for p in point]
        return point, levels

    def quantum(self, kind, place):
        at = kind * KIND_BITS + place * LEVELS
        if not self.coder.bit(self.bits[at]):
            return 0
        negative = self.coder.direct(1)
        size = 1
        while size < 14 and self.coder.bit(self.bits[at + min(size, LEVELS - 1)]):
            size += 1
        if size == 14:
            size += min(self.coder.small(), 1 << 16)
        return -size if negative else size

    def signed(self, at):
        if not self.coder.bit(self.bits[at]):
            return 0
        negative = self.coder.bit(self.bits[at + 1])
        size = 1
        while size < 64 and self.coder.bit(self.bits[at + min(1 + size, SIGNED - 1)]):
            size += 1
        return -size if negative else size


def pattern(name, genre, samples, misses, embedding):
    if not 1 <= samples <= SAMPLES_MAX or not 0 <= misses <= samples:
        raise Malformed("counts")
    return {
        "id": name,
        "genre": genre,
        "sample_count": samples,
        "success_count": samples - misses,
        "embedding": embedding,
    }

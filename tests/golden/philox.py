"""Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") and the draws that src/base/rng.hpp makes of it."""
import numpy as np
import torch

WORD = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)
DIRECTIONS = 12  # Purpose::kDirections


def philox4x32(counter, key):
    """counter: four, key: two arrays or numbers below 2^32 -> four arrays."""
    c = [np.asarray(word, dtype=np.uint64) for word in counter]
    k = [int(word) for word in key]
    for _ in range(10):
        first, second = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [(second >> HALF) ^ c[1] ^ np.uint64(k[0]), second & WORD, (first >> HALF) ^ c[3] ^ np.uint64(k[1]), first & WORD]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


# known answers of the published library
for known_counter, known_key, known in (((0,) * 4, (0,) * 2, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
                                        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
                                        ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0),
                                         (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1))):
    assert tuple(int(word) for word in philox4x32(known_counter, known_key)) == known


def normals(seed, position, lanes, purpose, count):
    """[lanes, count] standard normal numbers, float64: the first `count` of each lane. One takes a block, two uniform numbers of 53 bits each (Box-Muller)."""
    lane, block = np.meshgrid(np.arange(lanes, dtype=np.uint64), np.arange(count, dtype=np.uint64), indexing="ij")
    counter = (position & 0xFFFFFFFF, position >> 32, lane, np.uint64(purpose << 16) + block)
    words = philox4x32(counter, (seed & 0xFFFFFFFF, seed >> 32))
    u, v = (((words[i] | (words[i + 1] << HALF)) >> np.uint64(11)).astype(np.float64) * 2.0 ** -53 for i in (0, 2))
    return torch.from_numpy(np.sqrt(-2.0 * np.log(1.0 - u)) * np.cos(2.0 * np.pi * v))


def directions(width, count, seed, step):
    """[width, count], unit columns: those of sigreg_directions."""
    drawn = normals(seed, step, count, DIRECTIONS, width)
    return (drawn / drawn.norm(dim=1, keepdim=True)).t()

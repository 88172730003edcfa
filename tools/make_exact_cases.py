"""Prints the rows of exact_test.cc's kFractionCases, computed with fractions.

Terms are drawn by SplitMix64 as in kernels/measure/random.h: a sign, 52 random
fraction bits and a biased exponent in [low, high] each.
"""

import math
import struct
from fractions import Fraction

MASK = (1 << 64) - 1


class Random:

  def __init__(self, seed):
    self.state = seed

  def next(self):
    self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
    z = self.state
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)

  def double(self, low, high):
    bits = self.next()
    exponent = low + self.next() % (high - low + 1)
    pattern = (bits & ~(0x7FF << 52)) | exponent << 52
    return struct.unpack('<d', struct.pack('<Q', pattern))[0]


def rounded(x, precision, lowest_exponent, overflow_exponent):
  """x to nearest, ties to even; from the definition, in exact arithmetic."""
  if x == 0:
    return 0.0
  magnitude = abs(x)
  exponent = magnitude.numerator.bit_length() - magnitude.denominator.bit_length()
  if magnitude < Fraction(2)**exponent:
    exponent -= 1
  unit = Fraction(2)**max(exponent - precision + 1, lowest_exponent)
  result = round(magnitude / unit) * unit  # round() of a Fraction: ties to even
  if result >= Fraction(2)**overflow_exponent:
    result = math.inf
  return -float(result) if x < 0 else float(result)


def literal(x):
  if math.isinf(x):
    return '-kInfinity' if x < 0 else 'kInfinity'
  text = x.hex()
  return text.replace('0x0.0p+0', '0.0')


def main():
  for seed, n, low, high in [
      (1, 10, 0, 2046),  # any finite doubles, products from 2^-2148 to 2^2046
      (2, 100, 1000, 1046),
      (3, 100, 1022, 1023),
      (4, 50, 0, 3),  # subnormal sums
      (5, 7, 2040, 2046),  # sums that overflow
      (6, 500, 900, 1140),
      (7, 20, 485, 500),  # products that are subnormal as doubles
      (8, 20, 500, 520),
      (9, 40, 920, 950),  # products that are subnormal as floats
      (10, 3, 1010, 1030),
  ]:
    random = Random(seed)
    a, b = [], []
    for _ in range(n):
      a.append(random.double(low, high))
      b.append(random.double(low, high))
    total = sum(map(Fraction, a))
    dot = sum(Fraction(x) * Fraction(y) for x, y in zip(a, b))
    values = [
        rounded(total, 53, -1074, 1024),
        rounded(total, 24, -149, 128),
        rounded(dot, 53, -1074, 1024),
        rounded(dot, 24, -149, 128),
        rounded(dot, 8, -133, 128),
    ]
    print('    {%d, %d, %d, %d, %s},' %
          (seed, n, low, high, ', '.join(map(literal, values))))


if __name__ == '__main__':
  main()

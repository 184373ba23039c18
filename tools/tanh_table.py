"""Prints the tables of src/kernel/tanh_table.rs: tanh as polynomials, one for each interval (needs numpy).

With u = 1 + s |x| the interval of a number is its exponent and the top bits of its mantissa, so finding it takes one
shift. s is chosen so that u = 16, where the tables end, is where tanh is 1 but for half a unit in the last place of a
32-bit float. The fine table has 16 intervals and degree 5, in the distance from the interval's lower end; the coarse
one 32 and degree 3, in u itself, which saves finding that distance.
"""

import numpy as np

SCALE = 15 / 8.7
OCTAVES = 4


def tanh(u: np.ndarray) -> np.ndarray:
    return np.tanh((u - 1) / SCALE)


def fit(low: float, width: float, degree: int, origin: float) -> np.ndarray:
    """Coefficients in u - origin, lowest first, near the minimax polynomial (Chebyshev nodes)."""
    if low == origin == 1.0:  # exactly 0 at 0, and precise relative to the value near it
        nodes = low + width * (0.5 - 0.5 * np.cos(np.pi * (np.arange(64) + 0.5) / 64))
        r, value = nodes - low, tanh(nodes)
        powers = np.vander(r, degree, increasing=True)
        weight = r / value
        rest = np.linalg.lstsq(powers * weight[:, None], value / r * weight, rcond=None)[0]
        return np.concatenate([[0.0], rest])
    series = np.polynomial.chebyshev.Chebyshev.interpolate(tanh, degree, [low, low + width])
    shifted = np.polynomial.Polynomial([origin, 1.0])
    return series.convert(kind=np.polynomial.Polynomial, domain=[-1, 1], window=[-1, 1])(shifted).coef


def print_table(name: str, degree: int, bits: int, from_low: bool) -> None:
    """`bits` of the mantissa tell intervals of one octave apart."""
    parts = 2**bits
    table = np.zeros((degree + 1, OCTAVES * parts), dtype=np.float32)
    worst = 0.0
    for octave in range(OCTAVES):
        for part in range(parts):
            low, width = 2.0**octave * (1 + part / parts), 2.0**octave / parts
            index = (int(np.float32(low).view(np.uint32)) >> (23 - bits)) % (OCTAVES * parts)
            origin = low if from_low else 0.0
            coefficients = fit(low, width, degree, origin)
            table[: len(coefficients), index] = coefficients
            u = np.linspace(low, low + width, 10001)
            value = np.polynomial.polynomial.polyval(u - origin, table[:, index].astype(np.float64))
            worst = max(worst, np.abs(value - tanh(u)).max())
    print(f"// {name}: largest error before rounding: {worst:.2e}")
    for power, row in enumerate(table):
        print(f"    // times {'r' if from_low else 'u'}^{power}")
        print("    [" + ", ".join(f"{value:.9e}" for value in row) + "],")


def main() -> None:
    print(f"pub(super) const SCALE: f32 = {np.float32(SCALE):.9e};")
    print_table("FINE", degree=5, bits=2, from_low=True)
    print_table("COARSE", degree=3, bits=3, from_low=False)


if __name__ == "__main__":
    main()

// The base matrices M_K of src/ops/hadamard.ts, made from the same algebra by the compiler: bit j of row i is set where
// M_K[i][j] is −1.
#pragma once

#include <cstdint>

namespace quamba {

template <int K>
struct Signs {
  uint32_t rows[K];
};

/** χ(a) mod the prime q: 0 at 0, +1 at squares, −1 elsewhere. */
constexpr int character(int a, int q) {
  const int residue = (a % q + q) % q;
  if (residue == 0) return 0;
  for (int x = 1; x < q; x++)
    if (x * x % q == residue) return 1;
  return -1;
}

/** Paley I, of order q + 1; its transpose too, because it is not symmetric. */
template <int Q>
constexpr Signs<Q + 1> paley1(bool transpose) {
  Signs<Q + 1> signs{};
  for (int r = 0; r <= Q; r++)
    for (int c = 0; c <= Q; c++) {
      const int i = transpose ? c : r, j = transpose ? r : c;
      const bool negative = i == 0 ? j != 0 : j != 0 && i != j && character(i - j, Q) < 0;
      if (negative) signs.rows[r] |= 1u << c;
    }
  return signs;
}

/** Paley II, of order 2(q + 1): symmetric. */
template <int Q>
constexpr Signs<2 * (Q + 1)> paley2() {
  Signs<2 * (Q + 1)> signs{};
  for (int i = 0; i < 2 * (Q + 1); i++)
    for (int j = 0; j < 2 * (Q + 1); j++) {
      const int r = i / 2, s = j / 2;
      const int conference = r == 0 || s == 0 ? (r == s ? 0 : 1) : character(r - s, Q);
      const bool bottom = i % 2 == 1, right = j % 2 == 1;
      const bool zero = bottom || right;  // [[+, −], [−, −]]
      const bool one = bottom && right;   // [[+, +], [+, −]]
      if (conference == 0 ? zero : one != (conference < 0)) signs.rows[i] |= 1u << j;
    }
  return signs;
}

__constant__ constexpr Signs<12> M12 = paley2<5>();
__constant__ constexpr Signs<20> M20 = paley1<19>(false);
__constant__ constexpr Signs<20> M20_TRANSPOSE = paley1<19>(true);
__constant__ constexpr Signs<28> M28 = paley2<13>();

/** n = outer · K · run; outer is 2 for 40·2^k, whose M_40 is one butterfly around M_20. K is 0 where n has no such form. */
struct Factors {
  int outer, K, run;
};

constexpr Factors factor(int n) {
  for (const int K : {1, 12, 20, 28}) {
    const int run = n / K;
    if (n % K != 0 || run < 1 || (run & (run - 1)) != 0) continue;
    return K == 20 && run > 1 ? Factors{2, K, run / 2} : Factors{1, K, run};
  }
  return {1, 0, 0};
}

}  // namespace quamba

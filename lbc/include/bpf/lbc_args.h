/* SPDX-License-Identifier: MIT */
/*
 * Macros over argument lists of up to twelve: how many there are, and something for each of them.
 *
 *   LBC_COUNT_(a, b, c)         3
 *   LBC_CALL_(name, args...)    name3_(args...)        for a family name0_, name1_, ... of macros
 *   LBC_EACH_(m, a, b, c)       m(0, a) m(1, b) m(2, c)
 */
#ifndef LBC_ARGS_H
#define LBC_ARGS_H

#define LBC_JOIN__(a, b) a##b##_
#define LBC_JOIN_(a, b) LBC_JOIN__(a, b)
#define LBC_13TH_(a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, n, ...) n
#define LBC_COUNT_(...) LBC_13TH_(0, ##__VA_ARGS__, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)
#define LBC_CALL_(name, ...) LBC_JOIN_(name, LBC_COUNT_(__VA_ARGS__))

#define LBC_EACH_(m, ...) LBC_CALL_(LBC_EACH, ##__VA_ARGS__)(m, ##__VA_ARGS__)
#define LBC_EACH0_(m)
#define LBC_EACH1_(m, a) m(0, a)
#define LBC_EACH2_(m, a, b) LBC_EACH1_(m, a) m(1, b)
#define LBC_EACH3_(m, a, b, c) LBC_EACH2_(m, a, b) m(2, c)
#define LBC_EACH4_(m, a, b, c, d) LBC_EACH3_(m, a, b, c) m(3, d)
#define LBC_EACH5_(m, a, b, c, d, e) LBC_EACH4_(m, a, b, c, d) m(4, e)
#define LBC_EACH6_(m, a, b, c, d, e, f) LBC_EACH5_(m, a, b, c, d, e) m(5, f)
#define LBC_EACH7_(m, a, b, c, d, e, f, g) LBC_EACH6_(m, a, b, c, d, e, f) m(6, g)
#define LBC_EACH8_(m, a, b, c, d, e, f, g, h) LBC_EACH7_(m, a, b, c, d, e, f, g) m(7, h)
#define LBC_EACH9_(m, a, b, c, d, e, f, g, h, i) LBC_EACH8_(m, a, b, c, d, e, f, g, h) m(8, i)
#define LBC_EACH10_(m, a, b, c, d, e, f, g, h, i, j) LBC_EACH9_(m, a, b, c, d, e, f, g, h, i) m(9, j)
#define LBC_EACH11_(m, a, b, c, d, e, f, g, h, i, j, k) LBC_EACH10_(m, a, b, c, d, e, f, g, h, i, j) m(10, k)
#define LBC_EACH12_(m, a, b, c, d, e, f, g, h, i, j, k, l) LBC_EACH11_(m, a, b, c, d, e, f, g, h, i, j, k) m(11, l)

/* Names of libbpf's, which its usdt.bpf.h and programs that build on it use. */
#define ___bpf_concat(a, b) a##b
#define ___bpf_apply(fn, n) ___bpf_concat(fn, n)
#define ___bpf_nth LBC_13TH_
#define ___bpf_narg LBC_COUNT_

#endif

// cmocka for C++: the headers that it needs first, and without its macro `fail`, which breaks
// every function of that name (those of iostreams and lib/base/result.hh among them).
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

extern "C" {
#include <cmocka.h>
}

#undef fail
// Its own does not tell the compiler that it never returns.
#undef fail_msg
#define fail_msg(...)          \
  do {                         \
    print_error(__VA_ARGS__);  \
    print_error("\n");         \
    _fail(__FILE__, __LINE__); \
    __builtin_unreachable();   \
  } while (0)

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

#include "tests/support/memory_image.hh"

#include <sys/mman.h>

#include <cinttypes>
#include <cstdio>
#include <cstring>

#include "lib/base/cache_line.hh"
#include "tests/support/cmocka.hh"

namespace mqlb::tests {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kMostFound = 1U << 16;

// Pages are only taken where something is written.
template <typename T>
T* map(size_t count) {
  void* p = mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  assert_true(p != MAP_FAILED);
  return static_cast<T*>(p);
}

}  // namespace

MemoryImage::MemoryImage() {
  std::FILE* maps = std::fopen("/proc/self/maps", "r");
  assert_non_null(maps);
  char line[512];
  while (std::fgets(line, sizeof line, maps) != nullptr) {
    uintptr_t begin = 0;
    uintptr_t end = 0;
    char rights[5] = {};
    if (std::sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s", &begin, &end, rights) != 3) continue;
    if (std::strncmp(rights, "rw", 2) != 0 || std::strstr(line, "[stack]") != nullptr) continue;
    const size_t pages = (end - begin) / kPage;
    regions_.push_back({reinterpret_cast<uint8_t*>(begin), nullptr, pages, pages_});
    pages_ += pages;
  }
  std::fclose(maps);
  copies_ = map<uint8_t>(pages_ * kPage);
  resident_ = map<unsigned char>(pages_);
  found_ = map<uintptr_t>(kMostFound);
  for (Region& r : regions_) r.copy = copies_ + r.first_page * kPage;
  for (const Region& r : regions_) {
    unsigned char* resident = resident_ + r.first_page;
    // Pages that nobody has touched are zeros, as is the copy.
    if (mincore(r.memory, r.pages * kPage, resident) != 0) continue;
    for (size_t i = 0; i < r.pages; ++i) {
      if ((resident[i] & 1U) != 0) std::memcpy(r.copy + i * kPage, r.memory + i * kPage, kPage);
    }
  }
}

MemoryImage::~MemoryImage() {
  munmap(copies_, pages_ * kPage);
  munmap(resident_, pages_);
  munmap(found_, kMostFound * sizeof *found_);
}

std::vector<uintptr_t> MemoryImage::changed_lines() {
  size_t count = 0;
  for (const Region& r : regions_) {
    unsigned char* resident = resident_ + r.first_page;
    if (mincore(r.memory, r.pages * kPage, resident) != 0) continue;
    for (size_t i = 0; i < r.pages; ++i) {
      const uint8_t* now = r.memory + i * kPage;
      const uint8_t* then = r.copy + i * kPage;
      if ((resident[i] & 1U) == 0 || std::memcmp(now, then, kPage) == 0) continue;
      for (size_t at = 0; at < kPage; at += base::kCacheLine) {
        if (std::memcmp(now + at, then + at, base::kCacheLine) == 0) continue;
        assert_true(count < kMostFound);
        found_[count++] = reinterpret_cast<uintptr_t>(now + at);
      }
    }
  }
  return {found_, found_ + count};
}

}  // namespace mqlb::tests

#include "lib/pcap/writer.hh"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

namespace mqlb::pcap {
namespace {

// Block types and options, sections 4.1 to 4.3 of the draft.
constexpr uint32_t kSectionHeader = 0x0a0d0d0a;
constexpr uint32_t kInterfaceDescription = 1;
constexpr uint32_t kEnhancedPacket = 6;
constexpr uint32_t kByteOrderMagic = 0x1a2b3c4d;
constexpr uint16_t kEndOfOptions = 0;
constexpr uint16_t kInterfaceName = 2;
constexpr uint16_t kTimeResolution = 9;
constexpr uint16_t kPacketFlags = 2;
constexpr uint16_t kEthernet = 1;
constexpr uint32_t kNoSnapLength = 0;

// One block, little-endian on every machine.
class Block {
 public:
  explicit Block(uint32_t type) {
    u32(type);
    u32(0);  // the length, once it is known
  }

  void u8(uint8_t v) { bytes_.push_back(v); }
  void u16(uint16_t v) {
    u8(static_cast<uint8_t>(v));
    u8(static_cast<uint8_t>(v >> 8));
  }
  void u32(uint32_t v) {
    u16(static_cast<uint16_t>(v));
    u16(static_cast<uint16_t>(v >> 16));
  }
  void padded(base::Bytes b) {
    bytes_.insert(bytes_.end(), b.begin(), b.end());
    bytes_.resize((bytes_.size() + 3) / 4 * 4);
  }
  void option(uint16_t code, base::Bytes value) {
    u16(code);
    u16(static_cast<uint16_t>(value.size()));
    padded(value);
  }
  void end_options() { option(kEndOfOptions, {}); }

  // Gives errno, 0 if all went well.
  [[nodiscard]] int write(std::FILE* file) {
    const auto length = static_cast<uint32_t>(bytes_.size() + 4);
    u32(length);
    for (size_t i = 0; i < 4; ++i) bytes_[4 + i] = static_cast<uint8_t>(length >> (8 * i));
    return std::fwrite(bytes_.data(), 1, bytes_.size(), file) == bytes_.size() ? 0 : errno;
  }

 private:
  std::vector<uint8_t> bytes_;
};

int write_section_header(std::FILE* file) {
  Block block(kSectionHeader);
  block.u32(kByteOrderMagic);
  block.u16(1);  // version 1.0
  block.u16(0);
  block.u32(UINT32_MAX);  // the section's length is not given
  block.u32(UINT32_MAX);
  return block.write(file);
}

int write_interface(std::FILE* file, const std::string& name) {
  constexpr uint8_t kNanoseconds = 9;  // negative power of ten
  Block block(kInterfaceDescription);
  block.u16(kEthernet);
  block.u16(0);
  block.u32(kNoSnapLength);
  block.option(kInterfaceName, base::as_bytes(name));
  block.option(kTimeResolution, {&kNanoseconds, 1});
  block.end_options();
  return block.write(file);
}

}  // namespace

base::Result<Writer> Writer::create(const std::string& path,
                                    std::span<const std::string> interfaces) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr) return base::fail(path + ": " + std::strerror(errno));
  Writer writer(file, path);
  writer.note(write_section_header(file));
  for (const std::string& name : interfaces) writer.note(write_interface(file, name));
  return writer;
}

void Writer::write(uint32_t interface, Direction direction, int64_t time, base::Bytes frame) {
  const auto timestamp = static_cast<uint64_t>(std::max(time, int64_t{0}));
  const auto length = static_cast<uint32_t>(frame.size());
  const uint8_t flags[4] = {static_cast<uint8_t>(direction), 0, 0, 0};
  Block block(kEnhancedPacket);
  block.u32(interface);
  block.u32(static_cast<uint32_t>(timestamp >> 32));
  block.u32(static_cast<uint32_t>(timestamp));
  block.u32(length);
  block.u32(length);
  block.padded(frame);
  block.option(kPacketFlags, flags);
  block.end_options();
  note(block.write(file_.get()));
}

base::Result<void> Writer::finish() {
  if (std::fclose(file_.release()) != 0) note(errno);
  if (error_ != 0) return base::fail(path_ + ": " + std::strerror(error_));
  return {};
}

}  // namespace mqlb::pcap

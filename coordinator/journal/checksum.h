// Checksum: CRC-32C of a chain of records; each covers all before it, so that a missing or changed
// one shows in every later one.
#pragma once

#include <boost/crc.hpp>
#include <cstdint>
#include <string_view>

namespace longhand::journal {

inline uint32_t Checksum(uint32_t previous, int64_t number, std::string_view payload) {
  boost::crc_optimal<32, 0x1EDC6F41, 0xFFFFFFFF, 0xFFFFFFFF, true, true> crc;
  crc.process_bytes(&previous, sizeof(previous));
  crc.process_bytes(&number, sizeof(number));
  crc.process_bytes(payload.data(), payload.size());
  return crc.checksum();
}

// The beginning of a request's chain.
inline uint32_t RequestChecksum(std::string_view request_id, std::string_view payload) {
  return Checksum(Checksum(0, 0, request_id), 0, payload);
}

inline uint32_t EndChecksum(uint32_t previous, std::string_view payload) {
  return Checksum(previous, /*number=*/-1, payload);
}

// Of attempts that were made when the chain stood at `previous`.
inline uint32_t AttemptChecksum(uint32_t previous, int32_t attempts) {
  return Checksum(previous, /*number=*/-2 - int64_t{attempts}, {});
}

}  // namespace longhand::journal

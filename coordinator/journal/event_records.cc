#include "coordinator/journal/event_records.h"

#include <cstring>

#include "coordinator/journal/checksum.h"

namespace longhand::journal {
namespace {

// Ahead of each payload, in the machine's byte order.
struct Header {
  int64_t key;
  int64_t seq;
  uint32_t checksum;
  uint32_t payload_bytes;
};
static_assert(sizeof(Header) == 24);

// Calls take(record) for the blob's records; whether the last one was whole.
template <typename Fn>
bool ForEachRecord(std::string_view blob, Fn&& take) {
  while (!blob.empty()) {
    Header header;
    if (blob.size() < sizeof(header)) return false;
    std::memcpy(&header, blob.data(), sizeof(header));
    blob.remove_prefix(sizeof(header));
    if (blob.size() < header.payload_bytes) return false;
    take(EventRecord{header.key, header.seq, header.checksum,
                     std::string(blob.substr(0, header.payload_bytes))});
    blob.remove_prefix(header.payload_bytes);
  }
  return true;
}

// Takes the records that follow the chain one by one, up to the first that is not whole.
class PrefixReader {
 public:
  PrefixReader(Chain& chain, StoredRequest& request, int64_t& num_lost)
      : chain_(chain), request_(request), num_lost_(num_lost) {}

  void Take(EventRecord record) {
    if (is_whole_ && record.seq <= chain_.last_seq) return;
    const uint32_t checksum = Checksum(chain_.checksum, record.seq, record.payload);
    is_whole_ = is_whole_ && record.key == chain_.key && record.seq == chain_.last_seq + 1 &&
                record.checksum == checksum;
    if (!is_whole_) {
      ++num_lost_;
      return;
    }
    chain_.checksum = checksum;
    chain_.last_seq = record.seq;
    request_.events.push_back({record.seq, std::move(record.payload)});
  }
  void Break() {
    is_whole_ = false;
    ++num_lost_;
  }

 private:
  Chain& chain_;
  StoredRequest& request_;
  int64_t& num_lost_;
  bool is_whole_ = true;
};

}  // namespace

void AppendRecord(
    int64_t key, int64_t seq, uint32_t checksum, std::string_view payload, std::string& blob) {
  const Header header{key, seq, checksum, static_cast<uint32_t>(payload.size())};
  blob.append(reinterpret_cast<const char*>(&header), sizeof(header)).append(payload);
}

Status BatchedEvents::Read(Database& database, std::optional<int64_t> key) {
  LONGHAND_ASSIGN_OR_RETURN(Statement rows,
                            database.Prepare("SELECT records FROM batches ORDER BY batch"));
  while (true) {
    LONGHAND_ASSIGN_OR_RETURN(const bool has_row, rows.Step());
    if (!has_row) return OkStatus();
    const bool is_whole = ForEachRecord(rows.Bytes(0), [&](EventRecord record) {
      if (!key.has_value() || record.key == *key)
        of_request[record.key].push_back(std::move(record));
    });
    if (!is_whole) ++num_damaged;
  }
}

Status ReadEvents(Database& database,
                  const BatchedEvents& batched,
                  Chain& chain,
                  StoredRequest& request,
                  int64_t& num_lost) {
  LONGHAND_ASSIGN_OR_RETURN(Statement rows, database.Prepare("SELECT records FROM chunks WHERE "
                                                             "request = ? ORDER BY first_seq"));
  rows.Bind(1, chain.key);
  PrefixReader reader(chain, request, num_lost);
  while (true) {
    LONGHAND_ASSIGN_OR_RETURN(const bool has_row, rows.Step());
    if (!has_row) break;
    const bool is_whole =
        ForEachRecord(rows.Bytes(0), [&](EventRecord record) { reader.Take(std::move(record)); });
    if (!is_whole) reader.Break();
  }
  chain.chunked_seq = chain.last_seq;
  if (const auto found = batched.of_request.find(chain.key); found != batched.of_request.end()) {
    for (const EventRecord& record : found->second) reader.Take(record);
  }
  return OkStatus();
}

}  // namespace longhand::journal

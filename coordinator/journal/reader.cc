#include "coordinator/journal/reader.h"

#include "coordinator/journal/checksum.h"
#include "coordinator/journal/database.h"
#include "coordinator/journal/event_records.h"
#include "coordinator/journal/store.h"

namespace longhand::journal {
namespace {

Status NotWhole(const std::string& request_id) {
  return Status(StatusCode::kDataLoss, "the records of request '" + request_id + "' are damaged");
}

}  // namespace

Result<std::optional<StoredRequest>> ReadRequest(const std::filesystem::path& directory,
                                                 const std::string& request_id) {
  LONGHAND_ASSIGN_OR_RETURN(Database database,
                            Database::Open(FilePath(directory), Database::Mode::kReadOnly));
  LONGHAND_RETURN_IF_ERROR(database.Execute("BEGIN"));  // One state of the file for both queries.
  LONGHAND_ASSIGN_OR_RETURN(Statement row,
                            database.Prepare("SELECT key, payload, checksum, end, end_checksum "
                                             "FROM requests WHERE request_id = ?"));
  row.BindText(1, request_id);
  LONGHAND_ASSIGN_OR_RETURN(const bool is_kept, row.Step());
  if (!is_kept) return std::optional<StoredRequest>();
  StoredRequest request{.request_id = request_id, .payload = row.Bytes(1)};
  Chain chain{.key = row.Int(0), .checksum = RequestChecksum(request_id, request.payload)};
  if (int64_t{chain.checksum} != row.Int(2)) return NotWhole(request_id);
  BatchedEvents batched;
  LONGHAND_RETURN_IF_ERROR(batched.Read(database, chain.key));
  int64_t num_lost = batched.num_damaged;
  LONGHAND_RETURN_IF_ERROR(ReadEvents(database, batched, chain, request, num_lost));
  if (num_lost > 0) return NotWhole(request_id);
  if (row.IsNull(3)) return std::optional(std::move(request));
  request.end = row.Bytes(3);
  if (int64_t{EndChecksum(chain.checksum, *request.end)} != row.Int(4)) return NotWhole(request_id);
  return std::optional(std::move(request));
}

}  // namespace longhand::journal

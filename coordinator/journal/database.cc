#include "coordinator/journal/database.h"

#include <sqlite3.h>

#include <cerrno>

#include "common/check.h"

namespace longhand::journal {
namespace {

// Of another connection's short transaction.
constexpr int kMaxWaitMs = 5000;

// Only a write that finds the disk full is SQLITE_FULL to SQLite.
bool IsForWantOfRoom(int code, sqlite3* database) {
  if (code == SQLITE_FULL) return true;
  const bool is_of_file = (code & 0xff) == SQLITE_IOERR || (code & 0xff) == SQLITE_CANTOPEN;
  if (!is_of_file || database == nullptr) return false;
  const int error = sqlite3_system_errno(database);
  return error == ENOSPC || error == EDQUOT ||
         sqlite3_extended_errcode(database) == SQLITE_IOERR_SHMSIZE;
}

}  // namespace

Status SqliteStatus(int code, std::string_view what, sqlite3* database) {
  const char* why = database != nullptr ? sqlite3_errmsg(database) : sqlite3_errstr(code);
  if (IsForWantOfRoom(code, database)) return ResourceExhausted(what, ": ", why);
  switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_DONE:
    case SQLITE_ROW:
      return OkStatus();
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return Status(StatusCode::kDataLoss, std::string(what) + ": " + why);
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PERM:
      return Unavailable(what, ": ", why);
    default:
      return Internal(what, ": ", why);
  }
}

void Statement::Finalizer::operator()(sqlite3_stmt* statement) const {
  sqlite3_finalize(statement);
}

Statement& Statement::Bind(int parameter, int64_t value) {
  LONGHAND_CHECK_EQ(sqlite3_bind_int64(statement_.get(), parameter, value), SQLITE_OK);
  return *this;
}

Statement& Statement::Bind(int parameter, std::string_view blob) {
  // An empty blob needs an address, or it would be NULL.
  const char* data = blob.empty() ? "" : blob.data();
  LONGHAND_CHECK_EQ(
      sqlite3_bind_blob64(statement_.get(), parameter, data, blob.size(), SQLITE_TRANSIENT),
      SQLITE_OK);
  return *this;
}

Statement& Statement::BindText(int parameter, std::string_view text) {
  const char* data = text.empty() ? "" : text.data();
  LONGHAND_CHECK_EQ(sqlite3_bind_text64(statement_.get(), parameter, data, text.size(),
                                        SQLITE_TRANSIENT, SQLITE_UTF8),
                    SQLITE_OK);
  return *this;
}

Result<bool> Statement::Step() {
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  const Status status = SqliteStatus(code, "the journal", sqlite3_db_handle(statement_.get()));
  Reset();
  if (!status.ok()) return status;
  return false;
}

Status Statement::Run() {
  LONGHAND_ASSIGN_OR_RETURN(const bool has_row, Step());
  LONGHAND_CHECK(!has_row) << "a statement without rows has one";
  return OkStatus();
}

void Statement::Reset() { sqlite3_reset(statement_.get()); }

int64_t Statement::Int(int column) const { return sqlite3_column_int64(statement_.get(), column); }

std::string Statement::Bytes(int column) const {
  const auto* data = static_cast<const char*>(sqlite3_column_blob(statement_.get(), column));
  const int size = sqlite3_column_bytes(statement_.get(), column);
  return data == nullptr ? std::string() : std::string(data, static_cast<size_t>(size));
}

bool Statement::IsNull(int column) const {
  return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL;
}

void Database::Closer::operator()(sqlite3* database) const { sqlite3_close_v2(database); }

Result<Database> Database::Open(const std::string& path, Mode mode) {
  sqlite3* opened = nullptr;
  const int flags =
      SQLITE_OPEN_NOMUTEX |
      (mode == Mode::kReadOnly ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
  const int code = sqlite3_open_v2(path.c_str(), &opened, flags, nullptr);
  Database database(opened);
  LONGHAND_RETURN_IF_ERROR(SqliteStatus(code, path, opened));
  sqlite3_busy_timeout(opened, kMaxWaitMs);
  return database;
}

Status Database::Execute(const std::string& sql) {
  const int code = sqlite3_exec(database_.get(), sql.c_str(), nullptr, nullptr, nullptr);
  return SqliteStatus(code, "the journal", database_.get());
}

Result<Statement> Database::Prepare(std::string_view sql) {
  sqlite3_stmt* prepared = nullptr;
  const int code = sqlite3_prepare_v3(database_.get(), sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &prepared, nullptr);
  LONGHAND_RETURN_IF_ERROR(SqliteStatus(code, "the journal", database_.get()));
  Statement statement;
  statement.statement_.reset(prepared);
  return statement;
}

Status Database::CheckPlace() const {
  int has_moved = 0;
  const int code =
      sqlite3_file_control(database_.get(), "main", SQLITE_FCNTL_HAS_MOVED, &has_moved);
  LONGHAND_RETURN_IF_ERROR(SqliteStatus(code, "the journal", database_.get()));
  if (has_moved == 0) return OkStatus();
  return Unavailable(sqlite3_db_filename(database_.get(), "main"),
                     " was deleted or moved while it was open; a restart makes a new one");
}

}  // namespace longhand::journal

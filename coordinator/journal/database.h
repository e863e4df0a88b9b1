// Database and Statement: SQLite with our Status. One thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "common/status.h"

struct sqlite3;
struct sqlite3_stmt;

namespace longhand::journal {

// kResourceExhausted: the disk is full, or a quota. kDataLoss: the file is damaged or is no
// database. kUnavailable: it cannot be read or written now. Everything else is kInternal.
Status SqliteStatus(int code, std::string_view what, sqlite3* database);

class Statement {
 public:
  // Parameters count from 1.
  Statement& Bind(int parameter, int64_t value);
  Statement& Bind(int parameter, std::string_view blob);
  Statement& BindText(int parameter, std::string_view text);

  // The next row: whether there is one. The statement is reset after the last one, and on an error.
  Result<bool> Step();
  // A statement without rows, to its end.
  Status Run();
  void Reset();

  // Of the present row; columns count from 0.
  int64_t Int(int column) const;
  std::string Bytes(int column) const;
  bool IsNull(int column) const;

 private:
  friend class Database;
  struct Finalizer {
    void operator()(sqlite3_stmt* statement) const;
  };
  std::unique_ptr<sqlite3_stmt, Finalizer> statement_;
};

class Database {
 public:
  enum class Mode { kReadWrite, kReadOnly };

  static Result<Database> Open(const std::string& path, Mode mode);

  // Any number of statements without parameters or rows.
  Status Execute(const std::string& sql);
  Result<Statement> Prepare(std::string_view sql);
  // kUnavailable when its path names another file by now, or none: what is written is lost.
  Status CheckPlace() const;

 private:
  struct Closer {
    void operator()(sqlite3* database) const;
  };
  explicit Database(sqlite3* database) : database_(database) {}
  std::unique_ptr<sqlite3, Closer> database_;
};

}  // namespace longhand::journal

// Every store there is, for tests that hold them to one contract.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "coordinator/store/memory_store.h"
#include "coordinator/store/sqlite_store.h"
#include "coordinator/store/store_test_util.h"
#include "gtest/gtest.h"

namespace haul::coordinator {

// A store that can be started again over what it holds.
class StoreSubject {
 public:
  virtual ~StoreSubject() = default;
  virtual Store& store() = 0;
  // Ends it and starts another; every reader is gone by then.
  virtual void Restart() = 0;
};

class MemorySubject final : public StoreSubject {
 public:
  Store& store() override { return store_; }
  void Restart() override {}

 private:
  MemoryStore store_{64 << 20};
};

class SqliteSubject final : public StoreSubject {
 public:
  SqliteSubject() { Restart(); }
  Store& store() override { return *store_; }
  void Restart() override {
    store_.reset();
    auto opened = SqliteStore::Open(directory_.path() + "/data");
    ASSERT_TRUE(opened.ok()) << opened.status();
    store_ = *std::move(opened);
  }

 private:
  ScratchDirectory directory_;
  std::unique_ptr<SqliteStore> store_;
};

struct StoreKind {
  const char* name;
  std::function<std::unique_ptr<StoreSubject>()> make;
};

inline std::vector<StoreKind> AllStores() {
  return {{"Memory", [] { return std::make_unique<MemorySubject>(); }},
          {"Sqlite", [] { return std::make_unique<SqliteSubject>(); }}};
}

}  // namespace haul::coordinator

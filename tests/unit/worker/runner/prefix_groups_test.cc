#include "worker/runner/prefix_groups.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

namespace longhand::runner {
namespace {

using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

constexpr int64_t kBlockSize = 16;

// Tables are numbers of 16 keys each; all of a sequence's keys but the last block's may be shared.
struct Tables {
  std::vector<std::vector<int32_t>> tables;

  // `count` blocks from `first` on.
  static std::vector<int32_t> Run(int32_t first, int count) {
    std::vector<int32_t> blocks;
    for (int i = 0; i < count; ++i) blocks.push_back(first + i);
    return blocks;
  }
  void Add(std::vector<int32_t> prefix, int32_t own_first, int own_count) {
    const std::vector<int32_t> own = Run(own_first, own_count);
    prefix.insert(prefix.end(), own.begin(), own.end());
    tables.push_back(std::move(prefix));
  }
  std::vector<PrefixCandidate> Candidates() const {
    std::vector<PrefixCandidate> out;
    for (size_t i = 0; i < tables.size(); ++i) {
      const auto keys = static_cast<int64_t>(tables[i].size()) * kBlockSize;
      out.push_back({100 + static_cast<int64_t>(i), tables[i], keys - 1});
    }
    return out;
  }
};

struct Written {
  std::map<std::set<int>, int> groups;  // sequences -> keys, of those that have more than one
  int64_t spared = 0;                   // keys that need not be read again
};

// The rows' meaning, once they are found to be well formed and true.
Written Check(const std::vector<PrefixCandidate>& sequences, const std::vector<int32_t>& rows) {
  Written written;
  std::set<int> seen;
  const auto count = static_cast<int32_t>(sequences.size());
  for (int32_t i = 0; i < count; ++i) {
    const int32_t seq = rows[4 * i], begin = rows[4 * i + 1], end = rows[4 * i + 2],
                  keys = rows[4 * i + 3];
    EXPECT_TRUE(seen.insert(seq).second) << "sequence " << seq << " twice";
    EXPECT_TRUE(0 <= begin && begin <= i && i < end && end <= count)
        << begin << " " << i << " " << end;
    EXPECT_EQ(rows[4 * begin + 1], begin);
    EXPECT_EQ(rows[4 * begin + 2], end);
    EXPECT_EQ(rows[4 * begin + 3], keys);
    if (end - begin == 1) {
      EXPECT_EQ(keys, 0);
      continue;
    }
    const PrefixCandidate &mine = sequences[seq], &first = sequences[rows[4 * begin]];
    EXPECT_LE(keys, mine.num_keys);
    for (int64_t block = 0; block * kBlockSize < keys; ++block) {
      EXPECT_EQ(mine.block_table[block], first.block_table[block]);
    }
    if (i != begin) written.spared += keys;
    if (i == begin) {
      std::set<int> members;
      for (int32_t j = begin; j < end; ++j) members.insert(rows[4 * j]);
      written.groups[members] = keys;
    }
  }
  return written;
}

Written Write(PrefixGroups& groups, const std::vector<PrefixCandidate>& sequences) {
  std::vector<int32_t> rows(sequences.size() * 4, -1);
  groups.Write(sequences, rows.data());
  return Check(sequences, rows);
}

TEST(PrefixGroupsTest, SequencesOfOnePromptAreAGroupAndOthersAreAlone) {
  Tables tables;
  tables.Add(Tables::Run(0, 20), 100, 3);
  tables.Add({}, 200, 40);
  tables.Add(Tables::Run(0, 20), 300, 9);
  tables.Add(Tables::Run(0, 20), 400, 1);
  PrefixGroups groups(kBlockSize);
  EXPECT_THAT(Write(groups, tables.Candidates()).groups,
              ElementsAre(std::pair(std::set{0, 2, 3}, 320)));
}

TEST(PrefixGroupsTest, ALongPrefixOfFewIsWorthMoreThanAShortOneOfAll) {
  Tables tables;
  const std::vector<int32_t> system = Tables::Run(0, 16);
  for (int document = 0; document < 2; ++document) {
    for (int answer = 0; answer < 2; ++answer) {
      std::vector<int32_t> prefix = system;
      const std::vector<int32_t> text = Tables::Run(1000 * (document + 1), 100);
      prefix.insert(prefix.end(), text.begin(), text.end());
      tables.Add(prefix, 5000 + 10 * (2 * document + answer), 2);
    }
  }
  PrefixGroups groups(kBlockSize);
  EXPECT_THAT(Write(groups, tables.Candidates()).groups,
              UnorderedElementsAre(std::pair(std::set{0, 1}, 116 * 16),
                                   std::pair(std::set{2, 3}, 116 * 16)));
}

TEST(PrefixGroupsTest, FewKeysAndKeysAfterTheNewTokenAreNotShared) {
  Tables tables;
  tables.Add(Tables::Run(0, 15), 100, 3);  // 240 keys
  tables.Add(Tables::Run(0, 15), 200, 3);
  tables.Add(Tables::Run(50, 16), 0, 0);  // 256, of which the last is not computed yet
  tables.Add(Tables::Run(50, 16), 0, 0);
  std::vector<PrefixCandidate> sequences = tables.Candidates();
  PrefixGroups groups(kBlockSize);
  EXPECT_TRUE(Write(groups, sequences).groups.empty());
  // Several new tokens, or padding.
  tables.Add(Tables::Run(0, 20), 300, 1);
  tables.Add(Tables::Run(0, 20), 400, 1);
  sequences = tables.Candidates();
  sequences.back().num_keys = 0;
  EXPECT_TRUE(Write(groups, sequences).groups.empty());
}

TEST(PrefixGroupsTest, BlocksThatChangeUnderTheSameSequencesAreSeen) {
  Tables tables;
  tables.Add(Tables::Run(0, 20), 100, 1);
  tables.Add(Tables::Run(0, 20), 200, 1);
  PrefixGroups groups(kBlockSize);
  EXPECT_EQ(Write(groups, tables.Candidates()).spared, 320);
  tables.tables[1][17] = 999;
  EXPECT_EQ(Write(groups, tables.Candidates()).spared, 272);
  tables.tables[1][0] = 999;
  EXPECT_EQ(Write(groups, tables.Candidates()).spared, 0);
}

TEST(PrefixGroupsTest, RandomTreesAreWellFormedAndSpareWhatPairsWould) {
  constexpr uint32_t kSeed = 5;
  std::mt19937 random(kSeed);
  for (int round = 0; round < 200; ++round) {
    Tables tables;
    const int count = 1 + static_cast<int>(random() % 150);
    for (int i = 0; i < count; ++i) {
      std::vector<int32_t> prefix;
      if (!tables.tables.empty() && random() % 3 != 0) {
        prefix = tables.tables[random() % tables.tables.size()];
        prefix.resize(random() % (prefix.size() + 1));
      }
      tables.Add(prefix, 10000 * (i + 1), 1 + static_cast<int>(random() % 60));
    }
    PrefixGroups groups(kBlockSize);
    const std::vector<PrefixCandidate> sequences = tables.Candidates();
    const Written written = Write(groups, sequences);
    // Any two sequences alone as a group.
    int64_t best_pair = 0;
    for (int i = 0; i < count; ++i) {
      for (int j = 0; j < i; ++j) {
        const auto keys = [&] {
          int64_t same = 0;
          const int64_t most = std::min(sequences[i].num_keys, sequences[j].num_keys) / kBlockSize;
          while (same < most && tables.tables[i][same] == tables.tables[j][same]) ++same;
          return same * kBlockSize;
        }();
        if (keys >= 256) best_pair = std::max(best_pair, keys);
      }
    }
    EXPECT_GE(written.spared, best_pair) << "seed " << kSeed << ", round " << round;
  }
}

TEST(PrefixGroupsTest, NoSequences) {
  PrefixGroups groups(kBlockSize);
  EXPECT_TRUE(Write(groups, {}).groups.empty());
}

}  // namespace
}  // namespace longhand::runner

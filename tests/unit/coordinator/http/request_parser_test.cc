// What is a request, and what is not: the raw bytes of careful, odd and hostile clients.
#include "coordinator/http/request_parser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace longhand::http {
namespace {

using ::testing::HasSubstr;

constexpr RequestParser::Limits kLimits{.max_header_bytes = 1024, .max_body_bytes = 4096};

struct Read {
  std::vector<Request> requests;
  std::optional<ParseError> error;
  size_t num_left = 0;
};

// As a connection reads: `piece` bytes at a time, until nothing more comes of them.
Read ReadAll(std::string_view bytes, size_t piece) {
  Read read;
  std::string in;
  auto parser = std::make_unique<RequestParser>(kLimits);
  while (!bytes.empty()) {
    in += bytes.substr(0, piece);
    bytes.remove_prefix(std::min(piece, bytes.size()));
    while (!in.empty()) {
      const size_t taken = parser->Feed(in);
      in.erase(0, taken);
      if (parser->error()) {
        read.error = parser->error();
        return read;
      }
      if (parser->is_done()) {
        read.requests.push_back(std::move(parser->request()));
        parser = std::make_unique<RequestParser>(kLimits);
      } else if (taken == 0) {
        break;
      }
    }
  }
  read.num_left = in.size();
  return read;
}

constexpr char kGet[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

TEST(RequestParser, ARequestIsTheSameHoweverItsBytesArrive) {
  const std::string bytes =
      "\r\nPOST /v1/completions?from=3&x=%41%20b HTTP/1.1\r\nHost: a:80\r\nX-Request-Id: mine\r\n"
      "Content-Length: 5\r\n\r\nhelloPOST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
      "chunked\r\n\r\n"
      "3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: z\r\n\r\nGET /%7Ec HTTP/1.0\r\n\r\n";
  for (size_t piece = 1; piece <= bytes.size(); ++piece) {
    const Read read = ReadAll(bytes, piece);
    ASSERT_FALSE(read.error) << piece << ": " << read.error->message;
    ASSERT_EQ(read.requests.size(), 3u) << piece;
    const Request& first = read.requests[0];
    EXPECT_EQ(first.method, "POST");
    EXPECT_EQ(first.path, "/v1/completions");
    EXPECT_EQ(*first.FindQuery("from"), "3");
    EXPECT_EQ(*first.FindQuery("x"), "A b");
    EXPECT_EQ(*first.FindHeader("host"), "a:80");
    EXPECT_EQ(first.request_id, "mine");
    EXPECT_EQ(first.body, "hello");
    EXPECT_TRUE(first.keep_alive);
    EXPECT_EQ(read.requests[1].body, "abcde");
    EXPECT_EQ(read.requests[2].path, "/~c");
    EXPECT_EQ(read.requests[2].minor_version, 0);
    EXPECT_FALSE(read.requests[2].keep_alive);
    EXPECT_EQ(read.num_left, 0u);
  }
}

TEST(RequestParser, AnAbsoluteUrlHasAPath) {
  const Read read = ReadAll("GET http://a.example/livez?b=c HTTP/1.1\r\nHost: a\r\n\r\n", 1000);
  ASSERT_EQ(read.requests.size(), 1u);
  EXPECT_EQ(read.requests[0].path, "/livez");
}

TEST(RequestParser, WhoWaitsForA100IsSeen) {
  RequestParser parser(kLimits);
  parser.Feed("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  EXPECT_TRUE(parser.has_head());
  EXPECT_TRUE(parser.expects_continue());
  EXPECT_FALSE(parser.is_done());
  parser.Feed("{}");
  EXPECT_TRUE(parser.is_done());
  EXPECT_EQ(parser.request().body, "{}");
}

struct Bad {
  const char* what;
  std::string bytes;
  int status = 400;
};

std::string Post(const std::string& headers, const std::string& body = "") {
  return "POST / HTTP/1.1\r\nHost: a\r\n" + headers + "\r\n" + body;
}

std::vector<Bad> BadRequests() {
  const std::string chunked = "Transfer-Encoding: chunked\r\n";
  return {
      // Where a body ends: what two servers may read in two ways.
      {"a length and chunks", Post("Content-Length: 5\r\n" + chunked, "0\r\n\r\n")},
      {"chunks and a length", Post(chunked + "Content-Length: 5\r\n", "0\r\n\r\n")},
      {"two lengths", Post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello")},
      {"one length twice", Post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello")},
      {"a list of lengths", Post("Content-Length: 5, 5\r\n", "hello")},
      {"a signed length", Post("Content-Length: +5\r\n", "hello")},
      {"a negative length", Post("Content-Length: -5\r\n", "hello")},
      {"a hexadecimal length", Post("Content-Length: 0x5\r\n", "hello")},
      {"a length with a space", Post("Content-Length: 5 5\r\n", "hello")},
      {"a length that is none", Post("Content-Length: five\r\n", "hello")},
      {"an empty length", Post("Content-Length:\r\n", "hello")},
      {"a length over 64 bits", Post("Content-Length: 99999999999999999999\r\n", "hello")},
      {"a fractional length", Post("Content-Length: 5.0\r\n", "hello")},
      {"gzip, then chunked", Post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n")},
      {"chunked, then identity", Post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n")},
      {"chunked twice in a list", Post("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n")},
      {"chunked twice", Post(chunked + chunked, "0\r\n\r\n")},
      {"an unknown coding", Post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n")},
      {"a quoted coding", Post("Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n")},
      {"an empty coding", Post("Transfer-Encoding:\r\n", "0\r\n\r\n")},
      {"identity", Post("Transfer-Encoding: identity\r\n", "")},
      {"a coding behind a vertical tab", Post("Transfer-Encoding:\x0b"
                                              "chunked\r\n",
                                              "0\r\n\r\n")},
      {"chunks in HTTP/1.0", "POST / HTTP/1.0\r\n" + chunked + "\r\n0\r\n\r\n"},
      // Chunks.
      {"a chunk without a size", Post(chunked, "\r\nabc\r\n0\r\n\r\n")},
      {"a chunk size that is none", Post(chunked, "zz\r\nabc\r\n0\r\n\r\n")},
      {"a negative chunk", Post(chunked, "-3\r\nabc\r\n0\r\n\r\n")},
      {"a chunk size with 0x", Post(chunked, "0x3\r\nabc\r\n0\r\n\r\n")},
      {"a chunk size over 64 bits", Post(chunked, "10000000000000003\r\nabc\r\n0\r\n\r\n")},
      {"a huge chunk", Post(chunked, "7fffffffffffffff\r\nabc"), 413},
      {"a chunk that ends with LF", Post(chunked, "3\r\nabc\n0\r\n\r\n")},
      {"a chunk longer than its size", Post(chunked, "3\r\nabcd\r\n0\r\n\r\n")},
      {"a chunk size that ends with LF", Post(chunked, "3\nabc\r\n0\r\n\r\n")},
      {"an endless chunk line", Post(chunked, "3;" + std::string(2000, 'x'))},
      {"chunks larger than a body", Post(chunked, "1001\r\n" + std::string(0x1001, 'x') + "\r\n"),
       413},
      {"a body larger than allowed", Post("Content-Length: 4097\r\n"), 413},
      // Lines.
      {"bare LF", "GET / HTTP/1.1\nHost: a\n\n"},
      {"bare LF after a header", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n"},
      {"an empty line that is bare LF", "GET / HTTP/1.1\r\nHost: a\r\n\n"},
      {"bare CR in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: b\rc\r\n\r\n"},
      {"CR CR LF", "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n"},
      {"a folded line", "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n"},
      {"a line folded with a tab", "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n\tc\r\n\r\n"},
      {"a folded first header", "GET / HTTP/1.1\r\n Host: a\r\n\r\n"},
      {"NUL in a value", std::string("GET / HTTP/1.1\r\nHost: a\r\nX: b") + '\0' + "c\r\n\r\n"},
      {"NUL in a name", std::string("GET / HTTP/1.1\r\nHost: a\r\nX") + '\0' + ": b\r\n\r\n"},
      {"DEL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: b\x7f\r\n\r\n"},
      {"a space before the colon", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nhello"},
      {"a space in a name", "GET / HTTP/1.1\r\nHost: a\r\nX Y: b\r\n\r\n"},
      {"a header without a colon", "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n"},
      {"a header without a name", "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n"},
      {"a head that never ends", "GET / HTTP/1.1\r\nX: " + std::string(2000, 'x'), 431},
      {"a head that is too large", "GET / HTTP/1.1\r\nX: " + std::string(2000, 'x') + "\r\n\r\n",
       431},
      {"many headers",
       [] {
         std::string head = "GET / HTTP/1.1\r\nHost: a\r\n";
         for (int i = 0; i < 500; ++i) head += "X: y\r\n";
         return head + "\r\n";
       }(),
       431},
      // The request line.
      {"no method", " / HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"no target", "GET HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"no version", "GET /\r\nHost: a\r\n\r\n"},
      {"a tab in the line", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"a space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 505},
      {"a space after the version", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 505},
      {"HTTP/2's beginning", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
      {"HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505},
      {"HTTP/0.9", "GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505},
      {"a version in lower case", "GET / http/1.1\r\nHost: a\r\n\r\n", 505},
      {"a target that is no path", "GET a HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"a broken escape", "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"a target of another scheme", "GET ftp://a/b HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"a star of GET", "GET * HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"TLS to a plain port",
       std::string("\x16\x03\x01\x02") + '\0' + "\x01" + '\0' + "\x01\xfc\x03\x03\r\n\r\n"},
      // Hosts.
      {"no host", "GET / HTTP/1.1\r\n\r\n"},
      {"two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"},
      {"one host twice", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"},
      {"an empty host", "GET / HTTP/1.1\r\nHost:\r\n\r\n"},
      {"a host with a space", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"},
      {"a host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"},
      {"a host with a user", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n"},
      {"an unknown expectation", Post("Expect: a-miracle\r\nContent-Length: 2\r\n", "{}"), 417},
  };
}

// Nothing behind a request that cannot be read is taken for another one.
TEST(RequestParser, WhatMayBeReadInTwoWaysIsNotRead) {
  const std::vector<Bad> cases = BadRequests();
  EXPECT_GE(cases.size(), 60u);
  for (const Bad& bad : cases) {
    for (const size_t piece : {size_t{1}, size_t{7}, size_t{100000}}) {
      const Read read = ReadAll(bad.bytes + kGet, piece);
      EXPECT_TRUE(read.requests.empty()) << bad.what << " in pieces of " << piece;
      ASSERT_TRUE(read.error) << bad.what << " in pieces of " << piece;
      EXPECT_EQ(read.error->status, bad.status) << bad.what << ": " << read.error->message;
    }
  }
}

TEST(RequestParser, AnErrorSaysWhatIsAllowed) {
  EXPECT_THAT(ReadAll(Post("Content-Length: 4097\r\n"), 1000).error->message,
              HasSubstr("larger than 4096 bytes"));
  EXPECT_THAT(ReadAll("GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", 1000).error->message,
              HasSubstr("folded"));
}

}  // namespace
}  // namespace longhand::http

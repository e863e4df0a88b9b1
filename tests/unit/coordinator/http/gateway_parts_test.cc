// The gateway's tables: routes and their document, the page's parts, errors, origins, counts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <cctype>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "coordinator/http/cors.h"
#include "coordinator/http/error_response.h"
#include "coordinator/http/openapi.h"
#include "coordinator/http/page/page_part.h"
#include "coordinator/http/page_response.h"
#include "coordinator/http/routes.h"

namespace longhand::http {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

TEST(Routes, TheDocumentHasThemAllAndNoOther) {
  const boost::json::object document = boost::json::parse(kOpenApi).as_object();
  std::set<std::string> documented, served;
  for (const auto& [path, item] : document.at("paths").as_object()) {
    for (const auto& [method, operation] : item.as_object()) {
      const bool is_open = operation.as_object().contains("security");
      documented.insert(std::string(method) + " " + std::string(path) + (is_open ? " open" : ""));
    }
  }
  for (const Route& route : Routes()) {
    std::string method(route.method);
    for (char& c : method) c = static_cast<char>(std::tolower(c));
    served.insert(method + " " + std::string(route.path) + (route.is_open ? " open" : ""));
  }
  EXPECT_EQ(documented, served);
}

TEST(Routes, APathHasItsMethodsAndItsParameter) {
  EXPECT_EQ(MatchRoute("GET", "/v1/models/org/name").parameter, "org/name");
  EXPECT_EQ(MatchRoute("HEAD", "/v1/models").route->id, RouteId::kModels);
  EXPECT_EQ(MatchRoute("POST", "/livez").route, nullptr);
  EXPECT_EQ(MatchRoute("POST", "/livez").allowed, "GET, HEAD, OPTIONS");
  EXPECT_EQ(MatchRoute("DELETE", "/v1/streams/a").route->id, RouteId::kCancel);
  EXPECT_EQ(MatchRoute("POST", "/v1/streams/a").allowed, "GET, HEAD, DELETE, OPTIONS");
  EXPECT_EQ(MatchRoute("GET", "/v1/streams/").route, nullptr);
  EXPECT_EQ(MatchRoute("GET", "/nothing").allowed, "");
}

TEST(PageResponse, APartIsShownOnceAndMayDoNothingElse) {
  Request request;
  const Response page = PageResponse(request, "app.mjs");
  EXPECT_EQ(page.status, 200);
  EXPECT_EQ(page.content_type, "text/javascript; charset=utf-8");
  EXPECT_THAT(page.headers, Contains(Pair("Cache-Control", "no-cache")));
  EXPECT_THAT(page.headers, Contains(Pair("Content-Security-Policy",
                                          testing::StartsWith("default-src 'none';"))));
  std::string tag;
  for (const auto& [name, value] : page.headers)
    if (name == "ETag") tag = value;
  request.headers = {{"if-none-match", tag}};
  const Response again = PageResponse(request, "app.mjs");
  EXPECT_EQ(again.status, 304);
  EXPECT_EQ(again.body, "");
  EXPECT_EQ(PageResponse(request, "theme.css").status, 200);
  EXPECT_EQ(PageResponse(request, "../gateway.cc").status, 404);
}

// A module that is missing in the build breaks the page.
TEST(PageResponse, WhatThePartsNameIsThere) {
  const std::regex name(R"re((?:from "\./|(?:src|href)="page/)([\w.]+)")re");
  std::vector<std::string> to_read = {"index.html"};
  std::set<std::string> seen;
  while (!to_read.empty()) {
    const std::string part = to_read.back();
    to_read.pop_back();
    if (!seen.insert(part).second) continue;
    ASSERT_NE(FindPagePart(part), nullptr) << part;
    const std::string text(FindPagePart(part)->text);
    for (std::sregex_iterator at(text.begin(), text.end(), name), end; at != end; ++at)
      to_read.push_back((*at)[1]);
  }
  EXPECT_GT(seen.size(), 20u);
}

TEST(ErrorResponse, HasOpenAisFormAndTheStatusOfItsCode) {
  const Response response =
      ErrorResponse(InvalidField("temperature", " is -1; it must be at least 0"));
  EXPECT_EQ(response.status, 400);
  EXPECT_EQ(
      response.body,
      R"({"error":{"message":"temperature is -1; it must be at least 0","type":"invalid_request_error",)"
      R"("param":"temperature","code":null}})");
  EXPECT_EQ(ErrorResponse(NotFound("there is no stream 'a'")).status, 404);
  EXPECT_THAT(ErrorResponse(NotFound("no such model").About("model")).body,
              HasSubstr(R"("param":"model","code":"model_not_found")"));
  const Status too_long = InvalidArgument("9 tokens").About(kContextLength);
  EXPECT_THAT(ErrorResponse(too_long.WithContext("prompt 12")).body,
              HasSubstr(R"("prompt 12: 9 tokens","type":"invalid_request_error",)"
                        R"("param":"max_tokens","code":"context_length_exceeded")"));
  EXPECT_THAT(ErrorResponse(InvalidArgument("no")).body, HasSubstr(R"("param":null)"));
  EXPECT_THAT(ErrorResponse(ResourceExhausted("full").WithRetryAfter(7)).headers,
              Contains(Pair("Retry-After", "7")));
  EXPECT_THAT(ErrorResponse(Unavailable("loading")).headers, Contains(Pair("Retry-After", "1")));
  EXPECT_THAT(ErrorResponse(Unimplemented("later")).headers,
              Contains(Pair("x-should-retry", "false")));
}

TEST(ErrorResponse, IsJsonWhateverBytesTheMessageHolds) {
  EXPECT_THAT(ErrorResponse(404, "there is nothing at /\xff\xe2\x82").body,
              HasSubstr("there is nothing at /\uFFFD\uFFFD\""));
  EXPECT_THAT(ErrorResponse(NotFound("no request '\xd1' runs")).body,
              HasSubstr("no request '\uFFFD' runs"));
}

TEST(Cors, TellsAPageWhetherItMayRead) {
  Request request;
  request.headers = {{"origin", "https://a.example"}};
  const Header allowed("Access-Control-Allow-Origin", "https://a.example");
  EXPECT_THAT(Cors({"https://a.example"}).HeadersFor(request), Contains(allowed));
  EXPECT_THAT(Cors({"*"}).HeadersFor(request),
              Contains(Header("Access-Control-Allow-Origin", "*")));
  EXPECT_THAT(Cors({"none"}).HeadersFor(request), testing::ElementsAre(Header("Vary", "Origin")));
  EXPECT_THAT(Cors({"*"}).HeadersFor(Request()), IsEmpty());
}

TEST(Cors, APageMaySendTheHeadersThatItsClientHas) {
  Request request;
  request.method = "OPTIONS";
  EXPECT_THAT(Cors::AnswerPreflight(request, "POST")->headers,
              Contains(Pair("Access-Control-Allow-Headers", HasSubstr("Authorization"))));
  request.headers = {{"access-control-request-headers", "authorization,x-stainless-lang"}};
  EXPECT_THAT(Cors::AnswerPreflight(request, "POST")->headers,
              Contains(Header("Access-Control-Allow-Headers", "authorization,x-stainless-lang")));
}

}  // namespace
}  // namespace longhand::http

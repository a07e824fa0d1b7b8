#include "json.h"

#include <cmath>
#include <cstdlib>
#include <cstring>

#include "call.h"

namespace quamba {

namespace {

/** Deeper than any plan, and far from the end of the stack. */
constexpr int DEPTH = 64;

Failure wrong(const std::string& text) { return Failure(QUAMBA_WRONG_CALL, text); }

class Parser {
 public:
  Parser(const std::string& text, const std::string& where) : text(text), where(where) {}

  Json document() {
    const Json value = parseValue(0);
    skip();
    if (at != text.size()) fail();
    return value;
  }

 private:
  const std::string &text, &where;
  size_t at = 0;

  [[noreturn]] void fail() const { throw wrong(where + " expected JSON; it is wrong at byte " + std::to_string(at)); }
  char peek() const { return at < text.size() ? text[at] : '\0'; }
  void skip() {
    while (at < text.size() && std::strchr(" \t\r\n", text[at]) && text[at]) at++;
  }
  bool take(char c) {
    skip();
    if (peek() != c) return false;
    at++;
    return true;
  }
  void demand(char c) {
    if (!take(c)) fail();
  }
  bool word(const char* w) {
    if (text.compare(at, std::strlen(w), w) != 0) return false;
    at += std::strlen(w);
    return true;
  }

  Json parseValue(int depth) {
    if (depth > DEPTH) fail();
    skip();
    Json value;
    switch (peek()) {
      case '{':
        at++;
        value.kind = Json::Kind::object;
        if (take('}')) return value;
        do {
          skip();
          std::string key = parseString();
          demand(':');
          value.fields.emplace_back(std::move(key), parseValue(depth + 1));
        } while (take(','));
        demand('}');
        return value;
      case '[':
        at++;
        value.kind = Json::Kind::list;
        if (take(']')) return value;
        do value.items.push_back(parseValue(depth + 1));
        while (take(','));
        demand(']');
        return value;
      case '"':
        value.kind = Json::Kind::text;
        value.text = parseString();
        return value;
      default: return parseWord();
    }
  }

  Json parseWord() {
    Json value;
    if (word("null")) return value;
    value.kind = Json::Kind::boolean;
    if (word("true")) return value.number = 1, value;
    if (word("false")) return value;
    value.kind = Json::Kind::number;
    const size_t begin = at;
    while (at < text.size() && (std::strchr("+-.eE", text[at]) || (text[at] >= '0' && text[at] <= '9')) && text[at]) at++;
    const std::string digits = text.substr(begin, at - begin);
    char* end = nullptr;
    value.number = std::strtod(digits.c_str(), &end);
    if (digits.empty() || *end || !std::isfinite(value.number)) fail();
    return value;
  }

  std::string parseString() {
    if (peek() != '"') fail();
    at++;
    std::string value;
    while (peek() != '"') {
      if (at >= text.size() || static_cast<unsigned char>(text[at]) < 0x20) fail();
      if (text[at] == '\\') parseEscape(value);
      else value += text[at++];
    }
    at++;
    return value;
  }

  void parseEscape(std::string& value) {
    at++;
    const char c = peek();
    at++;
    static constexpr char FROM[] = "\"\\/bfnrt", TO[] = "\"\\/\b\f\n\r\t";
    if (c == 'u') {
      unsigned point = parseHex();
      if (point >> 10 == 0x36) {  // the first of a pair
        if (!word("\\u")) fail();
        point = 0x10000 + ((point & 0x3ff) << 10) + (parseHex() & 0x3ff);
      }
      appendUtf8(value, point);
    } else if (const char* found = c ? std::strchr(FROM, c) : nullptr) {
      value += TO[found - FROM];
    } else {
      fail();
    }
  }

  unsigned parseHex() {
    const std::string digits = text.substr(at, 4);
    if (digits.size() != 4 || digits.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos) fail();
    at += 4;
    return static_cast<unsigned>(std::stoul(digits, nullptr, 16));
  }

  static void appendUtf8(std::string& value, unsigned point) {
    const auto tail = [&](int shift) { value += static_cast<char>(0x80 | ((point >> shift) & 0x3f)); };
    if (point < 0x80) value += static_cast<char>(point);
    else if (point < 0x800) value += static_cast<char>(0xc0 | point >> 6), tail(0);
    else if (point < 0x10000) value += static_cast<char>(0xe0 | point >> 12), tail(6), tail(0);
    else value += static_cast<char>(0xf0 | point >> 18), tail(12), tail(6), tail(0);
  }
};

}  // namespace

Json Json::parse(const std::string& text, const std::string& where) { return Parser(text, where).document(); }

const Json* Json::find(const std::string& key) const {
  for (const auto& [name, value] : fields)
    if (name == key) return &value;
  return nullptr;
}

const Json& Json::at(const std::string& key, const std::string& where) const {
  object(where);
  if (const Json* found = find(key)) return *found;
  throw wrong(where + "." + key + " is missing");
}

const std::string& Json::string(const std::string& where) const {
  if (kind != Kind::text) throw wrong(where + " expected a string");
  return text;
}

const std::vector<Json>& Json::list(const std::string& where) const {
  if (kind != Kind::list) throw wrong(where + " expected an array");
  return items;
}

const std::vector<std::pair<std::string, Json>>& Json::object(const std::string& where) const {
  if (kind != Kind::object) throw wrong(where + " expected an object");
  return fields;
}

int64_t Json::count(const std::string& where) const {
  if (kind != Kind::number || number < 0 || number > 9007199254740992.0 || std::floor(number) != number)
    throw wrong(where + " expected a whole number, 0 or more");
  return static_cast<int64_t>(number);
}

}  // namespace quamba

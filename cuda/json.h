// JSON, as plans and the headers of safetensors files have it.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace quamba {

class Json {
 public:
  enum class Kind { null, boolean, number, text, list, object };

  /** Throws a Failure that begins with `where`. */
  static Json parse(const std::string& text, const std::string& where);

  Kind kind = Kind::null;
  double number = 0;  // of a boolean: 1 or 0
  std::string text;
  std::vector<Json> items;
  std::vector<std::pair<std::string, Json>> fields;

  /** The field of an object; null where there is none. */
  const Json* find(const std::string& key) const;

  // What is expected here, else a Failure: "plan.input expected a string".
  const Json& at(const std::string& key, const std::string& where) const;
  const std::string& string(const std::string& where) const;
  const std::vector<Json>& list(const std::string& where) const;
  const std::vector<std::pair<std::string, Json>>& object(const std::string& where) const;
  /** A whole number from 0 to 2^53. */
  int64_t count(const std::string& where) const;
};

}  // namespace quamba

#include "call.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace quamba {

namespace {

constexpr const char* DTYPES[] = {"f32", "i8", "i32"};
constexpr size_t BYTES[] = {4, 1, 4};
/** Of an axis: products of two fit an int64, and a step beyond the end an int. */
constexpr int64_t MOST = int64_t{1} << 30;

/** `x f32[l, n], b f32[n]?` */
std::vector<Parameter> parameters(const std::string& text) {
  std::vector<Parameter> found;
  for (size_t at = 0; at < text.size();) {
    const size_t type = text.find(' ', at) + 1, open = text.find('[', type), close = text.find(']', open);
    const std::string dtype = text.substr(type, open - type);
    Parameter p{};
    p.name = text.substr(at, type - 1 - at);
    p.text = text.substr(type, close + 1 - type);
    p.dtype = dtype == "f32" ? QUAMBA_F32 : dtype == "i8" ? QUAMBA_I8 : QUAMBA_I32;
    p.optional = text[close + 1] == '?';
    for (const auto& axis : split(text.substr(open + 1, close - open - 1), ", ")) {
      const size_t minus = axis.find('-');
      p.axes.push_back({axis == "1" ? std::vector<std::string>{} : split(axis.substr(0, minus), "*"),
                        minus == std::string::npos ? 0 : std::stoi(axis.substr(minus + 1))});
    }
    at = close + 1 + p.optional + 2;
    found.push_back(p);
  }
  return found;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

std::string shortest(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.9g", value);
  return text;
}

/** What a call may be given: inputs, and states, which are those of the start of a text where they are left out. */
std::vector<Parameter> givenOf(const Signature& signature) {
  std::vector<Parameter> all = signature.inputs;
  for (Parameter state : signature.states) {
    state.optional = true;
    all.push_back(state);
  }
  return all;
}

std::vector<Parameter> resultsOf(const Signature& signature) {
  std::vector<Parameter> all = signature.outputs;
  all.insert(all.end(), signature.states.begin(), signature.states.end());
  return all;
}

}  // namespace

std::vector<std::string> split(const std::string& text, const std::string& separator) {
  std::vector<std::string> parts;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find(separator, at), text.size());
    parts.push_back(text.substr(at, end - at));
    at = end + separator.size();
  }
  return parts;
}

std::string describe(int32_t dtype, const std::vector<int64_t>& shape) {
  std::string text = dtype >= 0 && dtype < 3 ? DTYPES[dtype] : "dtype " + std::to_string(dtype);
  text += '[';
  for (size_t i = 0; i < shape.size(); i++) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + ']';
}

std::string describe(const quamba_tensor& t) {
  return describe(t.dtype, {t.shape, t.shape + std::clamp(t.rank, 0, QUAMBA_MAX_RANK)});
}

std::optional<int64_t> Axis::size(const Dims& dims) const {
  int64_t product = 1;
  for (const auto& letter : letters) {
    const auto known = dims.find(letter);
    if (known == dims.end()) return std::nullopt;
    product *= known->second;
  }
  return product - minus;
}

bool Axis::fits(int64_t size, Dims& dims) const {
  int64_t known = 1;
  for (const auto& letter : letters)
    if (dims.count(letter)) known *= dims[letter];
  for (const auto& letter : letters)
    if (!dims.count(letter)) {
      if (known != 0 && (size + minus) % known == 0) dims[letter] = (size + minus) / known;
      break;
    }
  return this->size(dims) == size;
}

Signature::Signature(const std::string& text) {
  const size_t open = text.find('('), close = text.find(')');
  name = text.substr(0, open);
  const auto parts = split(text.substr(open + 1, close - open - 1), "; ");
  inputs = parameters(parts[0]);
  for (size_t i = 1; i < parts.size(); i++)
    if (parts[i].find('[') != std::string::npos) states = parameters(parts[i]);
    else attributes = split(parts[i], ", ");
  outputs = parameters(text.substr(close + 5));
}

Dims Signature::dims(const quamba_attribute* given, int32_t count) const {
  Dims dims;
  for (const auto* list : {&inputs, &states, &outputs})
    for (const auto& p : *list)
      for (const auto& axis : p.axes)
        for (const auto& letter : axis.letters)
          if (std::find(attributes.begin(), attributes.end(), letter) != attributes.end()) dims[letter] = 1;
  for (int32_t i = 0; i < count; i++) {
    const quamba_attribute& a = given[i];
    const auto letter = dims.find(a.name);
    if (letter == dims.end()) continue;
    if (a.text || std::floor(a.number) != a.number || std::fabs(a.number) > MOST)
      throw Failure(QUAMBA_WRONG_CALL, name + ": attribute " + a.name + " expected a whole number; got " +
                                           (a.text ? a.text : shortest(a.number)));
    letter->second = static_cast<int64_t>(a.number);
  }
  return dims;
}

Call::Call(const Signature& signature, const quamba_tensor* ins, int32_t inputCount, const quamba_attribute* attrs,
           int32_t attributeCount, const quamba_tensor* outs, int32_t outputCount)
    : name(signature.name) {
  const auto wrong = [&](const std::string& text) { return Failure(QUAMBA_WRONG_CALL, name + ": " + text); };
  for (int32_t i = 0; i < attributeCount; i++) {
    const std::string key = attrs[i].name ? attrs[i].name : "";
    bool known = false;
    for (const auto& attribute : signature.attributes) known |= attribute == key;
    if (!known)
      throw wrong("no attribute '" + key + "'; expected " +
                  (signature.attributes.empty() ? "none" : joined(signature.attributes)));
    attributes[key] = &attrs[i];
  }
  dims = signature.dims(attrs, attributeCount);

  const auto take = [&](const std::vector<Parameter>& expected, const quamba_tensor* given, int32_t count, const char* kind,
                        std::map<std::string, const quamba_tensor*>& into) {
    for (int32_t i = 0; i < count; i++) {
      const std::string key = given[i].name ? given[i].name : "";
      const Parameter* parameter = nullptr;
      for (const auto& p : expected)
        if (p.name == key) parameter = &p;
      if (!parameter) {
        std::vector<std::string> names;
        for (const auto& p : expected) names.push_back(p.name);
        throw wrong(std::string("no ") + kind + " '" + key + "'; expected " + joined(names));
      }
      if (!(parameter->optional && !given[i].data)) into[key] = &given[i];
    }
    for (const auto& p : expected) {
      const auto at = into.find(p.name);
      if (at == into.end()) {
        if (!p.optional) throw wrong(std::string(kind) + " " + p.name + " (" + p.text + ") is missing");
        continue;
      }
      const quamba_tensor& t = *at->second;
      if (t.dtype != p.dtype || t.rank != static_cast<int32_t>(p.axes.size()))
        throw wrong(p.name + " expected " + p.text + "; got " + describe(t));
      for (size_t i = 0; i < p.axes.size(); i++) {
        const Axis& axis = p.axes[i];
        if (t.shape[i] < 0 || t.shape[i] > MOST)
          throw wrong(p.name + " expected sizes from 0 to " + std::to_string(MOST) + "; got " + describe(t));
        if (axis.fits(t.shape[i], dims)) continue;
        std::vector<std::string> known;
        for (const auto& letter : axis.letters)
          if (dims.count(letter)) known.push_back(letter + "=" + std::to_string(dims.at(letter)));
        throw wrong(p.name + " expected " + p.text + (known.empty() ? "" : " with " + joined(known)) + "; got " + describe(t));
      }
      if (!t.data && sizeOf(t) > 0) throw wrong(p.name + " has no data");
    }
  };
  take(givenOf(signature), ins, inputCount, "input", inputs);
  dims["t"] += dims["l"];  // after the call
  take(resultsOf(signature), outs, outputCount, "output", outputs);
}

double Call::number(const std::string& key, double otherwise) const {
  const auto at = attributes.find(key);
  return at == attributes.end() ? otherwise : at->second->number;
}

std::string Call::text(const std::string& key, const std::string& otherwise) const {
  const auto at = attributes.find(key);
  return at == attributes.end() ? otherwise : at->second->text ? at->second->text : shortest(at->second->number);
}

const quamba_tensor* Call::host(const std::string& key) const {
  const auto at = inputs.find(key);
  return at == inputs.end() ? nullptr : at->second;
}

void Call::require(bool holds, const std::string& label, const std::string& text,
                   const std::vector<std::string>& letters) const {
  if (holds) return;
  std::vector<std::string> got;
  for (const auto& letter : letters) {
    const auto attribute = attributes.find(letter);
    const std::string value = attribute != attributes.end() ? this->text(letter, "")
                              : dims.count(letter)          ? std::to_string(dims.at(letter))
                                                            : "nothing";
    got.push_back(letter + "=" + value);
  }
  throw Failure(QUAMBA_WRONG_CALL, name + " " + label + ": " + text + "; got " + joined(got));
}

int64_t sizeOf(const quamba_tensor& tensor) {
  int64_t size = 1;
  for (int i = 0; i < tensor.rank; i++) size *= tensor.shape[i];
  return size;
}

size_t bytesOf(const quamba_tensor& tensor) { return static_cast<size_t>(sizeOf(tensor)) * BYTES[tensor.dtype]; }

}  // namespace quamba

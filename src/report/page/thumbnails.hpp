#pragma once
#include <map>
#include <memory>
#include <string>

#include "dinoxx/data_pipeline/dataset.hpp"
#include "html.hpp"

namespace dinoxx::report {

/// Small images of a data set inside a page. Without a data set there are none.
class Thumbnails {
 public:
  explicit Thumbnails(std::shared_ptr<const Dataset> dataset) : dataset_(std::move(dataset)) {}
  bool available() const { return dataset_ != nullptr; }
  const Dataset* dataset() const { return dataset_.get(); }
  /// The image, at most 96 pixels a side, described by its key; what went wrong when it cannot be read; nothing when there is none.
  Html image(uint64_t id) const;
  Html image(const std::string& key) const;
  /// A list item with the image and its caption.
  Html item(uint64_t id, const Html& caption) const { return element("li", image(id) + caption); }
  Html item(const std::string& key, const Html& caption) const { return element("li", image(key) + caption); }

 private:
  std::shared_ptr<const Dataset> dataset_;
  mutable std::map<std::string, uint64_t> by_key_;
};
/// A row of list items.
Html gallery(const Html& items);
/// A PNG inside the page, described in words; `css`: classes of the style sheet.
Html picture(std::string_view png, std::string_view words, std::string_view css);

}  // namespace dinoxx::report

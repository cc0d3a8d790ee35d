#pragma once
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/normalization.hpp"
#include "config/config.hpp"
#include "config/fact_values.hpp"
#include "model/weights/published.hpp"

/// What a network is beside its tensors: facts that no shape shows. Each has a value and a source, and travels with the backbone from
/// import to evaluation and export.
namespace dinoxx {

/// Metadata of the weight files that dinoxx writes.
inline constexpr const char* kBackboneKey = "dinoxx.backbone";  ///< the whole configuration, under dinoxx's own names
inline constexpr const char* kFactsKey = "dinoxx.facts";        ///< FactValues, under any names
inline constexpr const char* kConfigKey = "dinoxx.config";      ///< the configuration of the training

struct FactSource {
  std::string name;  ///< "config.json"
  FactValues says;
};

/// One fact as it stands in records.
struct Fact {
  std::string name, value, source;
  bool assumed = false;   ///< nobody says it, and another network could have another value
  bool of_input = false;  ///< how an image becomes the input; else what the network computes of it
};

/// What a network's input is normalised by, and how that is known.
struct InputNormalization {
  Normalization values;
  std::string source;    ///< for the reader
  bool assumed = false;  ///< nobody says it
};
/// How an image becomes the input.
struct InputFacts {
  InputNormalization normalization;
  int image_size = 224;
  std::string fit = "crop";
  double crop = 0.875;
};

struct FactOptions {
  std::string key;                  ///< as RecognizeOptions has it
  FactValues user;                  ///< what the user says; refused where the file says otherwise about the network
  FactValues otherwise;             ///< taken where nobody says a fact, before it is assumed
  std::vector<FactSource> sources;  ///< what the caller knows from the file (its training's configuration)
};
/// What a file describes, with what no shape shows.
struct DescribedNetwork {
  Recognized network;  ///< its notes are those of the facts too
  std::vector<Fact> facts;
  InputFacts input;
};
/// As recognize(), which is this with less to say. What the shapes do not show comes from the metadata of dinoxx's own files, the files
/// beside the weights that describe the same network, and the options. UsageError for facts that contradict each other.
DescribedNetwork describe_network(const WeightFile& file, const FactOptions& options = {});

/// Attention heads of the published networks with these widths.
int published_heads(const VitConfig& config);

/// "gelu", "silu" or "relu", which comes with the network.
std::string activation_of(const BackboneConfig& config);

/// The facts of a configuration and of its input, as to_json and facts_from_json keep them.
FactValues stated_facts(const BackboneConfig& config);
/// What of them the shapes do not show, for a file under names whose system has a rule of its own for positions.
nlohmann::json facts_json(const FactValues& values);
/// Error naming `source` for a value that cannot be.
FactValues facts_from_json(const nlohmann::json& json, const std::string& source);

/// What the rotary periods of an official DINOv3 file say: one for each four channels of a head; base^(i / count), or from a smallest to a
/// largest one in equal ratios; exact, or rounded to bfloat16. Of a header, whose tensors cannot be read, the number of heads alone. Sets
/// the periods of `c` where they have a smallest and a largest one. Error for periods that follow no rule.
FactValues said_by_periods(const std::map<std::string, const WeightEntry*>& tensors, VitConfig& c, const std::string& source);

/// The facts that keys state (model.heads, model.norm_eps, ...); other keys are passed over.
FactValues facts_from_keys(const std::vector<Setting>& settings);
/// The same of a text of several, such as "heads=12 mean=0.5,0.5,0.5", that `key` has. UsageError for what is none.
FactValues facts_from_text(const std::string& text, const std::string& key);
/// The keys that do.
const std::vector<std::string>& fact_keys();

/// A rule for what nobody says. `assumed`: another network could well have another value, so that the reader is warned.
struct Fallback {
  std::string source;
  bool assumed = false;
};

/// Puts together what several sources say about one file.
class FactLedger {
 public:
  /// `sources`: those behind the file, the most certain first. `user` decides between them, and alone where they are silent; `otherwise`
  /// takes the place of an assumption.
  FactLedger(std::string file, std::vector<FactSource> sources, const FactOptions& options);

  /// The value of a fact of the network. UsageError: two sources say different things and the user nothing, or the user what none of them
  /// says.
  template <class T>
  void settle(const char* name, std::optional<T> FactValues::*member, T& value, const Fallback& fallback) {
    value = settled(name, member, value, fallback, /*of_input=*/false);
  }
  /// Of its input: the user may choose another value than the file's, which is noted.
  template <class T>
  void settle_input(const char* name, std::optional<T> FactValues::*member, T& value, const Fallback& fallback) {
    value = settled(name, member, value, fallback, /*of_input=*/true);
  }
  void note(std::string text) { notes_.push_back(std::move(text)); }
  const std::vector<Fact>& facts() const { return facts_; }
  const std::vector<std::string>& notes() const { return notes_; }
  /// Whether anybody says it.
  template <class T>
  bool said(std::optional<T> FactValues::*member) const {
    if (user_.*member) return true;
    for (const FactSource& source : sources_)
      if (source.says.*member) return true;
    return false;
  }

  /// UsageError naming a fact that the user says and that nothing has asked for: the network has none of that kind.
  void refuse_what_is_left(const BackboneConfig& config) const;

  template <class T>
  bool user_says(std::optional<T> FactValues::*member) const {
    return (user_.*member).has_value();
  }

 private:
  template <class T>
  T settled(const char* name, std::optional<T> FactValues::*member, const T& fallback_value, const Fallback& fallback, bool of_input);

  std::string file_;
  std::vector<FactSource> sources_;
  FactValues user_, otherwise_;
  std::vector<Fact> facts_;
  std::vector<std::string> notes_;
};

/// The facts of the network into `config`, whose values stand where nobody says another one. `style`, `naming`: whose rules.
void settle_network(BackboneConfig& config, FactLedger& ledger, const Recognized& recognized);
/// The facts of its input. `config`: the size where nobody says it.
InputFacts settle_input(const BackboneConfig& config, FactLedger& ledger);

/// What files beside the weights say: config.json of transformers or timm, preprocessor_config.json. One that describes another network is
/// not believed, and a note says so.
std::vector<FactSource> facts_beside(const WeightFile& file, const BackboneConfig& shapes, std::vector<std::string>& notes);

/// "heads 12 (config.json)".
std::string describe(const Fact& fact);
/// [{"name", "value", "source", "assumed"}], for results.
nlohmann::json describe(const std::vector<Fact>& facts);
/// The same in one line, by source: "heads 4, norm_eps 1e-06 (config.json); mean 0.5, 0.5, 0.5 (assumed)". `described`: of describe().
std::string facts_text(const nlohmann::json& described);

}  // namespace dinoxx

#include "loss_config.hpp"

#include "config/config.hpp"
#include "config/config_conditions.hpp"
#include "config/field_kinds.hpp"

namespace dinoxx {

using namespace field_kinds;

std::vector<Field> loss_fields() {
  constexpr auto loss = &Config::loss;
  constexpr Range count{0, 1e9}, share{0, 1}, not_negative{0, kNoLimit}, temperature{1e-6, 1e3}, positive{1e-9, kNoLimit};
  return {
      field<loss, &LossConfig::student_temp>("loss.student_temp", "0.1", "temperature of the student", temperature),
      field<loss, &LossConfig::temp>("loss.temp", "0.2", "temperature of the NT-Xent loss", temperature),
      choice<loss, &LossConfig::centring>("loss.centring", "auto", {"auto", "centre", "sinkhorn"},
                                          "what keeps the teacher from one answer: a running centre or Sinkhorn-Knopp"),
      when({where::patch_loss()}, choice<loss, &LossConfig::patch_centring>("loss.patch_centring", "auto", {"auto", "centre", "sinkhorn"},
                                                                            "the same for patches; auto: as loss.centring")),
      when({where::running_centre()}, field<loss, &LossConfig::centre_momentum>("loss.centre_momentum", "0.9",
                                                                                "momentum of the centres of the teacher's logits", share)),
      when({where::sinkhorn()},
           field<loss, &LossConfig::sinkhorn_iterations>("loss.sinkhorn_iterations", "3", "of Sinkhorn-Knopp", {1, 100})),
      when({where::local_crops()}, field<loss, &LossConfig::local_weight>(
                                       "loss.local_weight", "1", "factor of the local crops' part of the DINO loss", not_negative)),
      when({where::local_crops()},
           field<loss, &LossConfig::local_weight_end>("loss.local_weight_end", "auto",
                                                      "the same from the end of gram.ramp on; auto: loss.local_weight", not_negative)),
      not_training(field<loss, &LossConfig::rows_at_once>(
          "loss.rows_at_once", "0",
          "rows of logits of prototypes that are in memory at once: last layer, loss and gradient are computed for so many, then for the "
          "next; 0: for all. Less memory with many prototypes; results agree up to rounding",
          count)),
      shapes_network(field<loss, &LossConfig::patch_weight>(
          "loss.patch_weight", "auto", "weight of the loss at masked patches, or at all where features are distilled", not_negative)),
      field<loss, &LossConfig::koleo_weight>("loss.koleo_weight", "auto", "weight of KoLeo for each global view", not_negative),
      when({where::koleo()},
           field<loss, &LossConfig::koleo_group>(
               "loss.koleo_group", "0", "KoLeo: images among which neighbours are looked for; 0: a rank's batch, as released", count)),
      when({where::koleo()},
           field<loss, &LossConfig::koleo_top_k>("loss.koleo_top_k", "1", "KoLeo: nearest neighbours of an image", {1, 1024})),
      field<loss, &LossConfig::coding_weight>("loss.coding_weight", "auto", "weight of the coding rate beside the agreement of the views",
                                              not_negative),
      field<loss, &LossConfig::coding_eps>("loss.coding_eps", "auto", "eps of the coding rate: smaller for small batches", {1e-6, 1e3}),
      field<loss, &LossConfig::invariance_weight>("loss.invariance_weight", "25", "weight of the mean squared difference of the two views",
                                                  not_negative),
      field<loss, &LossConfig::variance_weight>("loss.variance_weight", "25",
                                                "weight of what the channels' standard deviations over the batch lack of 1", not_negative),
      field<loss, &LossConfig::covariance_weight>("loss.covariance_weight", "1", "weight of the squared covariances between channels",
                                                  not_negative),
      field<loss, &LossConfig::correlation_weight>(
          "loss.correlation_weight", "0.024",
          "weight of the whole loss of the two views' cross-correlation; biases and norms feel it where LARS adapts the rate of matrices",
          positive),
      field<loss, &LossConfig::redundancy_weight>("loss.redundancy_weight", "0.0051",
                                                  "weight, in that loss, of the correlations between different channels (lambda)",
                                                  not_negative),
      field<loss, &LossConfig::codes_temp>("loss.codes_temp", "0.05", "temperature of the codes (epsilon of Sinkhorn-Knopp)", temperature),
      field<loss, &LossConfig::sigreg_weight>("loss.sigreg_weight", "auto",
                                              "weight of SIGReg for each global view; lejepa: its share, of the prediction 1 less this",
                                              not_negative),
      when({where::sigreg()},
           field<loss, &LossConfig::sigreg_directions>("loss.sigreg_directions", "256",
                                                       "directions in which SIGReg looks, drawn anew for each step", {1, 1 << 16})),
      field<loss, &LossConfig::sketch_weight>("loss.sketch_weight", "0.6",
                                              "share of mean, scale and shape, of the prediction 1 less this: 0.9 for large sets", share),
      field<loss, &LossConfig::sketch_shape>("loss.sketch_shape", "1", "weight of the shape beside mean and scale: more for long tails",
                                             not_negative),
      field<loss, &LossConfig::sketch_directions>("loss.sketch_directions", "1024",
                                                  "directions in which the shape is looked at, drawn anew for each step", {1, 1 << 16}),
  };
}

}  // namespace dinoxx

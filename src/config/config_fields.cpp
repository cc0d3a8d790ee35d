#include "config_fields.hpp"

namespace dinoxx {

// The rows of each section, beside the component that it is for.
std::vector<Field> model_fields();
std::vector<Field> head_fields();
std::vector<Field> views_fields();
std::vector<Field> mask_fields();
std::vector<Field> optim_fields();
std::vector<Field> teacher_fields();
std::vector<Field> loss_fields();
std::vector<Field> gram_fields();
std::vector<Field> init_fields();
std::vector<Field> guide_fields();
std::vector<Field> train_fields();
std::vector<Field> parallel_fields();
std::vector<Field> data_fields();
std::vector<Field> checkpoint_fields();
std::vector<Field> eval_fields();

namespace {

std::vector<Field> make_fields() {
  std::vector<Field> fields;
  for (const auto section : {model_fields, head_fields, views_fields, mask_fields, optim_fields, teacher_fields, loss_fields, gram_fields,
                             init_fields, guide_fields, train_fields, parallel_fields, data_fields, checkpoint_fields, eval_fields})
    for (Field& field : section()) fields.push_back(std::move(field));
  for (Field& f : fields)
    for (const Section& section : config_sections())
      if (section.of_method && f.key.starts_with(section.name + ".")) f.of_method = true;
  return fields;
}

}  // namespace

const std::vector<Field>& config_fields() {
  static const std::vector<Field> fields = make_fields();
  return fields;
}

FieldText plain_text(const Field& field) {
  return {field.type, field.help};
}

const std::vector<Section>& config_sections() {
  static const std::vector<Section> sections = {
      {"model", "the backbone"},
      {"head", "the projection head", true},
      {"views", "the crops of an image"},
      {"mask", "patches that the student does not see", true},
      {"optim", "the optimizer and its schedules"},
      {"teacher", "the average of the student", true},
      {"loss", "the loss", true},
      {"gram", "Gram anchoring (DINOv3)", true},
      {"init", "going on from the weights of model.init_from"},
      {"guide", "columns of labels that the features shall tell, or shall not"},
      {"train", "the run"},
      {"parallel", "how ranks share the state of a run"},
      {"data", "how images reach the networks"},
      {"checkpoint", "saving"},
      {"eval", "evaluation during training"},
  };
  return sections;
}

}  // namespace dinoxx

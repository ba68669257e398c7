"""Published checkpoints and models: which tensor in a file is which tensor of a model.

One name for one tensor. Models use Hugging Face's; the other columns are for orientation, `names` has the rules.

    Hugging Face (out, in)                          Google TF (in, out)                        paper
    bert.embeddings.word_embeddings.weight          bert/embeddings/word_embeddings            E
    bert.embeddings.LayerNorm.{weight,bias}         bert/embeddings/LayerNorm/{gamma,beta}     γ, β
    bert.encoder.layer.i.attention.self.query.*     bert/encoder/layer_i/attention/self/...    W^Q
    bert.encoder.layer.i.attention.output.dense.*   .../attention/output/dense/{kernel,bias}   W^O
    bert.encoder.layer.i.intermediate.dense.*       .../intermediate/dense/{kernel,bias}       W₁, b₁
    bert.encoder.layer.i.output.dense.*             .../output/dense/{kernel,bias}             W₂, b₂
    bert.pooler.dense.{weight,bias}                 bert/pooler/dense/{kernel,bias}
    cls.predictions.transform.dense.*               cls/predictions/transform/dense/...
    cls.predictions.bias                            cls/predictions/output_bias
    cls.predictions.decoder.weight                  (the word embeddings)                      Eᵀ
    cls.seq_relationship.{weight,bias}              cls/seq_relationship/output_{weights,bias}
    classifier.{weight,bias}                        output_{weights,bias}
    qa_outputs.{weight,bias}                        cls/squad/output_{weights,bias}

Rules for files in the wild: LayerNorm.gamma/beta are old names of weight/bias; the prefix "bert." may be there or not;
position_ids and token_type_ids are buffers, not weights; a decoder that is tied may be stored a second time.

opening     a path -> Pretrained: configuration, recognised tensors
names       every origin's names <-> Hugging Face's
inference   a configuration told from shapes
plan        Pretrained -> the parameters of a model, with a report
saving      weights -> safetensors, npz, TensorFlow
"""

from .names import canonical
from .opening import Pretrained, open_pretrained, read_config
from .plan import LoadReport, MissingWeights, Plan, plan
from .saving import save_pretrained

__all__ = [
    "LoadReport",
    "MissingWeights",
    "Plan",
    "Pretrained",
    "canonical",
    "open_pretrained",
    "plan",
    "read_config",
    "save_pretrained",
]

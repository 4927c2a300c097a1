//! The sizes that TensorRT builds its engines for, and how they are told to it.

use std::fmt;

use crate::{
    bundle::GraphRole,
    config::ModelConfig,
    error::{Error, Result},
};

/// The largest size of a dimension: more than any model's context.
const LARGEST: usize = 1 << 20;

/// The least, the usual and the largest size of a dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeRange {
    min: usize,
    usual: usize,
    max: usize,
}

impl SizeRange {
    /// Sizes from `min` to `max`, each 1 to 1048576; engines are made fastest at `usual`.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] unless `min` <= `usual` <= `max`.
    pub fn new(min: usize, usual: usize, max: usize) -> Result<Self> {
        let range = Self { min, usual, max };
        if min == 0 || min > usual || usual > max || max > LARGEST {
            return Err(Error::InvalidOption {
                option: "size range",
                value: range.to_string(),
                allowed: format!("least:usual:largest in rising order, 1 to {LARGEST}"),
            });
        }
        Ok(range)
    }

    fn sizes(self) -> [usize; 3] {
        [self.min, self.usual, self.max]
    }
}

impl fmt::Display for SizeRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}:{}", self.min, self.usual, self.max)
    }
}

/// Sizes of the graphs' open dimensions; see
/// [`ProviderOptions::with_shape_profiles`](crate::ProviderOptions::with_shape_profiles).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShapeProfiles {
    batch: SizeRange,
    sentences: SizeRange,
    tokens: SizeRange,
}

impl ShapeProfiles {
    /// Rows of a batch; sentences of a context; tokens of a sentence, or of the context of a model of
    /// kind `opt`, which takes no account of `sentences`.
    #[must_use]
    pub fn new(batch: SizeRange, sentences: SizeRange, tokens: SizeRange) -> Self {
        Self {
            batch,
            sentences,
            tokens,
        }
    }

    /// The least, usual and largest shapes of a graph of the variant `portable`, in the form that
    /// TensorRT's provider reads: `input_ids:1x4,attention_mask:1x4`.
    ///
    /// A graph with a cache is usually run on one further position, at most on the whole context.
    pub(crate) fn of_graph(&self, role: GraphRole, config: &ModelConfig) -> Result<[String; 3]> {
        let positions = match role {
            GraphRole::Backbone => self.sentences,
            GraphRole::Encoder | GraphRole::Decoder | GraphRole::Opt => self.tokens,
        }
        .sizes();
        let batch = self.batch.sizes();
        let hidden = config.hidden_size;
        let layers = match role {
            GraphRole::Encoder => None,
            GraphRole::Decoder => Some(
                config
                    .require_svae()
                    .map(|svae| (svae.decoder_layers(), svae.heads))?,
            ),
            GraphRole::Backbone | GraphRole::Opt => {
                let backbone = config.require_backbone()?;
                Some((backbone.layers, backbone.heads))
            }
        };
        let shapes = |place: usize| {
            let rows = batch[place];
            let (new, cached) = match (layers, place) {
                (None, _) => (positions[place], 0),
                (Some(_), 0 | 1) => (1, positions[place] - 1),
                (Some(_), _) => (positions[place], positions[place] - 1),
            };
            let total = new + cached;
            let mut shapes = match role {
                GraphRole::Encoder => vec![
                    format!("input_ids:{rows}x{new}"),
                    format!("attention_mask:{rows}x{new}"),
                ],
                GraphRole::Decoder => vec![
                    format!("input_ids:{rows}x{new}"),
                    format!("position_ids:{rows}x{new}"),
                    format!("sentence_embedding:{rows}x{hidden}"),
                ],
                GraphRole::Backbone => vec![
                    format!("inputs_embeds:{rows}x{new}x{hidden}"),
                    format!("position_ids:{rows}x{new}"),
                    format!("attention_mask:{rows}x{new}x{total}"),
                ],
                GraphRole::Opt => vec![
                    format!("input_ids:{rows}x{new}"),
                    format!("position_ids:{rows}x{new}"),
                    format!("attention_mask:{rows}x{new}x{total}"),
                ],
            };
            if let Some((layers, heads)) = layers {
                let size = hidden / heads;
                for number in 0..2 * layers {
                    let name = super::cache::past_name(number);
                    shapes.push(format!("{name}:{rows}x{heads}x{cached}x{size}"));
                }
            }
            shapes.join(",")
        };
        Ok([shapes(0), shapes(1), shapes(2)])
    }
}

impl fmt::Display for ShapeProfiles {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (batch, sentences, tokens) = (self.batch, self.sentences, self.tokens);
        write!(
            formatter,
            "batch {batch}, sentences {sentences}, tokens {tokens}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{bundle::Bundle, runtime::testing::graph};

    fn profiles() -> ShapeProfiles {
        let range = |min, usual, max| SizeRange::new(min, usual, max).unwrap();
        ShapeProfiles::new(range(1, 2, 4), range(1, 8, 12), range(2, 6, 16))
    }

    #[test]
    fn sizes_must_rise() {
        for (min, usual, max) in [(0, 1, 1), (2, 1, 3), (1, 3, 2), (1, 1, LARGEST + 1)] {
            let refused = SizeRange::new(min, usual, max);
            assert!(
                matches!(refused, Err(Error::InvalidOption { .. })),
                "{min}:{usual}:{max}"
            );
        }
    }

    #[test]
    fn a_cache_grows_by_what_is_new() {
        let bundle = Bundle::open("tests/golden/bundle").unwrap();
        let shapes = profiles()
            .of_graph(GraphRole::Backbone, &bundle.config)
            .unwrap();
        let first: Vec<String> = shapes
            .iter()
            .map(|shapes| shapes.split(',').take(4).collect::<Vec<_>>().join("\n"))
            .collect();
        insta::assert_snapshot!(first.join("\n\n"), @"
        inputs_embeds:1x1x32
        position_ids:1x1
        attention_mask:1x1x1
        past_key_values.0.key:1x4x0x8

        inputs_embeds:2x1x32
        position_ids:2x1
        attention_mask:2x1x8
        past_key_values.0.key:2x4x7x8

        inputs_embeds:4x12x32
        position_ids:4x12
        attention_mask:4x12x23
        past_key_values.0.key:4x4x11x8
        ");
    }

    /// Every input of every graph with an open dimension has a shape, and fits it.
    #[test]
    fn every_input_has_a_shape() {
        for name in ["bundle", "bundle-opt"] {
            let bundle = Bundle::open(format!("tests/golden/{name}")).unwrap();
            let variant = bundle.select_variant("cpu", Some("portable")).unwrap();
            for (&role, file) in &variant.graphs {
                let graph = graph(&file.file.path);
                let session = graph.session();
                for shapes in profiles().of_graph(role, &bundle.config).unwrap() {
                    let shapes: Vec<(&str, Vec<i64>)> = shapes
                        .split(',')
                        .map(|shape| shape.split_once(':').unwrap())
                        .map(|(name, shape)| {
                            (
                                name,
                                shape.split('x').map(|size| size.parse().unwrap()).collect(),
                            )
                        })
                        .collect();
                    let mut open = 0;
                    for input in session.inputs() {
                        let declared = input.dtype().tensor_shape().unwrap();
                        if declared.is_empty() {
                            continue;
                        }
                        open += 1;
                        let (_, shape) = shapes
                            .iter()
                            .find(|(name, _)| *name == input.name())
                            .unwrap();
                        assert_eq!(shape.len(), declared.len(), "{role} {}", input.name());
                        for (size, declared) in shape.iter().zip(declared.iter()) {
                            assert!(
                                *declared == -1 || size == declared,
                                "{role} {}",
                                input.name()
                            );
                        }
                    }
                    assert_eq!(open, shapes.len(), "{role}");
                }
            }
        }
    }
}

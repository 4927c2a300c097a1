//! Shapes of a model's graphs for TensorRT.

use crate::{
    bundle::GraphRole,
    config::ModelConfig,
    error::Result,
    runtime::{ShapeProfiles, past_name},
};

/// The least, usual and largest shapes of a graph of the variant `portable` or `portable-fp16`, in
/// the form that TensorRT's provider reads: `input_ids:1x4,attention_mask:1x4`.
///
/// A graph with a cache is usually run on one further position, at most on the whole context.
pub(super) fn shapes_of_graph(
    profiles: &ShapeProfiles,
    role: GraphRole,
    config: &ModelConfig,
) -> Result<[String; 3]> {
    let positions = match role {
        GraphRole::Backbone => profiles.sentences,
        GraphRole::Encoder | GraphRole::Decoder | GraphRole::Opt => profiles.tokens,
    }
    .sizes();
    let batch = profiles.batch.sizes();
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
    let context_bias = config
        .svae
        .as_ref()
        .is_some_and(|svae| svae.context_bias_size > 0);
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
            ]
            .into_iter()
            .chain(context_bias.then(|| format!("context_tokens:{rows}x{}", config.vocab_size)))
            .collect(),
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
                let name = past_name(number);
                shapes.push(format!("{name}:{rows}x{heads}x{cached}x{size}"));
            }
        }
        shapes.join(",")
    };
    Ok([shapes(0), shapes(1), shapes(2)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SizeRange, bundle::Bundle, runtime::testing::graph};

    fn profiles() -> ShapeProfiles {
        let range = |min, usual, max| SizeRange::new(min, usual, max).unwrap();
        ShapeProfiles::new(range(1, 2, 4), range(1, 8, 12), range(2, 6, 16))
    }

    #[test]
    fn a_cache_grows_by_what_is_new() {
        let bundle = Bundle::open("tests/golden/bundle").unwrap();
        let shapes = shapes_of_graph(&profiles(), GraphRole::Backbone, &bundle.config).unwrap();
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
                for shapes in shapes_of_graph(&profiles(), role, &bundle.config).unwrap() {
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

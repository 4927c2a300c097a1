//! Graph signatures: required inputs and outputs.

use ort::{
    session::Session,
    value::{Outlet, TensorElementType, ValueType},
};

use super::Graph;
use crate::error::{Error, GraphError, Result};

/// The version of the graph signatures that this program reads: `sllm.contract_version`.
const SIGNATURE_VERSION: &str = "1";

/// A dimension of any size.
pub(crate) const ANY: i64 = -1;

/// Name, type and shape of an input or output.
#[derive(Clone, Debug)]
pub(crate) struct TensorSpec {
    pub name: String,
    pub element: TensorElementType,
    /// [`ANY`] where the size varies.
    pub shape: Vec<i64>,
}

impl TensorSpec {
    pub fn new(name: impl Into<String>, element: TensorElementType, shape: &[i64]) -> Self {
        Self {
            name: name.into(),
            element,
            shape: shape.to_vec(),
        }
    }
}

/// The inputs, outputs and role that a graph must have.
#[derive(Clone, Debug)]
pub(crate) struct GraphSignature {
    /// `encoder`, `backbone`, `decoder`, as in the metadata of the graph.
    pub graph: &'static str,
    pub inputs: Vec<TensorSpec>,
    pub outputs: Vec<TensorSpec>,
}

impl Graph {
    /// Compare the graph's metadata, inputs and outputs with `signature`.
    ///
    /// # Errors
    /// [`GraphError::Signature`] with all that differs, as expected and as found.
    pub fn check(&self, signature: &GraphSignature) -> Result<()> {
        let session = self.session();
        let mut problems = metadata_problems(&session, signature.graph);
        problems.extend(port_problems("input", &signature.inputs, session.inputs()));
        problems.extend(port_problems(
            "output",
            &signature.outputs,
            session.outputs(),
        ));
        if problems.is_empty() {
            return Ok(());
        }
        Err(Error::Graph(GraphError::Signature {
            path: self.path().to_owned(),
            problems,
        }))
    }
}

fn metadata_problems(session: &Session, graph: &str) -> Vec<String> {
    let Ok(metadata) = session.metadata() else {
        return vec!["its metadata cannot be read".into()];
    };
    let expected = [
        ("sllm.contract_version", SIGNATURE_VERSION),
        ("sllm.graph", graph),
    ];
    let differs = |(key, expected): &(&str, &str)| {
        let found = metadata.custom(key);
        (found.as_deref() != Some(expected)).then(|| {
            let found = found.map_or("none".into(), |found| format!("{found:?}"));
            format!("metadata {key}: expected {expected:?}, found {found}")
        })
    };
    expected.iter().filter_map(differs).collect()
}

fn port_problems(what: &str, expected: &[TensorSpec], found: &[Outlet]) -> Vec<String> {
    let mut problems = Vec::new();
    for port in expected {
        match found.iter().find(|outlet| outlet.name() == port.name) {
            None => problems.push(format!("{what} {}: expected, not there", port.name)),
            Some(outlet) if !fits(port, outlet.dtype()) => problems.push(format!(
                "{what} {}: expected {} {}, found {}",
                port.name,
                port.element,
                shape_text(&port.shape),
                type_text(outlet.dtype()),
            )),
            Some(_) => {}
        }
    }
    let known = |name: &str| expected.iter().any(|port| port.name == name);
    for outlet in found.iter().filter(|outlet| !known(outlet.name())) {
        problems.push(format!("{what} {}: not expected", outlet.name()));
    }
    problems
}

fn fits(port: &TensorSpec, found: &ValueType) -> bool {
    let ValueType::Tensor { ty, shape, .. } = found else {
        return false;
    };
    let same =
        |(expected, found): (&i64, &i64)| *expected == ANY || *found == ANY || expected == found;
    *ty == port.element
        && shape.len() == port.shape.len()
        && port.shape.iter().zip(shape.iter()).all(same)
}

fn type_text(found: &ValueType) -> String {
    match found {
        ValueType::Tensor { ty, shape, .. } => format!("{ty} {}", shape_text(shape)),
        other => other.to_string(),
    }
}

fn shape_text(shape: &[i64]) -> String {
    let dimension = |size: &i64| {
        if *size == ANY {
            "?".to_owned()
        } else {
            size.to_string()
        }
    };
    format!(
        "[{}]",
        shape.iter().map(dimension).collect::<Vec<_>>().join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::testing;

    #[test]
    fn every_difference_from_the_signature_is_reported() {
        let signature = GraphSignature {
            graph: "decoder",
            inputs: vec![
                TensorSpec::new("input_ids", TensorElementType::Float32, &[ANY]),
                TensorSpec::new("absent", TensorElementType::Int64, &[]),
            ],
            outputs: vec![TensorSpec::new(
                "sentence_embedding",
                TensorElementType::Float32,
                &[ANY, 7],
            )],
        };
        let Err(Error::Graph(GraphError::Signature { problems, .. })) =
            testing::graph("tests/golden/bundle/portable/encoder.onnx").check(&signature)
        else {
            panic!("an encoder is not such a decoder");
        };
        insta::assert_snapshot!(problems.join("\n"), @r#"
        metadata sllm.graph: expected "decoder", found "encoder"
        input input_ids: expected f32 [?], found i64 [?, ?]
        input absent: expected, not there
        input attention_mask: not expected
        output sentence_embedding: expected f32 [?, 7], found f32 [?, 32]
        "#);
    }
}

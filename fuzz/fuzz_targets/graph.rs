//! Any bytes as an ONNX graph, whose references to external data are checked.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sllm_ort::{
    Error,
    bundle::{Bundle, GraphFile},
    error::BundleError,
};
use sllm_ort_fuzz::{BUNDLE, check_message};

/// Reaches a field that no graph lists: `graph { initializer { external_data { key: "location"
/// value: "x" } } }`. Protobuf merges messages that are concatenated.
const UNLISTED: &[u8] = b"\x3a\x11\x2a\x0f\x6a\x0d\x0a\x08location\x12\x01x";

static GRAPH: LazyLock<GraphFile> = LazyLock::new(|| {
    let bundle = Bundle::open(BUNDLE).unwrap();
    let mut graphs = bundle.variants[0].graphs.values();
    graphs.next().unwrap().clone()
});

fuzz_target!(|bytes: &[u8]| {
    match GRAPH.verify_external_data(bytes) {
        Ok(()) => {
            let refused = GRAPH.verify_external_data(&[bytes, UNLISTED].concat());
            assert!(matches!(
                refused,
                Err(Error::Bundle(BundleError::UnlistedExternalData { .. }))
            ));
        }
        Err(error) => check_message(&error),
    }
});

//! Files of a bundle that were changed after it was opened.

use std::fs;

use sllm_ort::{Error, bundle::GraphRole, error::BundleError};

use crate::fixture::{Fixture, hash};

#[test]
fn changed_files() {
    let fixture = Fixture::new();
    let bundle = fixture.open().unwrap();
    let encoder = bundle.variants[0].graph(GraphRole::Encoder).unwrap();
    let bytes = encoder.read_verified().unwrap();

    fixture.put("cpu/encoder.data", b"weightz");
    assert!(matches!(
        encoder.verify_external_data(&bytes),
        Err(Error::Bundle(BundleError::HashMismatch { .. }))
    ));
    fs::remove_file(fixture.path().join("cpu/encoder.data")).unwrap();
    assert!(matches!(
        encoder.verify_external_data(&bytes),
        Err(Error::Read { .. })
    ));
    assert!(matches!(
        fixture.open(),
        Err(Error::Bundle(BundleError::MissingFile { .. }))
    ));

    fixture.put("cpu/encoder.onnx", &bytes[..bytes.len() - 1]);
    let error = encoder.read_verified().unwrap_err();
    let expected = hash(&bytes);
    assert!(
        matches!(&error, Error::Bundle(BundleError::HashMismatch { .. }))
            && error.to_string().contains(&expected)
    );

    fixture.put("tokenizer.json", b"{}");
    assert!(matches!(
        bundle.load_tokenizer(),
        Err(Error::Bundle(BundleError::HashMismatch { .. }))
    ));
    let file = &bundle.tokenizer;
    assert!(matches!(
        file.read_verified(1),
        Err(Error::FileTooLarge { limit: 1, .. })
    ));
}

//! A bundle whose files are in memory.

use std::{fs, path::Path};

use sllm_ort::{
    Error,
    bundle::{Bundle, GraphRole},
    error::{BundleError, TextError},
};

use crate::fixture::Fixture;

/// The files of a bundle in memory, without one.
fn files_without(fixture: &Fixture, left_out: &str) -> Vec<(String, Vec<u8>)> {
    let names = [
        "sllm.json",
        "tokenizer.json",
        "cpu/encoder.onnx",
        "cpu/encoder.data",
        "cpu/decoder.onnx",
    ];
    let names = names.into_iter().filter(|name| *name != left_out);
    names
        .map(|name| {
            (
                name.to_owned(),
                fs::read(fixture.path().join(name)).unwrap(),
            )
        })
        .collect()
}

#[test]
fn a_bundle_in_memory() {
    let fixture = Fixture::new();
    let mut files = files_without(&fixture, "");
    let on_disk = fixture.open().unwrap();
    let bundle = Bundle::from_memory(files.clone()).unwrap();
    assert_eq!(bundle.config, on_disk.config);
    assert_eq!(bundle.dir, Path::new("<memory>"));
    bundle.load_tokenizer().unwrap();
    let encoder = bundle.variants[0].graph(GraphRole::Encoder).unwrap();
    encoder
        .verify_external_data(&encoder.read_verified().unwrap())
        .unwrap();
    assert!(!format!("{bundle:?}").contains("104, 101"));

    for (name, _) in &files {
        let refused = Bundle::from_memory(files_without(&fixture, name));
        let expected = match name.as_str() {
            "sllm.json" => "<memory> holds no sllm.json".to_owned(),
            name => format!("<memory>/{name}, named in the manifest, is not a regular file"),
        };
        let message = refused.unwrap_err().to_string();
        assert!(message.starts_with(&expected), "{message}");
    }

    // Content is checked when it is read, as that of files is.
    for (_, content) in &mut files[1..] {
        content.push(b' ');
    }
    let changed = Bundle::from_memory(files.clone()).unwrap();
    let encoder = changed.variants[0].graph(GraphRole::Encoder).unwrap();
    let external = encoder.verify_external_data(&on_disk_graph(&on_disk));
    for refused in [
        changed.load_tokenizer().map(drop),
        encoder.read_verified().map(drop),
        external,
    ] {
        assert!(
            matches!(
                refused,
                Err(Error::Bundle(BundleError::HashMismatch { .. }))
            ),
            "{refused:?}"
        );
    }
    let limited = changed.tokenizer.read_verified(1);
    assert!(matches!(limited, Err(Error::FileTooLarge { .. })));

    files[0].1 = vec![b'{', 0xff];
    let refused = Bundle::from_memory(files);
    assert!(matches!(
        refused,
        Err(Error::Text(TextError::NotUtf8 { byte: 1, .. }))
    ));
}

fn on_disk_graph(bundle: &Bundle) -> Vec<u8> {
    let encoder = bundle.variants[0].graph(GraphRole::Encoder).unwrap();
    encoder.read_verified().unwrap()
}

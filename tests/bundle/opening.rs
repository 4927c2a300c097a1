//! What a bundle in order holds, and directories that are no bundle.

use std::fs;

use serde_json::json;
use sllm_ort::{
    Error,
    bundle::{Bundle, GraphRole, MAX_MANIFEST_BYTES},
    config::ModelKind,
    error::{BundleError, TextError},
    text::{LongSentence, Tail},
};

use crate::fixture::Fixture;

#[test]
fn a_good_bundle() {
    let fixture = Fixture::new();
    let bundle = fixture.open().unwrap();
    assert_eq!(bundle.config.kind, ModelKind::Svae);
    assert_eq!(bundle.segmentation.tail, Tail::Drop);
    assert_eq!(bundle.segmentation.long_sentence, LongSentence::Truncate);
    assert_eq!(bundle.provenance["checkpoint"], "none");
    assert_eq!(
        bundle
            .load_tokenizer()
            .unwrap()
            .encode("hello")
            .unwrap()
            .len(),
        1
    );

    let variant = &bundle.variants[0];
    let encoder = variant.graph(GraphRole::Encoder).unwrap();
    let bytes = encoder.read_verified().unwrap();
    assert_eq!(
        bytes,
        fs::read(fixture.path().join("cpu/encoder.onnx")).unwrap()
    );
    encoder.verify_external_data(&bytes).unwrap();
    let missing = variant.graph(GraphRole::Backbone).unwrap_err();
    insta::assert_snapshot!(missing, @r#"variant "int8" has no graph "backbone", it has encoder, decoder"#);

    // What may be left out, and upper-case hashes.
    let mut manifest = fixture.manifest();
    manifest.as_object_mut().unwrap().remove("provenance");
    manifest["tokenizer"]["sha256"] = json!(
        manifest["tokenizer"]["sha256"]
            .as_str()
            .unwrap()
            .to_uppercase()
    );
    fixture.write(&manifest);
    fixture.open().unwrap().load_tokenizer().unwrap();
}

#[test]
fn a_chat_template_is_read_if_there_is_one() {
    let fixture = Fixture::new();
    assert_eq!(fixture.open().unwrap().read_chat_template().unwrap(), None);
    fixture.put("chat.jinja", "{{ messages }}".as_bytes());
    let mut manifest = fixture.manifest();
    manifest["chat_template"] = fixture.entry("chat.jinja");
    fixture.write(&manifest);
    let bundle = fixture.open().unwrap();
    let text = bundle.read_chat_template().unwrap().unwrap();
    assert_eq!(text, "{{ messages }}");
    fixture.put("chat.jinja", b"{{ message }}");
    assert!(matches!(
        bundle.read_chat_template(),
        Err(Error::Bundle(BundleError::HashMismatch { .. }))
    ));
    fixture.put("chat.jinja", b"\xff");
    manifest["chat_template"] = fixture.entry("chat.jinja");
    fixture.write(&manifest);
    assert!(matches!(
        fixture.open().unwrap().read_chat_template(),
        Err(Error::Text(TextError::NotUtf8 { byte: 0, .. }))
    ));
    manifest["chat_template"] = json!("{{ messages }}");
    let (message, _) = fixture.refusal(&manifest.to_string());
    assert!(message.contains("chat_template"), "{message}");
}

#[test]
fn variants_are_chosen_by_provider_or_name() {
    let bundle = Fixture::new().open().unwrap();
    let name = |provider, variant| {
        bundle
            .select_variant(provider, variant)
            .map(|v| v.name.as_str())
    };
    assert_eq!(name("cpu", None).unwrap(), "int8");
    assert_eq!(name("cuda", None).unwrap(), "portable");
    assert_eq!(name("cuda", Some("int8")).unwrap(), "int8");
    let provider = name("coreml", None).unwrap_err();
    let variant = name("cpu", Some("int4")).unwrap_err();
    assert!(matches!(
        provider,
        Error::Bundle(BundleError::NoVariantForProvider { .. })
    ));
    assert!(matches!(
        variant,
        Error::Bundle(BundleError::UnknownVariant { .. })
    ));
    let available = "available: int8 (cpu), portable (cpu, cuda)";
    assert!(provider.to_string().contains(available), "{provider}");
    assert!(variant.to_string().contains(available), "{variant}");
}

#[test]
fn directories_that_are_no_bundle() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(
        Bundle::open(dir.path().join("no")),
        Err(Error::Bundle(BundleError::NotFound { .. }))
    ));
    assert!(matches!(
        Bundle::open(&file),
        Err(Error::Bundle(BundleError::NotDirectory { .. }))
    ));
    assert!(matches!(
        Bundle::open(dir.path()),
        Err(Error::Bundle(BundleError::ManifestMissing { .. }))
    ));
    fs::create_dir(dir.path().join("sllm.json")).unwrap();
    assert!(matches!(
        Bundle::open(dir.path()),
        Err(Error::Bundle(BundleError::ManifestNotFile { .. }))
    ));

    let fixture = Fixture::new();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n";
    match fixture.refusal(pointer).1 {
        Error::Bundle(BundleError::LfsPointer { path }) => {
            assert_eq!(path, fixture.path().join("sllm.json"));
        }
        other => panic!("{other:?}"),
    }
    let long = " ".repeat(MAX_MANIFEST_BYTES as usize + 1);
    assert!(matches!(
        fixture.refusal(&long).1,
        Error::FileTooLarge { .. }
    ));
}

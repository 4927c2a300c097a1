//! Bundles that are in order, and all sorts that are not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod edits;
mod tiny_tokenizer;

use std::{
    fs,
    path::{Path, PathBuf},
};

use edits::edited;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sllm_ort::{
    Error,
    bundle::{Bundle, GraphRole, MAX_MANIFEST_BYTES},
    config::ModelKind,
    error::{BundleError, TextError},
    text::{LongSentence, Tail},
};
use tempfile::TempDir;

/// A bundle in a temporary directory: a tokenizer, a graph with external data, and one without.
struct Fixture {
    dir: TempDir,
}

/// A protobuf field that holds a message or a string.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    // Tag and length take a second byte above 15 and 127.
    let tag = u16::from(number) << 3 | 2;
    let varint = |n: u16| match n {
        0..128 => vec![n as u8],
        _ => vec![n as u8 | 0x80, (n >> 7) as u8],
    };
    [varint(tag), varint(content.len() as u16), content.to_vec()].concat()
}

/// An ONNX model with one weight in a file; `path` are the fields that lead to the weight.
fn graph_with_data(path: &[u8], location: &str) -> Vec<u8> {
    let entry = [field(1, b"location"), field(2, location.as_bytes())].concat();
    let tensor = [vec![0x70, 1], field(8, b"weight"), field(13, &entry)].concat();
    path.iter()
        .rev()
        .fold(tensor, |inner, &number| field(number, &inner))
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("cpu/data")).unwrap();
        let fixture = Self { dir };
        fixture.put(
            "tokenizer.json",
            tiny_tokenizer::json().to_string().as_bytes(),
        );
        fixture.put(
            "cpu/encoder.onnx",
            &graph_with_data(&[7, 5], "encoder.data"),
        );
        fixture.put("cpu/decoder.onnx", b"");
        fixture.put("cpu/encoder.data", b"weights");
        fixture.write(&fixture.manifest());
        fixture
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn put(&self, name: &str, content: &[u8]) {
        fs::write(self.path().join(name), content).unwrap();
    }

    fn write(&self, manifest: &Value) {
        self.put("sllm.json", manifest.to_string().as_bytes());
    }

    /// A file of the manifest with its hash.
    fn entry(&self, name: &str) -> Value {
        json!({"file": name, "sha256": hash(&fs::read(self.path().join(name)).unwrap())})
    }

    fn manifest(&self) -> Value {
        let mut encoder = self.entry("cpu/encoder.onnx");
        encoder["external_data"] = json!([self.entry("cpu/encoder.data")]);
        let graphs = json!({"encoder": encoder, "decoder": self.entry("cpu/decoder.onnx")});
        json!({
            "format_version": 1,
            "model": tiny_tokenizer::config_json(),
            "segmentation": {"tail": "drop", "long_sentence": "truncate"},
            "tokenizer": self.entry("tokenizer.json"),
            "variants": [
                {"name": "int8", "precision": "int8", "providers": ["cpu"], "graphs": graphs.clone()},
                {"name": "portable", "precision": "fp32", "providers": ["cpu", "cuda"], "graphs": graphs},
            ],
            "provenance": {"checkpoint": "none"}
        })
    }

    fn open(&self) -> sllm_ort::Result<Bundle> {
        Bundle::open(self.path())
    }

    /// The error of a manifest, with the names of this machine taken out.
    fn refusal(&self, text: &str) -> (String, Error) {
        self.put("sllm.json", text.as_bytes());
        let error = self.open().unwrap_err();
        let canonical = self.path().canonicalize().unwrap();
        let message = error.to_string();
        let message = message.replace(canonical.to_str().unwrap(), "DIR");
        (message.replace(self.path().to_str().unwrap(), "DIR"), error)
    }
}

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
    assert!(matches!(Bundle::open(dir.path()), Err(Error::Read { .. })));

    let fixture = Fixture::new();
    let long = " ".repeat(MAX_MANIFEST_BYTES as usize + 1);
    assert!(matches!(
        fixture.refusal(&long).1,
        Error::FileTooLarge { .. }
    ));
}

/// `tests/hostile/manifests.json`: changes of a good manifest, with the message of each.
#[test]
fn hostile_manifests() {
    let hostile = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile");
    let fixture = Fixture::new();
    let base = fixture.manifest();
    let table = fs::read_to_string(hostile.join("manifests.json")).unwrap();
    let mut lines = Vec::new();
    for edit in serde_json::from_str::<Vec<Value>>(&table).unwrap() {
        let changed = edited(&base, edit["at"].as_str().unwrap(), edit.get("set"));
        lines.push(format!(
            "{edit}\n  {}",
            fixture.refusal(&changed.to_string()).0
        ));
    }
    for name in ["cut-short.json", "deep.json", "not-utf8.json"] {
        fs::copy(hostile.join(name), fixture.path().join("sllm.json")).unwrap();
        let error = fixture.open().unwrap_err();
        assert!(
            matches!(
                error,
                Error::Json { .. } | Error::Text(TextError::NotUtf8 { .. })
            ),
            "{name}: {error}"
        );
    }
    let text = lines.join("\n");
    assert_eq!(text.lines().count(), 2 * lines.len());
    insta::assert_snapshot!(text);
}

#[test]
fn every_problem_is_listed() {
    let fixture = Fixture::new();
    let mut manifest = fixture.manifest();
    manifest["model"]["svae"]["heads"] = json!(3);
    manifest["generation"] = json!({"temperature": -1.5, "top_p": 0, "top_k": 0});
    manifest["tokenizer"]["sha256"] = json!("abc");
    manifest["variants"][1]["name"] = json!("int8");
    manifest["variants"][1]["providers"] = json!([]);
    manifest["variants"][0]["graphs"]["encoder"]["external_data"][0]["file"] = json!("../data");
    manifest["variants"][0]["graphs"]["opt"] = fixture.entry("cpu/decoder.onnx");
    let (message, error) = fixture.refusal(&manifest.to_string());
    insta::assert_snapshot!(message, @r#"DIR/sllm.json: key `model.svae.heads` is 3, allowed is a divisor of hidden_size (8); key `generation.temperature` is -1.5, allowed is 0 (greedy) to 100; key `generation.top_p` is 0.0, allowed is above 0 to 1; key `generation.top_k` is 0, allowed is 1 or more; key `tokenizer.sha256` is "abc", allowed is 64 hexadecimal digits; key `variants[0].graphs.encoder.external_data[0].file` is "../data", allowed is a relative name, with `/`, that stays inside the bundle's directory: this one has an empty, `.` or `..` part; key `variants[0].graphs.opt` does not belong to a model of kind svae: remove it, or correct the kind; key `variants[1].name` is "int8", allowed is a name that no other variant has; key `variants[1].providers` is a list of 0 entries, allowed is 1 to 32 entries"#);
    let Error::Schema { problems, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(problems.len(), 9);
}

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

/// A key is found where it is, `provenance` included.
#[test]
fn a_key_that_is_given_twice() {
    let fixture = Fixture::new();
    let text = fixture.manifest().to_string();
    for (change, key) in [
        (r#""tokenizer":{"file":"x","#, "tokenizer.file"),
        (r#""provenance":{"a":[{"b":1,"b":2}],"#, "provenance.a[0].b"),
    ] {
        let start = &change[..change.find('{').unwrap() + 1];
        let (message, _) = fixture.refusal(&text.replacen(start, change, 1));
        let expected = format!("DIR/sllm.json: key `{key}` is given twice: remove one of them");
        assert_eq!(message, expected);
    }
}

#[cfg(unix)]
#[test]
fn links_stay_inside() {
    use std::os::unix::fs::symlink;
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "").unwrap();
    let fixture = Fixture::new();
    let graph = fixture.path().join("cpu/decoder.onnx");
    let replace = |target: PathBuf| {
        fs::remove_file(&graph).unwrap();
        symlink(target, &graph).unwrap();
        fixture.open()
    };
    assert!(matches!(
        replace(outside.path().join("secret")),
        Err(Error::Bundle(BundleError::FileOutside { .. }))
    ));
    assert!(matches!(
        replace(outside.path().join("nothing")),
        Err(Error::Bundle(BundleError::MissingFile { .. }))
    ));
    replace("encoder.onnx".into()).unwrap();

    // A whole directory that leads outside, and a bundle that is reached by a link itself.
    fs::remove_dir_all(fixture.path().join("cpu")).unwrap();
    symlink(outside.path(), fixture.path().join("cpu")).unwrap();
    let file = json!("cpu/secret");
    let good = Fixture::new().manifest();
    let manifest = edited(&good, "/tokenizer/file", Some(&file));
    assert!(matches!(
        fixture.refusal(&manifest.to_string()).1,
        Error::Bundle(BundleError::FileOutside { .. })
    ));
    let (other, link) = (Fixture::new(), outside.path().join("link"));
    symlink(other.path(), &link).unwrap();
    Bundle::open(&link).unwrap();
}

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

#[test]
fn external_data_must_be_listed() {
    let bundle = Fixture::new().open().unwrap();
    let encoder = bundle.variants[0].graph(GraphRole::Encoder).unwrap();
    let decoder = bundle.variants[0].graph(GraphRole::Decoder).unwrap();
    // Every way to a tensor: initializer, sparse, attribute of a node, of a function, subgraph, training.
    let ways: [&[u8]; 12] = [
        &[7, 5],
        &[7, 15, 1],
        &[7, 15, 2],
        &[7, 1, 5, 5],
        &[7, 1, 5, 10],
        &[7, 1, 5, 22, 1],
        &[7, 1, 5, 23, 2],
        &[7, 1, 5, 6, 5],
        &[7, 1, 5, 11, 1, 5, 5],
        &[25, 7, 5, 5],
        &[25, 11, 5],
        &[20, 1, 5],
    ];
    for way in ways {
        for location in [
            "../encoder.data",
            "/etc/passwd",
            "./encoder.data",
            "",
            "data/encoder.data",
        ] {
            let graph = graph_with_data(way, location);
            let error = encoder.verify_external_data(&graph).unwrap_err();
            let found = matches!(&error, Error::Bundle(BundleError::UnlistedExternalData { location: l, .. }) if l == location);
            assert!(found, "{way:?} {location}: {error}");
        }
        let listed = graph_with_data(way, "encoder.data");
        // That the file is gone with the fixture shows that the reference was accepted.
        assert!(matches!(
            encoder.verify_external_data(&listed),
            Err(Error::Read { .. })
        ));
        assert!(matches!(
            decoder.verify_external_data(&listed),
            Err(Error::Bundle(BundleError::UnlistedExternalData { .. }))
        ));
    }
    // Names of tensors are no references.
    let other = field(7, &field(5, &field(8, b"location")));
    decoder.verify_external_data(&other).unwrap();
}

#[test]
fn graphs_that_are_no_onnx() {
    let bundle = Fixture::new().open().unwrap();
    let decoder = bundle.variants[0].graph(GraphRole::Decoder).unwrap();
    let control_flow = (0..50).fold(Vec::new(), |inner, _| {
        field(1, &field(5, &field(6, &inner)))
    });
    let deep = field(7, &control_flow);
    let good = graph_with_data(&[7, 5], "");
    let cases: [&[u8]; 7] = [
        b"<!DOCTYPE html>",
        &[0x3a],
        &[0x3a, 200],
        &[
            0x3a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
        ],
        &[0xff; 20],
        &good[..good.len() - 1],
        &deep,
    ];
    for graph in cases {
        let error = decoder.verify_external_data(graph).unwrap_err();
        assert!(
            matches!(error, Error::Bundle(BundleError::MalformedGraph { .. })),
            "{graph:?}: {error}"
        );
    }
    let message = decoder
        .verify_external_data(cases[2])
        .unwrap_err()
        .to_string();
    let expected =
        "decoder.onnx: not an ONNX graph (a field cut short at byte 2): export the bundle again";
    assert!(message.ends_with(expected), "{message}");
}
